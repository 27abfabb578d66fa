"""Soft labels along a graph of nearest rows, and how far to trust them."""
