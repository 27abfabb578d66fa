"""Few of the outliers called out are false alarms."""

import numpy as np
import pytest

from skebm.evaluation import (
    benjamini_hochberg,
    conditional_p_values,
    conformal_p_values,
)


def by_hand(p, alpha):
    ordered, m = np.sort(p), len(p)
    below = [x for j, x in enumerate(ordered, 1) if x <= alpha * j / m + 1e-12]
    return p <= (below[-1] if below else -1)


def test_benjamini_hochberg_by_hand():
    rng = np.random.RandomState(0)
    for alpha in (0.05, 0.1, 0.5):
        p = np.round(rng.beta(0.3, 1, 50), 2)
        np.testing.assert_array_equal(benjamini_hochberg(p, alpha), by_hand(p, alpha))
    assert benjamini_hochberg([]).shape == (0,)
    assert benjamini_hochberg([0.3 / 3, 1, 1], alpha=0.3).tolist() == [
        True,
        False,
        False,
    ]


def rates(n, n_draws, delta=None):
    """Return the shares of false alarms, and of outliers told, of many draws."""
    rng = np.random.RandomState(0)
    false, told = [], []
    for _ in range(n_draws):
        scores = np.r_[rng.normal(size=90), rng.normal(-4, 1, 10)]
        p = conformal_p_values(scores, rng.normal(size=n))
        p = p if delta is None else conditional_p_values(p, n, delta)
        out = benjamini_hochberg(p, 0.1)
        false.append(out[:90].sum() / max(out.sum(), 1))
        told.append(out[90:].mean())
    return np.mean(false), np.mean(told)


def test_the_false_discovery_rate_holds_in_the_mean():
    false, told = rates(500, 200)
    assert 0.06 < false <= 0.1  # 0.09 is expected
    assert told > 0.8
    fewer, told_by_fewer = rates(2000, 100, delta=0.1)
    assert fewer < false and 0.6 < told_by_fewer < told


@pytest.mark.parametrize("n", [1, 2, 7, 300])
def test_conditional_p_values_hold_for_most_calibration_rows(n):
    """All order statistics of uniform numbers are below their bounds, at once."""
    delta, n_draws = 0.2, 2000
    places = np.arange(1, n + 2) / (n + 1)
    bounds = conditional_p_values(places, n, delta)
    assert (bounds >= places).all() and (np.diff(bounds) >= 0).all()
    assert bounds[-1] == 1
    uniform = np.sort(np.random.RandomState(0).uniform(size=(n_draws, n)), axis=1)
    holds = (uniform <= bounds[:-1]).all(axis=1).mean()
    assert holds >= 1 - delta - 3 * np.sqrt(delta / n_draws)
    if n == 1:
        assert holds < 0.85  # here the inequality is an equation


def test_the_bounds_by_hand():
    n, k, delta = 4, 2, 0.1
    shares = [(i * (i - 1)) / (n * (n - 1)) for i in (4, 3, 2, 1)]
    expected = [1 - (delta * share) ** (1 / k) for share in shares] + [1]
    found = conditional_p_values(np.arange(1, 6) / 5, n, delta)
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: benjamini_hochberg([0.5, np.nan]), "'p_values' parameter"),
        (lambda: benjamini_hochberg([1.5]), "'p_values' parameter"),
        (lambda: benjamini_hochberg([[0.5]]), "'p_values' parameter"),
        (lambda: benjamini_hochberg([0.5], alpha=0), "'alpha' parameter"),
        (lambda: conditional_p_values([0.5], 0), "'n_calibration' parameter"),
        (lambda: conditional_p_values([0.5], 9, 1.0), "'delta' parameter"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
