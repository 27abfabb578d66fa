"""scikit-learn's own checks of estimators."""

from functools import partial

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from skebm import EBMDensityEstimator, JEMClassifier
from skebm.networks import MLP

TINY = partial(MLP, hidden_features=(16,))
FAST = {"network": TINY, "reference": "gaussian", "normalizer": "importance"}

DENSITY = EBMDensityEstimator(**FAST, max_iter=3)
CLASSIFIER = JEMClassifier(**FAST, max_iter=40)
SUPERVISED = JEMClassifier(**FAST, max_iter=40, unlabeled=None)


@parametrize_with_checks([DENSITY, CLASSIFIER, SUPERVISED])
def test_scikit_learn_check(estimator, check):
    check(estimator)
