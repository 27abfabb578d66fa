"""Gradients and losses of restricted Boltzmann machines."""
