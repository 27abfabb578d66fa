"""Outliers among the rows of `fit`: with `trim_fraction` they change little."""

import pickle

import numpy as np
import pytest

from skebm import EBMDensityEstimator

N_OUTLIERS = 20


def make(**options):
    quick = {"reference": "gaussian", "max_iter": 1, "normalizer": "importance"}
    return EBMDensityEstimator(random_state=0, **(quick | options))


def normal_rows(n, seed):
    covariance = [[1.0, 0.8], [0.8, 1.0]]
    return np.random.default_rng(seed).multivariate_normal([0, 0], covariance, n)


def outliers(n, seed):
    return np.random.default_rng(seed).normal([3, -3], 0.2, (n, 2))


@pytest.fixture(scope="module")
def planted():
    """Return clean rows, and the same with one outlier in twenty before them."""
    clean = normal_rows(380, 0)
    return clean, np.r_[outliers(N_OUTLIERS, 1), clean]


@pytest.fixture(scope="module")
def trimmed(planted):
    return make(trim_fraction=0.05).fit(planted[1])


def test_the_trimmed_rows_are_the_planted_ones(planted, trimmed):
    assert trimmed.is_trimmed_.shape == (400,)
    assert trimmed.is_trimmed_.sum() == N_OUTLIERS
    assert trimmed.is_trimmed_[:N_OUTLIERS].sum() >= N_OUTLIERS - 1


def test_the_log_density_of_clean_rows_is_near_that_of_the_clean_fit(planted, trimmed):
    clean, X = planted
    new = normal_rows(300, 2)
    expected = make(ood_score="log_density").fit(clean).score_samples(new)
    spoilt = make(ood_score="log_density").fit(X).score_samples(new)
    assert np.abs(trimmed.score_samples(new) - expected).mean() < 0.15
    assert np.abs(spoilt - expected).mean() > 0.4


def test_the_default_score_tells_new_outliers_of_the_same_kind(trimmed):
    scores = trimmed.ood_scores(np.r_[normal_rows(200, 3), outliers(50, 4)])
    assert scores[200:].max() < np.quantile(scores[:200], 0.02)


def test_thresholds_count_the_trimmed_rows(planted):
    """Else a clean table would lose its lowest scores: alarms would be too many."""
    clean, _ = planted
    model = make(trim_fraction=0.2, contamination=0.1).fit(clean)
    assert model.n_calibration_ == len(clean)
    share = (model.predict(normal_rows(1000, 5)) == -1).mean()
    assert 0.06 < share < 0.14
    p = model.p_values(normal_rows(1000, 6))
    assert 0.06 < (p <= 0.1).mean() < 0.14


def test_rows_of_weight_zero_are_no_part_of_the_share(planted):
    _, X = planted
    weight = np.ones(len(X))
    weight[:10] = 0
    model = make(trim_fraction=0.05, ood_score="log_density")
    is_trimmed = model.fit(X, sample_weight=weight).is_trimmed_
    assert not is_trimmed[:10].any()
    assert is_trimmed.sum() == 19
    assert is_trimmed[10:N_OUTLIERS].all()


def test_incomplete_rows_and_a_warm_start(planted):
    X = planted[1].copy()
    X[30:40, 1] = np.nan
    X[40] = np.nan
    model = make(trim_fraction=0.05, warm_start=True, early_stopping=False)
    for _ in range(2):
        is_trimmed = model.fit(X).is_trimmed_
        assert is_trimmed[:N_OUTLIERS].sum() >= N_OUTLIERS - 2
        assert not is_trimmed[40]
    assert np.isfinite(model.ood_scores(X[:40])).all()


def test_a_stored_estimator_scores_alike(planted, trimmed):
    X = planted[1]
    again = pickle.loads(pickle.dumps(trimmed))
    np.testing.assert_array_equal(again.is_trimmed_, trimmed.is_trimmed_)
    np.testing.assert_allclose(again.ood_scores(X), trimmed.ood_scores(X))


def test_by_default_no_row_is_trimmed(planted):
    assert make(ood_score="log_density").fit(planted[0]).is_trimmed_ is None


@pytest.mark.parametrize("share", [-0.1, 0.6, "auto"])
def test_shares_are_checked(planted, share):
    with pytest.raises(ValueError, match="'trim_fraction' parameter"):
        make(trim_fraction=share).fit(planted[0])
