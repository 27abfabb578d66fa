"""Scores of rows as if an RBM had not been trained on them."""

import numpy as np
import pytest

from skebm import BernoulliRBM
from skebm.exceptions import DivergenceError
from skebm.models.boltzmann._left_out import left_out_shifts


def gaussian_fit(rows, seed=None):
    """Return the log density, up to a constant, of a Gaussian about the rows' mean."""
    mean = rows.mean(axis=0)
    return lambda v: -0.5 * ((v - mean) ** 2).sum(axis=1)


@pytest.mark.parametrize("n_rows", [40, 400])
def test_shifts_make_up_for_the_excess_of_rows_trained_on(n_rows):
    """Of a mean of d columns the excess is d / n, in the mean over many tables."""
    n_columns, gaps = 30, []
    for seed in range(10):
        rows = np.random.RandomState(seed).normal(size=(n_rows, n_columns))
        score = gaussian_fit(rows)
        shifts = left_out_shifts(score, rows, n_rows, gaussian_fit, seed)
        gaps.append(-shifts.mean())
    assert np.mean(gaps) == pytest.approx(n_columns / n_rows, rel=0.3)


def test_where_nothing_can_be_told_nothing_is_shifted():
    rows = np.random.RandomState(0).normal(size=(40, 3))

    def diverging(rows, seed):
        raise DivergenceError("far off")

    score = gaussian_fit(rows)
    assert not left_out_shifts(score, rows, 40, diverging, 0).any()
    assert not left_out_shifts(score, rows[:3], 3, gaussian_fit, 0).any()
    assert not left_out_shifts(score, rows, 1000, gaussian_fit, 0).any()


def patterns(n_rows, seed):
    rng = np.random.RandomState(seed)
    shares = np.random.RandomState(77).uniform(0.1, 0.9, size=(3, 20))
    return (rng.uniform(size=(n_rows, 20)) < shares[rng.randint(3, size=n_rows)]) * 1.0


def test_few_rows_call_out_their_share_of_new_rows():
    """On average over 4 tables of 60 rows, where a quantile of them calls out 20 %."""
    new, shares, plain = patterns(2000, 99), [], []
    for seed in range(4):
        X = patterns(60, seed)
        model = BernoulliRBM(random_state=seed, normalizer=None).fit(X)
        shares.append((model.predict(new) == -1).mean())
        lowest = np.quantile(model.score_samples(X), 0.05)
        plain.append((model.score_samples(new) < lowest).mean())
    assert np.mean(plain) > 0.15
    assert 0.02 < np.mean(shares) < 0.1
