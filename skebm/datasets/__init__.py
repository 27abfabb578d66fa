"""Toy densities with known log-likelihoods, to evaluate models on."""

from skebm.datasets._toy import Checkerboard, Funnel, GaussianRing, TwoRings

__all__ = ["Checkerboard", "Funnel", "GaussianRing", "TwoRings"]
