"""Which entry of a row is strange: densities of one column given the others."""
