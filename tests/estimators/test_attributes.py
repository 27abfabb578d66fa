"""A look at the attributes of a fitted estimator, as scikit-learn's `dir`, is safe."""

import numpy as np
import pytest

from skebm import (
    BernoulliRBM,
    DeepBeliefNetwork,
    EBMDensityEstimator,
    GaussianRBM,
    JEMClassifier,
    JEMRegressor,
    RBMClassifier,
    SoftmaxRBM,
)

TINY = {"max_iter": 1, "reference": "gaussian", "normalizer": None, "random_state": 0}
FITS = [
    EBMDensityEstimator(early_stopping=False, **TINY),
    EBMDensityEstimator(ood_score="auto", **TINY),
    JEMClassifier(objective=None, stacking=False, **TINY),
    JEMRegressor(**TINY),
    BernoulliRBM(2, n_iter=1, random_state=0),
    BernoulliRBM(2, n_iter=1, normalizer=None, random_state=0),
    GaussianRBM(2, n_iter=1, random_state=0),
    SoftmaxRBM(2, n_iter=1, random_state=0),
    RBMClassifier(2, n_iter=1, random_state=0),
    DeepBeliefNetwork([2, 2], random_state=0),
]


@pytest.mark.parametrize("model", FITS, ids=lambda model: type(model).__name__)
@pytest.mark.filterwarnings("ignore::skebm.exceptions.TrainingWarning")
def test_every_attribute_is_there_or_missing(model):
    """`hasattr` hides an AttributeError only; `dir` asks it of every attribute."""
    X = (np.random.RandomState(0).rand(40, 3) < 0.4).astype(float)
    for asked in (model, model.fit(X, X[:, 0].astype(int))):
        names = dir(asked)
        assert "fit" in names
        for name in dir(type(asked)):
            hasattr(asked, name)
    assert "n_features_in_" in names
