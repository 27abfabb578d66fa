"""skebm: energy-based models behind the scikit-learn interface."""

from importlib.metadata import version

from skebm._classifier import JEMClassifier
from skebm._density import EBMDensityEstimator

__all__ = ["EBMDensityEstimator", "JEMClassifier"]

__version__ = version("skebm")
