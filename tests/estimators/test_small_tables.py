"""A handful of rows, a batch of one: training stays on the rails."""

from functools import partial

import numpy as np
import pytest

from skebm import EBMDensityEstimator, JEMClassifier
from skebm.models._specification import MAX_AUTO_EPOCHS
from skebm.networks import MLP, EnsembleMLP
from skebm.objectives import OBJECTIVES, VERA

SMALL = {
    "network": partial(MLP, hidden_features=(16,)),
    "reference": "gaussian",
    "normalizer": None,
    "max_iter": 60,
}


def blobs(n_rows, seed):
    X = np.random.RandomState(seed).normal(size=(n_rows, 1))
    y = np.arange(n_rows) % 2
    return X + 3 * y[:, None], y


@pytest.mark.parametrize("n_rows", [5, 10, 20])
def test_few_rows_in_one_column(n_rows):
    network = partial(EnsembleMLP, hidden_features=(16,))
    for seed in range(2):
        X, y = blobs(n_rows, seed)
        model = JEMClassifier(**SMALL | {"network": network}, random_state=seed)
        assert np.isfinite(model.fit(X, y).score_samples(X)).all()
        assert not any(model.history_["n_rollbacks"])
        density = EBMDensityEstimator(**SMALL, random_state=seed).fit(X)
        assert np.isfinite(density.score_samples(X)).all()
        assert not any(density.history_["n_rollbacks"])


@pytest.mark.parametrize("objective", ["vera", "wake_sleep", VERA(reference_share=0)])
def test_a_batch_of_one_row(objective):
    X, y = blobs(12, 0)
    options = SMALL | {"max_iter": 3, "batch_size": 1, "random_state": 0}
    for model in (EBMDensityEstimator(**options), JEMClassifier(**options)):
        model.set_params(objective=objective).fit(X, y)
        assert np.isfinite(model.score_samples(X)).all()


@pytest.mark.parametrize("objective", ["nce", "vera"])
def test_auto_options_are_the_objectives_recipe(objective):
    """Spelt out, they give the same fit."""
    X = np.random.RandomState(0).normal(size=(60, 2)) ** 3
    recipe = OBJECTIVES[objective].recipe
    shared = {"normalizer": None, "random_state": 0, "validation_fraction": 0.4}
    auto = EBMDensityEstimator(objective, **shared).fit(X)
    spelt = EBMDensityEstimator(
        objective,
        recipe.network,
        learning_rate=recipe.learning_rate,
        n_iter_no_change=recipe.n_iter_no_change,
        max_iter=min(MAX_AUTO_EPOCHS, recipe.n_steps),  # a step an epoch
        **shared,
    ).fit(X)
    assert auto.n_iter_ == spelt.n_iter_
    np.testing.assert_array_equal(auto.score_samples(X), spelt.score_samples(X))
