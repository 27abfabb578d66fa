"""Restricted Boltzmann machines behind scikit-learn's interface."""

from skebm._rbm._bernoulli import BernoulliRBM
from skebm._rbm._classifier import RBMClassifier
from skebm._rbm._deep_belief import DeepBeliefNetwork
from skebm._rbm._gaussian import GaussianRBM
from skebm._rbm._softmax import SoftmaxRBM

__all__ = [
    "BernoulliRBM",
    "DeepBeliefNetwork",
    "GaussianRBM",
    "RBMClassifier",
    "SoftmaxRBM",
]
