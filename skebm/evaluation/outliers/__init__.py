"""Scores of how normal a row is."""
