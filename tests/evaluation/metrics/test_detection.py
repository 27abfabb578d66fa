"""Metrics of detection against scikit-learn, by hand, and conformal validity."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from skebm.evaluation import conformal_p_values, detection


@pytest.mark.parametrize("decimals", [6, 0])  # without and with ties
def test_detection_agrees_with_scikit_learn(decimals):
    rng = np.random.default_rng(0)
    normal = rng.normal(1, 1, 237).round(decimals)
    outliers = rng.normal(0, 2, 61).round(decimals)
    found = detection(normal, outliers)
    scores = np.concatenate([normal, outliers])
    is_outlier = np.arange(len(scores)) >= len(normal)
    assert found.auroc == roc_auc_score(is_outlier, -scores)
    assert found.aupr == average_precision_score(is_outlier, -scores)
    false, true, _ = roc_curve(~is_outlier, scores, drop_intermediate=False)
    assert found.fpr95 == pytest.approx(false[true >= 0.95].min())


def test_detection_by_hand():
    found = detection(normal=np.arange(1, 21), outliers=[0, 1.5, 2, 30])
    # 19 of 20 normal rows score 2 or more; so do the outliers 2 and 30.
    assert found.fpr95 == 0.5
    # 0 is below all 20, 1.5 below 19, 2 below 18 and level with one, 30 below none.
    assert found.auroc == pytest.approx((20 + 19 + 18.5 + 0) / 80)
    # By falling strangeness: 0 (1/1), then 1, 1.5 (2/3), then 2 with its tie (3/5), 30.
    assert found.aupr == pytest.approx((1 + 2 / 3 + 3 / 5 + 4 / 24) / 4)


def test_infinite_scores_have_an_order():
    found = detection(normal=[0.0, 1.0], outliers=[-np.inf, -np.inf, 0.5])
    assert found.auroc == pytest.approx(5 / 6)


@pytest.mark.parametrize("bad", [[], [np.nan, 1.0], [[1.0]]])
def test_bad_scores_are_named(bad):
    with pytest.raises(ValueError, match="'outliers'"):
        detection([0.0, 1.0], bad)
    with pytest.raises(ValueError, match="'calibration'"):
        conformal_p_values([0.0], bad)


def test_p_values_by_hand():
    calibration = [5.0, 1.0, 3.0, 3.0]
    p = conformal_p_values([0.0, 1.0, 3.0, 4.0, 9.0, -np.inf], calibration)
    np.testing.assert_array_equal(p, np.array([1, 2, 4, 4, 5, 1]) / 5)


@pytest.mark.parametrize("n_distinct", [None, 5])  # without ties exact, with ties safe
def test_p_values_of_exchangeable_rows_are_uniform(n_distinct):
    """P(p <= k / 20) is k / 20 over both the calibration rows and the new one."""
    rng = np.random.default_rng(1)
    scores = rng.standard_normal((20_000, 20))
    if n_distinct:
        scores = rng.integers(n_distinct, size=scores.shape).astype(float)
    p = np.array([conformal_p_values(row[:1], row[1:])[0] for row in scores])
    levels = np.arange(1, 21) / 20
    reached = (p[:, None] <= levels + 1e-12).mean(axis=0)
    error = 4 * np.sqrt(0.25 / len(p))
    assert (reached <= levels + error).all()
    if n_distinct is None:
        np.testing.assert_allclose(reached, levels, atol=error)
