"""Regression with few labels."""

import pickle
import warnings
from functools import partial

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.base import clone, is_regressor
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import NotFittedError
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skebm import JEMRegressor
from skebm.estimators import _jem_regressor
from skebm.exceptions import TrainingWarning
from skebm.models import FittedModel
from skebm.networks import MLP
from skebm.semi_supervised.regression import _label_learners
from skebm.training import GradientRun

SLOPE, NOISE = np.array([1.0, -0.5]), 0.4
KINDS = ["linear", "Gaussian process of ranks", "extra trees", "boosted trees"]
COVARIANCE = np.array([[1.0, 0.6], [0.6, 1.0]])


def make(**options):
    defaults = {
        "network": partial(MLP, hidden_features=(8,)),
        "reference": "gaussian",
        "normalizer": "importance",
        "experts": ["linear"],
        "max_iter": 1,
        "random_state": 0,
    }
    return JEMRegressor(**(defaults | options))


def draw(n, seed=0):
    """Return rows and numbers that are normal together."""
    rng = np.random.RandomState(seed)
    X = rng.multivariate_normal(np.zeros(2), COVARIANCE, n)
    return X, X @ SLOPE + NOISE * rng.normal(size=n)


@pytest.fixture(scope="module", autouse=True)
def _few_trees():
    """Grow a fifth of the trees, which is enough here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_label_learners, "N_TREES", 20)
        yield


@pytest.fixture(scope="module")
def rows():
    X, y = draw(1000)
    return X, y, np.where(np.arange(1000) < 500, y, np.nan)


@pytest.fixture(scope="module")
def model(rows):
    return make().fit(rows[0], rows[2])


# ------------------------------------------------------------------ closed forms


def test_conditional_of_a_joint_normal(model):
    X, y = draw(200, 1)
    inside = np.abs(X).max(axis=1) < 2.5
    X, y = X[inside], y[inside]
    truth = norm(X @ SLOPE, NOISE)
    np.testing.assert_allclose(model.predict(X), truth.mean(), atol=0.12)
    mean, std = model.predict(X, return_std=True)
    np.testing.assert_array_equal(mean, model.predict(X))
    np.testing.assert_allclose(std, NOISE, rtol=0.1)
    low, high = model.predict_interval(X, level=0.8).T
    np.testing.assert_allclose(low, truth.ppf(0.1), atol=0.15)
    np.testing.assert_allclose(high, truth.ppf(0.9), atol=0.15)
    found = model.predict_log_density(X, y)
    assert np.mean(truth.logpdf(y) - found) == pytest.approx(0, abs=0.03)


def test_points_of_a_symmetric_density_agree(rows):
    X, _, y_few = rows
    model = make().fit(X, y_few)
    mean = model.predict(X[:20])
    for point in ("median", "mode"):
        np.testing.assert_allclose(
            model.set_params(point=point).predict(X[:20]), mean, atol=1e-3
        )
    with pytest.raises(ValueError, match="'point' parameter"):
        model.set_params(point="best").predict(X)


def test_missing_entries_are_marginalised(model):
    """y given x1 alone is normal: the slope takes up what x1 says of x2."""
    X = np.array([[1.0, np.nan], [-0.5, np.nan], [np.nan, np.nan]])
    mean, std = model.predict(X, return_std=True)
    slope = SLOPE[0] + 0.6 * SLOPE[1]
    np.testing.assert_allclose(mean, [slope, -0.5 * slope, 0], atol=0.12)
    wide = np.sqrt(NOISE**2 + SLOPE[1] ** 2 * 0.64)
    whole = np.sqrt(NOISE**2 + SLOPE @ COVARIANCE @ SLOPE)
    np.testing.assert_allclose(std, [wide, wide, whole], rtol=0.12)


@pytest.mark.parametrize("gaps", [False, True])
def test_the_density_of_y_has_mass_one(model, gaps):
    y = np.linspace(-8, 8, 2001)
    X = np.tile([0.5, np.nan if gaps else -1.0], (len(y), 1))
    mass = np.trapezoid(np.exp(model.predict_log_density(X, y)), y)
    assert mass == pytest.approx(1, abs=1e-4)


def test_the_joint_density_is_the_normal_one(model, rows):
    X, y, _ = rows
    together = model.score_samples(X) + model.predict_log_density(X, y)
    x = X @ np.linalg.inv(np.linalg.cholesky(COVARIANCE)).T
    truth = norm.logpdf(x).sum(axis=1) - np.log(0.8) + norm.logpdf(y, X @ SLOPE, NOISE)
    assert np.mean(truth - together) == pytest.approx(0, abs=0.1)


def test_draws(model, rows):
    X, y = model.sample(2000, random_state=0)
    np.testing.assert_allclose(np.cov(X.T), COVARIANCE, atol=0.15)
    assert np.std(y - X @ SLOPE) == pytest.approx(NOISE, rel=0.1)
    labels = model.sample_y(rows[0][:3], 4000, random_state=0)
    np.testing.assert_allclose(labels.mean(axis=1), rows[0][:3] @ SLOPE, atol=0.12)
    X, y = model.sample(300, random_state=0, given={0: 1.0})
    assert (X[:, 0] == 1).all()
    assert y.mean() == pytest.approx(1 - 0.5 * 0.6, abs=0.15)


def test_draws_of_rows_that_go_with_a_label(model):
    X, y = model.sample(200, random_state=0, y=1.0)
    joint = SLOPE @ COVARIANCE / (SLOPE @ COVARIANCE @ SLOPE + NOISE**2)
    np.testing.assert_allclose(X.mean(axis=0), joint, atol=0.2)
    assert (y == 1).all()
    X, _ = model.sample(3, random_state=0, y=1.0, given=[[1.0, np.nan], [2.0, np.nan]])
    assert X[:, 0].tolist() == [1, 1, 1, 2, 2, 2]
    with pytest.warns(TrainingWarning, match="Few draws go with this y"):
        model.sample(50, random_state=0, y=5.0)
    with pytest.raises(ValueError, match="'y' parameter"):
        model.sample(y=np.nan)


def test_rows_that_go_with_a_label_are_drawn_for_some_given_rows_at_a_time(
    model, monkeypatch
):
    complete, sizes = FittedModel.complete, []
    monkeypatch.setattr(_jem_regressor, "MAX_DRAWS", 4000)
    monkeypatch.setattr(
        FittedModel,
        "complete",
        lambda self, X, *args: sizes.append(len(X)) or complete(self, X, *args),
    )
    given = [[1.0, np.nan], [2.0, np.nan], [0.5, 0.5], [0.5, 0.5], [0.0, np.nan]]
    X, y = model.sample(2, random_state=0, y=1.0, given=given)
    assert sizes == [2, 2, 1]
    assert X[:, 0].tolist() == [1, 1, 2, 2, 0.5, 0.5, 0.5, 0.5, 0, 0]
    assert (y == 1).all() and len(y) == 10


# ------------------------------------------------------------------------- units


def test_equivariant_in_units_of_y(rows):
    X, y, y_few = rows
    model, moved = make().fit(X, y_few), make().fit(X, 100 - 8 * y_few)
    np.testing.assert_allclose(moved.predict(X), 100 - 8 * model.predict(X), atol=1e-5)
    np.testing.assert_allclose(
        moved.predict_interval(X)[:, ::-1],
        100 - 8 * model.predict_interval(X),
        atol=1e-4,
    )
    np.testing.assert_allclose(
        moved.predict_log_density(X, 100 - 8 * y),
        model.predict_log_density(X, y) - np.log(8),
        atol=1e-5,
    )


# ------------------------------------------------------------------------ labels


def test_the_score_leaves_rows_without_a_label_out(model, rows):
    X, y, y_few = rows
    known = ~np.isnan(y_few)
    predicted = model.predict(X[known])
    assert model.score(X, y_few) == pytest.approx(r2_score(y[known], predicted))
    weight = np.random.RandomState(0).uniform(size=len(X))
    assert model.score(X, y_few, weight) == pytest.approx(
        r2_score(y[known], predicted, sample_weight=weight[known])
    )
    assert np.isnan(model.score(X, np.full(len(X), np.nan)))


def test_labels_of_every_kind(rows):
    X, _, y_few = rows
    expected = make().fit(X, y_few)
    assert expected.n_labels_ == 500
    np.testing.assert_array_equal(expected.transduction_[:500], y_few[:500])
    np.testing.assert_array_equal(
        expected.transduction_[500:], expected.predict(X)[500:]
    )
    series = pd.Series(y_few)
    for labels in (
        y_few.tolist(),
        [None if np.isnan(v) else v for v in y_few],
        series.astype("Float64"),
        series.astype(object).where(series.notna(), pd.NA),
        np.ma.array(np.nan_to_num(y_few, nan=-999), mask=np.isnan(y_few)),
    ):
        model = make().fit(X, labels)
        np.testing.assert_array_equal(model.predict(X), expected.predict(X))


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.full(30, np.nan), "at least 2 known labels.*Got 0"),
        (np.where(np.arange(30) == 1, 1.0, np.nan), "at least 2 known labels.*Got 1"),
        (np.where(np.arange(30) == 1, np.inf, 1.0), "Input y contains infinity"),
        (np.ones((30, 2)), "multi-output regression is not supported. Got 2 columns"),
        (["word"] * 30, "y must hold numbers"),
        (np.ones(29), "one label for each of the 30 rows"),
        (None, "requires y to be passed"),
    ],
)
def test_labels_that_are_refused(y, message):
    with pytest.raises(ValueError, match=message):
        make().fit(draw(30)[0], y)


def test_options_that_are_refused(rows, model):
    X, _, y_few = rows
    for experts in (["tree"], [], ["linear", "linear"]):
        with pytest.raises(ValueError, match="'experts' parameter"):
            make(experts=experts).fit(X, y_few)
    for level in (0, 1, 1.5, "high"):
        with pytest.raises(ValueError, match="'level' parameter"):
            model.predict_interval(X, level)


def test_rows_of_weight_zero_do_not_count(rows):
    X, _, y_few = rows
    weight = (np.arange(len(X)) >= 100).astype(float)
    wrong = np.where(np.arange(len(X)) < 100, 1e6, y_few)
    model = make().fit(X, wrong, sample_weight=weight)
    expected = make().fit(X[100:], y_few[100:], sample_weight=np.ones(900))
    np.testing.assert_array_equal(model.predict(X), expected.predict(X))
    assert model.n_labels_ == 400


# ------------------------------------------------------------------------ tables


def test_a_frame_with_categories_and_gaps():
    rng = np.random.RandomState(0)
    kinds, size = rng.choice(["a", "b", "c"], 400), rng.normal(size=400)
    y = 3.0 * (kinds == "b") + size + 0.2 * rng.normal(size=400)
    frame = pd.DataFrame({"kind": pd.Categorical(kinds), "size": size})
    frame.loc[rng.uniform(size=400) < 0.1, "kind"] = None
    frame.loc[rng.uniform(size=400) < 0.1, "size"] = np.nan
    y_few = np.where(np.arange(400) < 100, y, np.nan)
    model = make(experts=["linear", "extra trees"]).fit(frame, y_few)
    whole = frame.notna().all(axis=1).to_numpy(copy=True)
    whole[:100] = False
    assert model.score(frame[whole], y[whole]) > 0.9
    assert model.is_categorical_.tolist() == [True, False]
    lacking = pd.DataFrame({"kind": [None, "b"], "size": [0.0, np.nan]})
    lacking = lacking.astype({"kind": frame["kind"].dtype})
    mean, std = model.predict(lacking, return_std=True)
    np.testing.assert_allclose(mean, [1, 3], atol=0.4)
    np.testing.assert_allclose(std, [np.sqrt(2), 1], rtol=0.25)
    X, _ = model.sample(3, random_state=0, given={"kind": "b"})
    assert X["kind"].tolist() == ["b"] * 3
    unknown = pd.DataFrame({"kind": ["new"], "size": [0.0]})
    np.testing.assert_allclose(model.predict(unknown), mean[:1], atol=1e-6)


# --------------------------------------------------------------------- citizenship


@pytest.fixture(scope="module")
def whole_model():
    """A model of a learner of each kind, with its rows."""
    X, y = draw(60)
    y_few = np.where(np.arange(60) < 30, y, np.nan)
    return make(experts=KINDS).fit(X, y_few), X, y_few


def test_weights_of_the_learners(whole_model):
    model, X, y_few = whole_model
    assert list(model.expert_weights_) == KINDS
    assert sum(model.expert_weights_.values()) == pytest.approx(1)
    assert model.score(X, y_few) > 0.7


def test_equal_fits_are_equal_and_stored_ones_answer_alike(whole_model):
    model, X, y_few = whole_model
    X = np.r_[X, [[np.nan, 0.3]]]
    again = clone(model).fit(X[:-1], y_few)
    assert joblib.hash(again) == joblib.hash(model)
    loaded = pickle.loads(pickle.dumps(model))
    for other in (again, loaded):
        np.testing.assert_array_equal(other.predict(X), model.predict(X))
        np.testing.assert_array_equal(
            other.predict_interval(X), model.predict_interval(X)
        )
    with pytest.raises(NotFittedError):
        clone(model).predict(X)


def test_skops(whole_model):
    skops = pytest.importorskip("skops.io", reason="skops is not installed")
    model, X, _ = whole_model
    stored = skops.dumps(model)
    untrusted = skops.get_untrusted_types(data=stored)
    assert not [name for name in untrusted if name.startswith("torch")]
    loaded = skops.loads(stored, trusted=untrusted)
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))


def test_a_fit_that_fails_changes_nothing(rows, monkeypatch):
    X, _, y_few = rows
    model = make().fit(X, y_few)
    before = model.predict(X)
    monkeypatch.setattr(GradientRun, "epoch", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model.fit(X[:100], -y_few[:100])
    np.testing.assert_array_equal(model.predict(X), before)
    assert len(model.transduction_) == len(X)


def test_meta_estimators(rows):
    X, y, y_few = rows
    assert is_regressor(make())
    pipeline = make_pipeline(StandardScaler(), make()).fit(X, y_few)
    assert pipeline.score(X, y) > 0.7
    folds = KFold(2, shuffle=True, random_state=0)
    grid = {"experts": [["linear"]], "point": ["median"]}
    search = GridSearchCV(make(), grid, cv=folds)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        search.fit(X, y_few)
    assert search.best_score_ > 0.7
    assert (cross_val_score(make(), X, y_few, cv=folds) > 0.7).all()
    known = ~np.isnan(y_few)
    logs = TransformedTargetRegressor(make(), func=np.log, inverse_func=np.exp)
    logs.fit(X[known], np.exp(y[known]))
    np.testing.assert_allclose(
        np.log(logs.predict(X)), make().fit(X[known], y[known]).predict(X), atol=1e-8
    )


def test_a_callback_scores_in_mid_fit_and_changes_nothing(rows):
    callback = pytest.importorskip("sklearn.callback")
    X, _, y_few = rows
    monitor = callback.ScoringMonitor(scoring={"own": JEMRegressor.score})
    model = make(max_iter=2, early_stopping=False).set_callbacks(monitor)
    model.fit(X, y_few)
    scores = [entry["own"] for entry in monitor.get_logs().data if "own" in entry]
    assert len(scores) >= 2
    np.testing.assert_allclose(scores, model.score(X, y_few))
    alone = make(max_iter=2, early_stopping=False).fit(X, y_few)
    np.testing.assert_array_equal(alone.predict(X), model.predict(X))


def test_the_density_of_rows_has_its_own_methods(model, rows):
    X = rows[0]
    assert model.ood_scores([[0.0, 0.0]]) > model.ood_scores([[8.0, -8.0]])
    assert 0.9 < np.mean(model.ood_scores(X) >= model.offset_) <= 1
    filled = model.impute([[1.0, np.nan]])
    assert filled[0, 1] == pytest.approx(0.6, abs=0.15)


def test_gaps_in_labelled_rows_do_not_widen_the_intervals_of_complete_ones():
    X, y = draw(500)
    y_few = np.where(np.arange(500) < 100, y, np.nan)
    whole = make().fit(X, y_few)
    holed = X.copy()
    holed[np.random.RandomState(1).uniform(size=500) < 0.6, 0] = np.nan
    model = make().fit(holed, y_few)
    complete, known = ~np.isnan(holed).any(axis=1), ~np.isnan(y_few)
    width = np.diff(model.predict_interval(X[complete])).mean()
    assert width < 1.5 * np.diff(whole.predict_interval(X[complete])).mean()
    gaps = ~complete & ~known
    low, high = model.predict_interval(holed[gaps]).T
    assert np.mean((low < y[gaps]) & (y[gaps] < high)) > 0.8
    assert (high - low).mean() > 1.5 * width
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(
        again.predict_interval(holed), model.predict_interval(holed)
    )


def test_labels_too_few_for_the_level_of_an_interval_warn():
    X, y = draw(60)
    model = make().fit(X, np.where(np.arange(60) < 5, y, np.nan))
    with pytest.warns(TrainingWarning, match="5 labels can't show"):
        model.predict_interval(X[:2], level=0.9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict_interval(X[:2], level=0.8)


def test_few_labels_of_rows_with_gaps_warn_for_such_rows_alone():
    X, y = draw(120)
    holed = X.copy()
    holed[:12, 0] = np.nan
    model = make().fit(holed, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict_interval(holed[20:], level=0.95)
    with pytest.warns(TrainingWarning, match="12 labels can't show"):
        model.predict_interval(holed, level=0.95)


def test_the_classifiers_marker_warns():
    X, y = draw(60)
    y_few = np.where(np.arange(60) < 20, y, -1)
    with pytest.warns(TrainingWarning, match="-1 in 40 of 60 rows"):
        make().fit(X, y_few)
