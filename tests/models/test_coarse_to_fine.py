"""A second try from a coarser reference: when, and what it leaves behind."""

import copy

import numpy as np
import pytest

from skebm import EBMDensityEstimator
from skebm.datasets import Checkerboard
from skebm.models import _coarse_to_fine
from skebm.references import GaussianMixtureReference


def fitted(X, **options):
    options = {"ood_score": "log_density", "random_state": 0} | options
    return EBMDensityEstimator(**options).fit(X)


@pytest.fixture(scope="module")
def board():
    truth = Checkerboard()
    return truth, truth.sample(2000, random_state=0)


@pytest.fixture(scope="module")
def model(board):
    return fitted(board[1])


def test_edges_that_a_fine_mixture_hides_are_learnt_from_a_coarse_one(board, model):
    truth, X = board
    fresh = truth.sample(5000, random_state=1)
    gap = truth.score_samples(fresh).mean() - model.score(fresh)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_coarse_to_fine, "MAX_COLUMNS", 0)
        once = fitted(X, n_iter_no_change=5)
    assert gap < 0.6 * (truth.score_samples(fresh).mean() - once.score(fresh))
    assert model.best_epoch_ > 0
    assert len(model.history_["seconds"]) == model.n_iter_


def test_training_goes_on_from_the_kept_model(board, model):
    reference, before = model.reference_, model.score(board[1])
    again = copy.deepcopy(model).partial_fit(board[1])
    assert len(again.reference_.weights) == len(reference.weights)
    assert abs(again.score(board[1]) - before) < 0.1


@pytest.mark.parametrize(
    "options",
    [
        {"reference": GaussianMixtureReference()},
        {"early_stopping": False},
        {"warm_start": True},
        {"network": "mixture"},
    ],
    ids=["an instance", "no held-out rows", "warm start", "normalised"],
)
def test_there_is_no_second_try_without_need(board, options, monkeypatch):
    no_reference = "nothing that could be fitted"
    monkeypatch.setattr(GaussianMixtureReference, "coarser", lambda _: no_reference)
    fitted(board[1][:200], max_iter=2, normalizer=None, **options)


def test_the_first_model_stays_where_it_is_better():
    X = np.random.default_rng(0).normal(size=(400, 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_coarse_to_fine, "MAX_COLUMNS", 0)
        first = fitted(X, max_iter=3)
    with pytest.MonkeyPatch.context() as patch:
        of_few_rows = GaussianMixtureReference((2, 4, 8), max_rows=5)
        patch.setattr(GaussianMixtureReference, "coarser", lambda _: of_few_rows)
        kept = fitted(X, max_iter=3)
    np.testing.assert_array_equal(kept.score_samples(X), first.score_samples(X))
