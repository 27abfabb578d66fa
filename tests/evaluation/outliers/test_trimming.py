"""Rows of a table that look like outliers are found, whatever the columns hold."""

import numpy as np
import pytest

from skebm.evaluation.outliers._trimming import most_outlying


def rows_with_a_cluster(n=300, n_outliers=15, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.multivariate_normal([0, 0, 0], np.eye(3) * 0.3 + 0.7, n)
    outliers = rng.normal([2.5, -2.5, 2.5], 0.1, (n_outliers, 3))
    order = rng.permutation(n + n_outliers)
    return np.r_[X, outliers][order], order >= n


def test_a_dense_cluster_is_found():
    X, is_outlier = rows_with_a_cluster()
    found = most_outlying(X, is_outlier.mean())
    assert found.sum() == is_outlier.sum()
    assert (found & is_outlier).sum() >= 14


def test_a_far_cluster_in_one_column_is_found_among_rows_with_longer_tails():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 4))
    X[:, 1] = 2 * X[:, 0] + 0.3 * rng.normal(size=500)
    X[:25, 1] += 30
    assert most_outlying(X, 0.05)[:25].all()


def test_wild_and_missing_values_hide_nothing():
    X, is_outlier = rows_with_a_cluster()
    normal = np.flatnonzero(~is_outlier)
    X[normal[0], 1] = 1e200
    X[normal[1:60], 2] = np.nan
    found = most_outlying(X, 0.06)
    assert found[normal[0]]
    assert (found & is_outlier).sum() >= 13


def test_rare_categories_count():
    rng = np.random.default_rng(0)
    X = np.c_[rng.normal(size=200), rng.integers(0, 2, 200)]
    X[:4, 1] = 2
    found = most_outlying(X, 0.05, np.array([False, True]))
    assert found[:4].sum() >= 3


@pytest.mark.parametrize(
    ("n", "share", "n_trimmed"), [(10, 0.09, 0), (3, 0.5, 1), (100, 0.29, 29)]
)
def test_shares_are_rounded_down(n, share, n_trimmed):
    X = np.arange(2.0 * n).reshape(n, 2)
    assert most_outlying(X, share).sum() == n_trimmed


def test_two_rows_stay():
    assert not most_outlying(np.eye(2), 0.5).any()
    assert not most_outlying(np.zeros((30, 2)), 0.0).any()
