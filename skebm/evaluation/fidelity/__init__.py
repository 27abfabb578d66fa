"""How well draws of a density stand in for rows of the table it was fitted to."""
