"""p(y|x) of few labels."""

import warnings

import numpy as np
import pytest
from scipy.stats import norm, rankdata

from skebm.semi_supervised import LEARNERS, LabelRegression, Labels
from skebm.semi_supervised.learners._views import Views
from skebm.semi_supervised.regression import _gaussian_process, _label_learners
from skebm.semi_supervised.regression._gaussian_process import GaussianProcess
from skebm.semi_supervised.regression._label_learners import (
    assign_folds,
    cross_fit,
    fit_learner,
    record_numbers,
)
from skebm.semi_supervised.regression._regression_experts import fit_residuals, stack

TREES = ("extra trees", "boosted trees")
FAST = ("linear", "Gaussian process")


@pytest.fixture(scope="module", autouse=True)
def _few_trees():
    """Grow a fifth of the trees, which is enough here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_label_learners, "N_TREES", 20)
        yield


def make(n_labels, seed=0, n=200, noise=0.5):
    rng = np.random.RandomState(seed)
    x = rng.normal(size=(n, 3))
    y = x @ [1.0, -0.5, 0.0] + noise * rng.normal(size=n)
    return x, y, np.arange(n) < n_labels


def fit(x, y, known, names=FAST, weight=None, seed=0):
    rng = np.random.RandomState(seed)
    return LabelRegression.fit(x, Labels(x[known], y[known], weight), rng, names)


def test_views_are_moments_and_normal_scores_of_all_rows():
    rng = np.random.RandomState(0)
    x = np.c_[np.exp(rng.normal(size=300)), rng.uniform(size=300) > 0.7, np.ones(300)]
    seen = Views.fit(x).see(x)
    np.testing.assert_allclose(seen["numbers"][:, :2].std(axis=0), 1)
    scores = norm.ppf((rankdata(x[:, 0]) - 0.5) / 300)
    np.testing.assert_allclose(
        seen["scores"][:, 0], (scores / scores.std()).clip(-3, 3), atol=1e-9
    )
    assert not seen["scores"][:, 2].any() and not seen["numbers"][:, 2].any()


def test_residuals_of_a_normal_and_of_heavy_tails():
    rng = np.random.RandomState(0)
    scale, degrees = fit_residuals(2 * rng.normal(size=5000), np.ones(5000))
    assert degrees == 30 and scale == pytest.approx(2, rel=0.06)
    scale, degrees = fit_residuals(rng.standard_t(4, size=5000), np.ones(5000))
    assert degrees == 4 and scale == pytest.approx(1, rel=0.05)


def test_weights_count_as_repeated_residuals():
    residuals, weight = np.array([0.1, -1.0, 0.5, 2.0]), np.array([1.0, 3.0, 2.0, 2.0])
    repeated = np.repeat(residuals, weight.astype(int))
    scale, degrees = fit_residuals(residuals, weight)
    of_many, same = fit_residuals(repeated, np.ones(8))
    assert degrees == same
    assert scale / np.sqrt(5 / 3) == pytest.approx(of_many / np.sqrt(9 / 7), rel=1e-6)


def test_stacking_finds_the_better_learner_and_even_weights_of_equal_ones():
    rng = np.random.RandomState(0)
    score = rng.normal(size=100)
    even = stack(np.stack([score, score]), np.ones(100))
    np.testing.assert_allclose(even, 0.5)
    better = stack(np.stack([score, score - 0.3]), np.ones(100))
    assert better[0] > 0.99


@pytest.mark.parametrize("n", [2, 3, 20, 150, 2500])
def test_folds(n):
    folds = assign_folds(np.ones(n, dtype=bool))
    assert folds.max() + 1 == {2: 2, 3: 3, 20: 10, 150: 5, 2500: 1}[n]
    assert (folds >= 0).all() == (n <= 2000)


def test_rows_with_gaps_are_held_out_only_where_few_are_complete():
    complete = np.arange(80) % 2 == 0
    folds = assign_folds(complete)
    assert (folds[~complete] == -1).all()
    np.testing.assert_array_equal(folds[complete], assign_folds(np.ones(40, bool)))
    assert (assign_folds(np.arange(80) < 29) >= 0).all()
    assert (assign_folds(np.arange(3) < 1) >= 0).all()


def test_learners_fitted_anew_know_the_other_labels_alone():
    x, y, known = make(30)
    regression = fit(x, y, known, (*FAST, "forest"))
    rows = np.flatnonzero(known)
    again = regression.refitted(Labels(x[rows], y[rows]))
    some = regression.refitted(Labels(x[rows[:15]], y[rows[:15]]))
    moved = y + 10 * (np.arange(len(y)) >= 15)
    other = regression.refitted(Labels(x[rows[:15]], moved[rows[:15]]))
    mean = regression.predictive(x).mean()
    np.testing.assert_allclose(again.predictive(x).mean(), mean, atol=0.2)
    assert np.abs(some.predictive(x).mean() - mean).max() > 0.05
    np.testing.assert_array_equal(some.predictive(x).mean(), other.predictive(x).mean())


@pytest.mark.parametrize("n_labels", [2, 3, 5])
def test_few_labels_with_all_learners(n_labels):
    x, y, known = make(n_labels)
    regression = fit(x, y, known, tuple(LEARNERS))
    density = regression.predictive(x)
    assert np.isfinite(density.mean()).all() and (density.std() > 0).all()
    assert sum(regression.named_weights.values()) == pytest.approx(1)


def test_more_than_two_thousand_labels_hold_out_one_set():
    x, y, known = make(2500, n=2500)
    regression = fit(x, y, known, ("linear",))
    assert len(regression.levels) == 1000
    assert regression.predictive(x).std().mean() == pytest.approx(0.5, rel=0.1)


def test_labels_alike():
    x, y, known = make(4)
    density = fit(x, np.full(200, 0.1), known, tuple(LEARNERS)).predictive(x)
    np.testing.assert_allclose(density.mean(), 0.1, atol=1e-6)
    assert np.isfinite(density.log_prob(y)).all()


@pytest.mark.parametrize("names", [FAST, TREES], ids=["smooth", "trees"])
def test_equivariant_in_units_of_y(names):
    x, y, known = make(20)
    plain, moved = fit(x, y, known, names), fit(x, 1e3 + 1024 * y, known, names)
    one, other = plain.predictive(x), moved.predictive(x)
    np.testing.assert_allclose(other.mean(), 1e3 + 1024 * one.mean(), rtol=1e-7)
    np.testing.assert_allclose(
        other.log_prob(1e3 + 1024 * y), one.log_prob(y) - np.log(1024), atol=1e-4
    )
    assert moved.calibrated(0.8) == pytest.approx(plain.calibrated(0.8), abs=1e-4)


@pytest.mark.parametrize("unit", [1e-200, 1e200])
def test_labels_in_tiny_and_huge_units(unit):
    x, y, known = make(20)
    plain, moved = fit(x, y, known), fit(x, unit * y, known)
    np.testing.assert_allclose(
        moved.predictive(x).mean() / unit, plain.predictive(x).mean(), atol=1e-6
    )
    np.testing.assert_allclose(
        moved.predictive(x).quantile(0.9) / unit,
        plain.predictive(x).quantile(0.9),
        atol=1e-6,
    )


def test_a_turned_sign_turns_the_density():
    x, y, known = make(20)
    one = fit(x, y, known).predictive(x)
    other = fit(x, -3 * y, known).predictive(x)
    np.testing.assert_allclose(other.mean(), -3 * one.mean(), atol=1e-5)
    np.testing.assert_allclose(other.quantile(0.1), -3 * one.quantile(0.9), atol=1e-5)


def test_intervals_cover_as_often_as_they_say():
    """Mean over draws of 15 labels: neither narrow nor as wide as can be."""
    levels, covered = (0.5, 0.9), []
    for seed in range(25):
        x, y, known = make(15, seed)
        regression = fit(x, y, known, ("linear",), seed=seed)
        density = regression.predictive(x[~known])
        halves = [regression.calibrated(level) / 2 for level in levels]
        ends = [[density.quantile(0.5 + s * h) for s in (-1, 1)] for h in halves]
        new = y[~known]
        covered.append([((low <= new) & (new <= high)).mean() for low, high in ends])
    for level, share in zip(levels, np.mean(covered, axis=0), strict=True):
        assert level - 0.05 < share < level + 0.08


def test_levels_that_labels_cannot_show():
    x, y, known = make(5)
    regression = fit(x, y, known)
    assert regression.calibrated(0.99) >= 0.99
    assert regression.calibrated(0.5) == regression.levels[2]


def test_unlabelled_rows_do_not_harm():
    errors = {}
    for n in (30, 2000):
        error = []
        for seed in range(2):
            x, y, known = make(20, seed, n=2000)
            rng = np.random.RandomState(0)
            names = ("linear", "Gaussian process of ranks")
            labels = Labels(x[known], y[known])
            regression = LabelRegression.fit(x[:n], labels, rng, names)
            error.append(np.mean((regression.predictive(x).mean() - y) ** 2))
        errors[n] = np.mean(error)
    assert errors[2000] < 1.05 * errors[30]


def test_a_weight_of_nearly_zero_is_none():
    x, y, known = make(30)
    y[:10] += 50
    weight = np.where(np.arange(30) < 10, 1e-9, 1.0)
    density = fit(x, y, known, weight=weight).predictive(x[30:])
    assert np.mean((density.mean() - y[30:]) ** 2) < 0.5


@pytest.mark.parametrize("name", ["forest", "extra trees"])
def test_a_label_that_every_tree_saw_is_left_out_by_folds(name):
    x, y, _ = make(30, n=30)
    weight = np.where(np.arange(30) == 0, 1e6, 1.0)
    views, folds = {"numbers": x}, assign_folds(np.ones(30, bool))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        forest = fit_learner(name, views, y, weight, 0)
        center, _ = cross_fit(name, views, y, weight, forest, folds, 0)
    others = folds != folds[0]
    rest = {"numbers": x[others]}
    without = fit_learner(name, rest, y[others], weight[others], 0)
    assert center[0] == pytest.approx(without.predict(x[:1])[0])
    np.testing.assert_allclose(center[1:2], y[0])


def test_trees_that_did_not_see_a_label_predict_it():
    x, y, _ = make(40, n=40)
    views, weight = {"numbers": x}, np.ones(40)
    forest = fit_learner("forest", views, y, weight, 0)
    center, _ = cross_fit(
        "forest", views, y, weight, forest, assign_folds(np.ones(40, bool)), 0
    )
    scored = forest.set_params(oob_score=True).fit(x, y, weight)
    np.testing.assert_array_equal(center, scored.oob_prediction_)


def test_a_process_is_asked_about_held_out_labels_it_has_not(monkeypatch):
    monkeypatch.setattr(_gaussian_process, "MAX_ROWS", 120)
    x, y, _ = make(2500, n=2500)
    views, name = {"numbers": x}, "Gaussian process"
    process = fit_learner(name, views, y, np.ones(2500), 0)
    expected, asked = process.predict(x[120:1000]), []
    predict = GaussianProcess.predict
    monkeypatch.setattr(
        GaussianProcess,
        "predict",
        lambda self, x: asked.append(len(x)) or predict(self, x),
    )
    found = cross_fit(
        name, views, y, np.ones(2500), process, assign_folds(np.ones(2500, bool)), 0
    )
    assert asked == [880]
    for own, values, new in zip(
        process.left_out(y[:120]), found, expected, strict=True
    ):
        np.testing.assert_array_equal(values, np.r_[own, new])


def test_repeats_of_labels_do_not_narrow_intervals():
    """Held out beside its repeats, a label would be predicted by them."""
    rng = np.random.RandomState(0)
    x = rng.normal(size=(320, 4))
    y = x[:, 0] + rng.normal(size=320)
    rows = np.r_[np.arange(20), np.arange(20), np.arange(20)]
    names = ["linear", "Gaussian process", "forest"]
    repeated = LabelRegression.fit(
        x[:20], Labels(x[rows], y[rows]), np.random.RandomState(0), names
    )
    level = np.abs(2 * repeated.predictive(x[20:]).cdf(y[20:]) - 1)
    assert (level <= repeated.calibrated(0.9)).mean() > 0.82
    assert len(repeated.levels) == 20
    records = record_numbers(x[rows], y[rows])
    np.testing.assert_array_equal(records, rows)
    # Ties of few values are no repeats.
    x, y = rng.randint(3, size=(60, 1)).astype(float), rng.randint(12, size=60)
    np.testing.assert_array_equal(record_numbers(x, y), np.arange(60))
