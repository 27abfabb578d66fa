"""Restricted Boltzmann machines and networks made of them."""
