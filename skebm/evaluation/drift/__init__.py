"""Drift of tables: tests, what moved, and weights for covariate shift."""
