"""skebm: energy-based models behind the scikit-learn interface."""

from importlib.metadata import version

from skebm._classifier import JEMClassifier
from skebm._density import EBMDensityEstimator
from skebm._rbm import (
    BernoulliRBM,
    DeepBeliefNetwork,
    GaussianRBM,
    RBMClassifier,
    SoftmaxRBM,
)

__all__ = [
    "BernoulliRBM",
    "DeepBeliefNetwork",
    "EBMDensityEstimator",
    "GaussianRBM",
    "JEMClassifier",
    "RBMClassifier",
    "SoftmaxRBM",
]

__version__ = version("skebm")
