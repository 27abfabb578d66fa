"""Markov chains draw from the model."""
