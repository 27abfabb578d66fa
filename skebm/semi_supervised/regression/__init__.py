"""p(y|x) of a number from few labels."""
