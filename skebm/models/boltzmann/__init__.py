"""The model of a table by a restricted Boltzmann machine."""
