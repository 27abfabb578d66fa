"""Refusal of estimators that skebm 0.1.0 pickled, whose modules are gone."""

from __future__ import annotations

import sys
from importlib.metadata import version
from types import ModuleType

#: Where 0.1.0 had its estimators.
MODULES = {
    "skebm._classifier": "JEMClassifier",
    "skebm._density": "EBMDensityEstimator",
    "skebm._rbm": None,
    "skebm._rbm._bernoulli": "BernoulliRBM",
    "skebm._rbm._classifier": "RBMClassifier",
    "skebm._rbm._deep_belief": "DeepBeliefNetwork",
    "skebm._rbm._gaussian": "GaussianRBM",
    "skebm._rbm._softmax": "SoftmaxRBM",
}


class OldModule(ModuleType):
    """A module of 0.1.0 that names both versions where its estimator is asked for."""

    def __getattr__(self, name):
        if name != MODULES[self.__name__]:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        raise ValueError(
            f"This {name} was stored by skebm 0.1.0, whose format skebm "
            f"{version('skebm')} can't read. Fit the estimator anew, or load it with "
            "skebm 0.1.0."
        )


def install():
    """Put the old modules where unpickling looks for them."""
    for name in MODULES:
        sys.modules.setdefault(name, OldModule(name))
