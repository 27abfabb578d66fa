"""Outliers at the face: scores, thresholds, p-values."""

import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from skebm import BernoulliRBM, EBMDensityEstimator, JEMClassifier
from skebm.evaluation import (
    OOD_SCORES,
    benjamini_hochberg,
    conditional_p_values,
    conformal_p_values,
)
from skebm.evaluation.outliers._detector import threshold
from skebm.exceptions import CalibrationWarning
from skebm.networks import MLP
from skebm.references import GaussianMixtureDensity

FREE = [name for name, kind in OOD_SCORES.items() if kind.is_free]


def make(**options):
    defaults = {
        "network": partial(MLP, hidden_features=(8,)),
        "reference": "gaussian",
        "normalizer": "importance",
        "max_iter": 3,
        "random_state": 0,
    }
    return EBMDensityEstimator(**(defaults | options))


def draw(n_rows, seed):
    return np.random.RandomState(seed).normal(size=(n_rows, 2)) * [1.0, 30.0] + 5.0


@pytest.fixture(scope="module")
def rows():
    return draw(600, 0)


@pytest.fixture(scope="module")
def trained(rows):
    return make(validation_fraction=0.5).fit(rows)


@pytest.fixture(params=OOD_SCORES)
def scoring(request, trained, rows):
    if request.param in FREE:
        copied = pickle.loads(pickle.dumps(trained))
        return copied.set_params(ood_score=request.param)
    model = make(validation_fraction=0.5, ood_score=request.param).fit(rows)
    copied = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copied.ood_scores(rows), model.ood_scores(rows))
    return copied


def test_scores_are_what_they_are_called(trained, rows):
    model = pickle.loads(pickle.dumps(trained))
    log_density = model.score_samples(rows)
    expected = {
        "log_density": log_density,
        "negative_energy": -model.energy(rows),
        # The mean of the held-out rows, which is somewhere near that of all.
        "typicality": -np.abs(log_density - log_density.mean()),
    }
    for name, scores in expected.items():
        found = model.set_params(ood_score=name).ood_scores(rows)
        atol = 0.2 if name == "typicality" else 1e-9
        np.testing.assert_allclose(found, scores, atol=atol)


@pytest.mark.parametrize("ood_score", FREE)
@pytest.mark.parametrize("contamination", [0.05, 0.3])
def test_outliers_are_the_contaminated_share(rows, ood_score, contamination):
    model = make(contamination=contamination, early_stopping=False).fit(rows)
    scores = model.set_params(ood_score=ood_score).ood_scores(rows)
    decision = model.decision_function(rows)
    np.testing.assert_array_equal(decision, scores - model.offset_)
    predicted = model.predict(rows)
    assert set(predicted) == {-1, 1}
    np.testing.assert_array_equal(predicted == 1, decision >= 0)
    assert (predicted == -1).mean() == pytest.approx(contamination, abs=0.01)


@pytest.mark.parametrize("n_rows", [60, 300])
def test_few_rows_call_out_their_share_of_new_rows(n_rows):
    """On average over 6 tables, where a tenth of the rows alone called out 16 %."""
    shares, p_values = [], []
    new = draw(2000, 99)
    for seed in range(6):
        model = make(random_state=seed, max_iter=1, ood_score="log_density")
        model.fit(draw(n_rows, seed))
        assert len(model._fitted.detector.calibration["log_density"]) == n_rows
        shares.append((model.predict(new) == -1).mean())
        p_values.append(model.p_values(new))
    assert 0.03 < np.mean(shares) < 0.08
    assert np.min(p_values) == pytest.approx(1 / (n_rows + 1))
    for level in (0.05, 0.2, 0.5):
        assert np.mean(np.less_equal(p_values, level)) < 1.25 * level + 0.01


def test_the_offset_comes_from_held_out_rows_where_they_are_enough(rows):
    """The quantile of some half of the rows: not that of all."""
    model = make(validation_fraction=0.5, contamination=0.5).fit(rows)
    assert len(model._fitted.detector.calibration["log_density"]) == 300
    scores = np.sort(model.ood_scores(rows))
    assert model.offset_ != pytest.approx(np.quantile(scores, 0.5), abs=1e-4)
    assert scores[200] < model.offset_ < scores[400]


@pytest.mark.parametrize("face", ["density", "classifier", "machine"])
def test_automatic_contamination_is_a_fence(face, rows):
    if face == "density":
        model = make(
            contamination="auto", early_stopping=False, ood_score="log_density"
        ).fit(rows)
        scores = model.ood_scores(rows)
    elif face == "classifier":
        y = (rows[:, 0] > 5).astype(int)
        model = JEMClassifier(
            contamination="auto", max_iter=2, normalizer=None, random_state=0
        ).fit(rows, y)
        scores = model.ood_scores(rows)
    else:
        patterns = (rows[:, :1] + np.arange(6) > 8).astype(float)
        model = BernoulliRBM(
            n_components=2, contamination="auto", n_iter=2, random_state=0
        ).fit(patterns)
        # Of few values: those of the rows as if left out.
        scores = model._fitted.calibration_scores.values
        assert abs(scores.mean() - model.score_samples(patterns).mean()) < 0.5
    low, high = np.quantile(scores, [0.25, 0.75])
    # Not exactly: rows are scored as if left out.
    atol = 0.2 * (high - low)
    assert model.offset_ == pytest.approx(low - 1.5 * (high - low), abs=atol)


def test_the_fence_does_not_follow_the_outliers():
    """A tenth of far scores among the others: the quantile lies amid them."""
    scores = np.random.RandomState(0).normal(size=1000)
    mixed = np.concatenate([scores, np.full(100, -50.0)])
    assert threshold(mixed, "auto") == pytest.approx(threshold(scores, "auto"), abs=0.5)
    assert threshold(mixed, 0.05) == -50.0


# ------------------------------------------------------------------ p-values


def test_p_values_are_valid(scoring):
    """Fresh calibration rows: P(p <= level) is level, up to 4 standard errors.

    Or less, where a tilt that was not worth keeping gives all rows one energy.
    """
    n = 4000
    p = scoring.p_values(draw(n, 2), calibration=draw(n, 3))
    levels = np.array([0.01, 0.05, 0.2, 0.5, 0.9])
    reached = (p[:, None] <= levels).mean(axis=0)
    error = np.sqrt(levels * (1 - levels) * 2 / n)
    assert (reached - levels < 4 * error).all()
    if len(np.unique(p)) > 1:
        assert (levels - reached < 4 * error).all()


def test_p_values_by_held_out_rows(trained, rows):
    model = pickle.loads(pickle.dumps(trained))
    p = model.p_values(draw(4000, 2))
    assert p.min() >= 1 / 301
    for level in (0.05, 0.2, 0.5):
        error = np.sqrt(level * (1 - level) / 300)
        assert (p <= level).mean() == pytest.approx(level, abs=4 * error)
    assert model.p_values([[500.0, 5.0]]) == pytest.approx(1 / 301)
    order = np.argsort(model.ood_scores(rows))
    assert (np.diff(model.p_values(rows)[order]) >= 0).all()


def test_p_values_need_rows_that_training_has_not_seen(rows):
    model = make(early_stopping=False).fit(rows)
    with pytest.raises(ValueError, match=r"calibration=, or .*early_stopping=True"):
        model.p_values(rows)
    assert model.p_values(rows[:3], calibration=draw(99, 1)).min() >= 0.01


def test_p_values_after_partial_fit_need_other_rows(trained, rows):
    model = pickle.loads(pickle.dumps(trained)).partial_fit(rows)
    with pytest.raises(ValueError, match="calibration"):
        model.p_values(rows)
    assert len(model.p_values(rows, calibration=draw(50, 1))) == len(rows)


# ------------------------------------------------------------------ learnt scores


def test_a_learnt_score_is_learnt_by_fit_where_it_is_chosen(rows):
    model = make(ood_score="log_density").fit(rows)
    model.set_params(ood_score="noise_contrast")
    for ask in (model.predict, model.p_values, lambda X: model.offset_):
        with pytest.raises(ValueError, match=r"'noise_contrast' is not .*Fit with"):
            ask(rows)
    model.fit(rows)
    assert (model.predict(rows) == -1).mean() == pytest.approx(0.05, abs=0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"contamination": 0.7}, "'contamination' parameter of EBMDensityEstimator"),
        ({"contamination": 0.0}, "'contamination'"),
        ({"contamination": np.nan}, "'contamination'"),
        ({"contamination": "some"}, "'contamination'"),
        ({"ood_score": "distance"}, "'ood_score' parameter of EBMDensityEstimator"),
        ({"ood_score": None}, "'ood_score'"),
    ],
)
def test_options_changed_after_fit_are_checked(trained, rows, options, message):
    model = pickle.loads(pickle.dumps(trained)).set_params(**options)
    for ask in (model.predict, model.p_values, lambda X: model.offset_):
        with pytest.raises(ValueError, match=message):
            ask(rows)


def test_a_contamination_that_the_rows_dont_resolve_is_told(trained, rows):
    model = pickle.loads(pickle.dumps(trained)).set_params(contamination=0.001)
    for ask in (model.predict, model.p_values, lambda X: model.offset_):
        with pytest.warns(CalibrationWarning, match=r"300 calibration .*0\.0033"):
            ask(rows)
    with pytest.warns(CalibrationWarning, match=r"9 calibration rows.*0\.1"):
        model.set_params(contamination=0.05).p_values(rows, calibration=rows[:9])


@pytest.mark.parametrize("early_stopping", [True, False])
def test_a_learnt_score_does_not_change_the_density(rows, early_stopping):
    density, scores = [], []
    for name in ("log_density", "auto"):
        model = make(ood_score=name, early_stopping=early_stopping).fit(rows)
        density.append(model.score_samples(rows))
        scores.append(model.ood_scores(rows))
    np.testing.assert_array_equal(*density)
    assert not np.array_equal(*scores)


def test_a_learnt_score_is_learnt_anew_after_partial_fit(rows):
    model = make(ood_score="combined").fit(rows)
    before = model.ood_scores(rows)
    after = model.partial_fit(rows).ood_scores(rows)
    assert np.isfinite(after).all()
    assert not np.array_equal(after, before)


@pytest.mark.parametrize("ood_score", ["auto", "combined"])
def test_far_rows_are_outliers(rows, ood_score):
    model = make(ood_score=ood_score, max_iter=60).fit(rows)
    far = [[5.0, 500.0], [25.0, 5.0], [5.0, 5.0]]
    assert model.predict(far).tolist() == [-1, -1, 1]


def test_the_automatic_score_is_the_same_in_other_units_and_says_its_weights(rows):
    model = make(max_iter=1).fit(rows)
    assert model.ood_score == "auto"
    twin = make(max_iter=1).fit(rows * [1e6, 1e-6] + [1e6, -2.0])
    new = draw(50, 3)
    np.testing.assert_allclose(
        twin.ood_scores(new * [1e6, 1e-6] + [1e6, -2.0]),
        model.ood_scores(new),
        atol=0.02,  # of steps of a thousandth in the shares of 600 rows
    )
    copied = pickle.loads(pickle.dumps(model))
    assert copied.ood_report_ == model.ood_report_
    weights = [part["weight"] for part in model.ood_report_.values()]
    assert sum(weights) == pytest.approx(1)
    copied.set_params(ood_score="log_density")
    assert not hasattr(copied, "ood_report_")


@pytest.mark.parametrize("n_rows", [45, 60])
def test_the_automatic_score_calls_out_its_share_of_new_rows(n_rows):
    new, shares = draw(2000, 99), []
    for seed in range(5):
        model = make(random_state=seed, max_iter=1).fit(draw(n_rows, seed))
        shares.append((model.predict(new) == -1).mean())
    assert 0.025 < np.mean(shares) < 0.085


def test_few_rows_of_many_narrow_components_are_left_out_by_folds():
    """Ten columns that nearly determine each other: 45 rows, a tenth held out."""
    rng = np.random.RandomState(0)
    mix = rng.normal(size=(3, 10))

    def rows(n_rows):
        factors = rng.standard_t(4, size=(n_rows, 3))
        return factors @ mix + 0.1 * rng.normal(size=(n_rows, 10))

    model = make(reference="gmm", max_iter=1, ood_score="log_density").fit(rows(45))
    folds = model._fitted.calibration._rows.folds
    assert sorted(np.concatenate([numbers for numbers, _ in folds])) == sorted(
        model._fitted.calibration._rows.numbers
    )
    assert 0.01 < (model.predict(rows(2000)) == -1).mean() < 0.15
    copied = pickle.loads(pickle.dumps(model))
    assert copied.offset_ == model.offset_
    # Once the threshold is known no fold stays in memory.
    assert model._fitted.calibration._rows is None
    assert model._fitted.assembly.folds == copied._fitted.assembly.folds == ()


@pytest.mark.parametrize("ood_score", ["log_density", "gradient_norm"])
def test_a_row_is_judged_by_the_fold_that_leaves_it_out(ood_score):
    """Whatever the density of a fold gives its rows, is what they calibrate by."""
    model = make(reference="gmm", max_iter=1, early_stopping=False).fit(draw(60, 0))
    rows = model._fitted.calibration._rows
    shifted = GaussianMixtureDensity(
        torch.ones(1), torch.full((1, 2), 100.0), torch.eye(2)[None]
    )
    folds = tuple((numbers, shifted) for numbers, _ in rows.folds)
    object.__setattr__(rows, "folds", folds[:2])
    model.set_params(ood_score=ood_score)
    scores = model._fitted.detector.calibration[ood_score]
    n_far = sum(len(numbers) for numbers, _ in folds[:2])
    assert scores[n_far - 1] + 10 < scores[n_far]


def shifted(n_rows):
    return draw(n_rows, 3) + np.array([5.0, -90.0])


def test_few_of_the_rows_called_out_are_false_alarms(rows):
    """At a tenth of outliers, with fresh normal rows and with those of fit."""
    model = make(ood_score="log_density").fit(rows)
    scores = model.ood_scores(np.r_[draw(8000, 2), shifted(500)])
    rng, normal, outliers = np.random.RandomState(0), scores[:8000], scores[8000:]

    def rates(calibration, n_draws=200):
        false, told = [], []
        for _ in range(n_draws):
            known = rng.choice(normal, 300) if calibration is None else calibration
            found = np.r_[rng.choice(normal, 90), rng.choice(outliers, 10)]
            out = benjamini_hochberg(conformal_p_values(found, known), 0.1)
            false.append(out[:90].sum() / max(out.sum(), 1))
            told.append(out[90:].mean())
        return np.mean(false), np.mean(told)

    false, told = rates(None)
    assert false <= 0.1 and told > 0.8
    # held-out rows and left-out training rows, of one fit: not in the mean over fits
    own = model._fitted.detector
    assert own.is_held_out and len(own.calibration["log_density"]) == 600
    false, told = rates(own.calibration["log_density"])
    assert false <= 0.15 and told > 0.8


def test_predictions_at_a_false_discovery_rate(trained):
    model = pickle.loads(pickle.dumps(trained)).set_params(ood_score="log_density")
    X = np.r_[draw(45, 1), shifted(5)]
    p = model.p_values(X)
    expected = np.where(benjamini_hochberg(p, 0.2), -1, 1)
    np.testing.assert_array_equal(model.predict(X, alpha=0.2), expected)
    assert (expected[45:] == -1).all()
    fresh = draw(2000, 3)
    out = model.predict(X, alpha=0.2, calibration=fresh)
    assert (out[45:] == -1).all() and (out[:45] == -1).mean() < 0.1
    larger = model.p_values(X, calibration=fresh, delta=0.1)
    expected = conditional_p_values(model.p_values(X, calibration=fresh), 2000, 0.1)
    np.testing.assert_array_equal(larger, expected)
    n = len(trained._fitted.detector.calibration["log_density"])
    expected = conditional_p_values(p, n, 0.1)
    np.testing.assert_array_equal(model.p_values(X, delta=0.1), expected)
    fewer = model.predict(X, alpha=0.2, calibration=fresh, delta=0.1)
    assert (fewer >= out).all() and (fewer[45:] == -1).all()


def test_what_a_false_discovery_rate_needs(trained, rows):
    for options in ({"calibration": rows}, {"delta": 0.1}):
        with pytest.raises(ValueError, match="go with alpha="):
            trained.predict(rows, **options)
    for options in ({"alpha": 0.0}, {"alpha": 1.5}, {"alpha": 0.1, "delta": 2}):
        with pytest.raises(ValueError, match="parameter must be a number"):
            trained.predict(rows[:5], **options)


def test_fit_predict_finds_outliers_among_the_rows_of_fit():
    """By `predict` each would be its own nearest neighbour, and half of them pass."""
    rng = np.random.RandomState(0)
    mix = np.linalg.cholesky(0.5 * np.eye(5) + 0.5)
    X = rng.normal(size=(400, 5)) @ mix.T
    X[:20] = rng.uniform(-5, 5, size=(20, 5))
    options = {"max_iter": 1, "normalizer": "importance", "reference": "gaussian"}
    model = EBMDensityEstimator(random_state=0, **options)
    found = model.fit_predict(X) == -1
    assert found[:20].mean() >= 0.8
    assert found[20:].mean() <= 0.03


def test_a_rare_category_between_frequent_ones_is_told_by_its_mass():
    """On the line of categories it lies in the middle, where the density is high."""
    rng = np.random.RandomState(0)

    def table(words):
        kind = pd.Categorical(words, categories=["a", "b", "z"])
        return pd.DataFrame({"kind": kind, "x": rng.normal(size=len(words))})

    words = rng.choice(["a", "z"], 600)
    words[:2] = "b"
    options = {"max_iter": 1, "normalizer": "importance", "random_state": 0}
    model = EBMDensityEstimator(ood_score="mixture_density", **options)
    model.fit(table(words))
    rare, usual = (model.ood_scores(table(w)) for w in (["b"] * 50, words[2:302]))
    assert np.mean(rare[:, None] < usual) > 0.95


def test_fit_predict_finds_gross_outliers_in_few_rows():
    rng = np.random.RandomState(1)
    X = rng.normal(size=(60, 3))
    X[:3] = rng.normal(size=(3, 3)) * 9
    found = make(ood_score="auto", max_iter=1, normalizer=None).fit_predict(X) == -1
    assert found[:3].all() and found[3:].sum() <= 3


def test_auto_in_a_table_with_categories():
    """The share called out is as meant, and rare categories are called out."""
    rng = np.random.RandomState(0)

    def table(words):
        kind = pd.Categorical(words, categories=list("abcd"))
        return pd.DataFrame({"kind": kind, "x": rng.normal(size=len(words))})

    words = rng.choice(list("abcd"), 1000, p=[0.5, 0.01, 0.3, 0.19])
    model = make(ood_score="auto", max_iter=1, normalizer=None)
    model.set_params(contamination=0.1)
    model.fit(table(words[:300]))
    share = (model.predict(table(words[300:])) == -1).mean()
    assert abs(share - 0.1) < 3 * np.sqrt(0.1 * 0.9 / 300)
    rare, usual = (model.ood_scores(table([w] * 100)) for w in "bc")
    assert np.mean(rare[:, None] < usual) > 0.95
