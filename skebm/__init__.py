"""skebm: energy-based models behind the scikit-learn interface."""

from importlib.metadata import version

from skebm._classifier import JEMClassifier
from skebm._density import EBMDensityEstimator
from skebm._rbm import BernoulliRBM

__all__ = ["BernoulliRBM", "EBMDensityEstimator", "JEMClassifier"]

__version__ = version("skebm")
