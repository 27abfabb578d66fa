"""Draws and fills take values that the columns of the table can take."""

import pickle
from functools import partial

import numpy as np
import pytest

from skebm import EBMDensityEstimator, GaussianRBM, JEMClassifier
from skebm.exceptions import DataWarning
from skebm.networks import MLP

N = 120
QUICK = {
    "network": partial(MLP, hidden_features=(4,)),
    "reference": "gaussian",
    "normalizer": "importance",
    "ood_score": "log_density",
    "max_iter": 1,
    "random_state": 0,
}
ESTIMATORS = {
    "with atoms": EBMDensityEstimator(**QUICK, atoms="auto"),
    "without atoms": EBMDensityEstimator(**QUICK, atoms=None),
    "classifier": JEMClassifier(**QUICK, stacking=False),
    "rbm": GaussianRBM(2, n_iter=2, random_state=0),
}
COUNT, REAL, AMOUNT, SHARE, CODE = range(5)


def table():
    rng = np.random.default_rng(0)
    return np.c_[
        rng.poisson(1.5, N) * rng.integers(1, 20, N),
        rng.normal(size=N),
        np.where(rng.uniform(size=N) < 0.5, 0, rng.exponential(2, N)),
        rng.uniform(size=N),
        rng.choice([0.5, 1, 7], N),
    ]


def drawn(model, n_samples, **options):
    found = model.sample(n_samples, random_state=0, **options)
    return found[0] if isinstance(found, tuple) else found


def check_values(X):
    assert (X[:, COUNT] == np.rint(X[:, COUNT])).all() and (X[:, COUNT] >= 0).all()
    assert (X[:, REAL] != np.rint(X[:, REAL])).any()
    assert (X[:, AMOUNT] >= 0).all()
    assert (X[:, SHARE] > 0).all() and (X[:, SHARE] < 1).all()
    assert set(X[:, CODE]) <= {0.5, 1.0, 7.0}


@pytest.fixture(scope="module", params=ESTIMATORS)
def model(request):
    return ESTIMATORS[request.param].fit(table(), np.resize([0, 1, -1], N))


def test_draws_can_be(model):
    check_values(drawn(model, 100))


def test_fills_can_be(model):
    X = table()[:10]
    holes = np.where(np.add.outer(np.arange(10), np.arange(5)) % 3 == 0, np.nan, X)
    strategies = [{}]
    if not isinstance(model, GaussianRBM):
        strategies += [{"strategy": "median"}, {"strategy": "draw", "random_state": 0}]
    for options in strategies:
        filled = model.impute(holes, **options)
        check_values(filled)
        np.testing.assert_allclose(filled[~np.isnan(holes)], X[~np.isnan(holes)])


def test_what_is_given_is_held_whatever_it_is(model):
    given = np.array([[2.5, np.nan, np.nan, np.nan, 3.0]])
    message = r"unlike those of fit, in column 0 \(2.5, where fit saw whole.*column 4"
    with pytest.warns(DataWarning, match=message):
        found = drawn(model, 30, given=given)
    np.testing.assert_allclose(found[:, COUNT], 2.5, atol=1e-6)
    np.testing.assert_allclose(found[:, CODE], 3.0, atol=1e-6)
    found[:, COUNT], found[:, CODE] = 2, 1
    check_values(found)


def test_a_copy_draws_the_same(model):
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(drawn(again, 9), drawn(model, 9))
