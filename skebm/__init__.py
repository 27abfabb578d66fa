"""skebm: energy-based models behind the scikit-learn interface."""

from importlib.metadata import version

from skebm.estimators._density import EBMDensityEstimator
from skebm.estimators._imputer import EBMImputer
from skebm.estimators._jem import JEMClassifier
from skebm.estimators._jem_regressor import JEMRegressor
from skebm.estimators.boltzmann import (
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
    "EBMImputer",
    "GaussianRBM",
    "JEMClassifier",
    "JEMRegressor",
    "RBMClassifier",
    "SoftmaxRBM",
]

__version__ = version("skebm")
