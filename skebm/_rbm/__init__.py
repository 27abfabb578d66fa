"""Restricted Boltzmann machines behind scikit-learn's interface."""

from skebm._rbm._bernoulli import BernoulliRBM

__all__ = ["BernoulliRBM"]
