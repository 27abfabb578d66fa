"""Restricted Boltzmann machines behind scikit-learn's interface."""

from skebm.estimators.boltzmann._bernoulli import BernoulliRBM
from skebm.estimators.boltzmann._classifier import RBMClassifier
from skebm.estimators.boltzmann._deep_belief import DeepBeliefNetwork
from skebm.estimators.boltzmann._gaussian import GaussianRBM
from skebm.estimators.boltzmann._softmax import SoftmaxRBM

__all__ = [
    "BernoulliRBM",
    "DeepBeliefNetwork",
    "GaussianRBM",
    "RBMClassifier",
    "SoftmaxRBM",
]
