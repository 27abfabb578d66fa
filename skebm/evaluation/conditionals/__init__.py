"""Conditional densities of missing entries, given the observed ones."""
