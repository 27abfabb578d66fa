"""Toy densities with known log-likelihoods, and rows of tables that come in batches."""

from skebm.datasets._batches import sample_rows
from skebm.datasets._toy import Checkerboard, Funnel, GaussianRing, TwoRings

__all__ = ["Checkerboard", "Funnel", "GaussianRing", "TwoRings", "sample_rows"]
