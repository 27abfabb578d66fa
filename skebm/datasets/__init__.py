"""Floor 1: densities whose log-likelihood is known, to measure against."""

from skebm.datasets._toy import Checkerboard, Funnel, GaussianRing, TwoRings

__all__ = ["Checkerboard", "Funnel", "GaussianRing", "TwoRings"]
