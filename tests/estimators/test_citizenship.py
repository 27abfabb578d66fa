"""Life among scikit-learn's meta-estimators, pandas and callbacks."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone, is_classifier
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags

from skebm import EBMDensityEstimator, JEMClassifier
from skebm.model_selection import SemiSupervisedSplit
from skebm.networks import MLP
from skebm.objectives import VERA
from skebm.training import GradientRun

try:
    from sklearn import callback as sklearn_callback
except ImportError:
    sklearn_callback = None

TINY = partial(MLP, hidden_features=(8,))


def make_density(**options):
    defaults = {
        "network": TINY,
        "reference": "gaussian",
        "normalizer": "importance",
        "max_iter": 3,
        "random_state": 0,
    }
    return EBMDensityEstimator(**(defaults | options))


def make_classifier(**options):
    defaults = {
        "objective": None,
        "network": TINY,
        "reference": "gaussian",
        "normalizer": None,
        "max_iter": 40,
        "learning_rate": 3e-2,
        "stacking": False,
        "random_state": 0,
    }
    return JEMClassifier(**(defaults | options))


@pytest.fixture
def rows(blobs):
    X, y = blobs
    return X, y, np.where(np.arange(len(y)) < 60, y, -1)


# ------------------------------------------------------------------ meta-estimators


def test_a_pipeline_scores_as_its_parts_do(rows):
    X, _, y_few = rows
    scaled = StandardScaler().fit_transform(X)
    pipeline = make_pipeline(StandardScaler(), make_density()).fit(X)
    np.testing.assert_array_equal(
        pipeline.score_samples(X), make_density().fit(scaled).score_samples(scaled)
    )
    classes = make_pipeline(StandardScaler(), make_classifier()).fit(X, y_few)
    alone = make_classifier().fit(scaled, y_few)
    np.testing.assert_array_equal(classes.predict_proba(X), alone.predict_proba(scaled))
    assert classes.score(X, y_few) > 0.95
    assert is_classifier(classes)


def test_grid_search_with_two_jobs_equals_one_job(rows):
    X, _, y_few = rows
    grid = {"model__vat_weight": [0.0, 10.0]}
    pipeline = Pipeline([("scale", StandardScaler()), ("model", make_classifier())])
    results = []
    for n_jobs in (1, 2):
        search = GridSearchCV(pipeline, grid, cv=SemiSupervisedSplit(2), n_jobs=n_jobs)
        search.fit(X, y_few)
        results.append(search.cv_results_["mean_test_score"])
        assert search.best_score_ > 0.9
        assert -1 not in search.predict(X)
    np.testing.assert_array_equal(*results)


def test_grid_over_an_option_of_the_objective(rows):
    """The search scores by held-out log-likelihood and clones the objective."""
    objective = VERA()
    search = GridSearchCV(
        make_density(objective=objective),
        {"objective__entropy_weight": [0.1, 1.0]},
        cv=3,
    ).fit(rows[0])
    best = search.best_estimator_
    chosen = search.best_params_["objective__entropy_weight"]
    assert best.objective_.entropy_weight == best.objective.entropy_weight == chosen
    assert best.objective_ is not best.objective
    assert objective.entropy_weight == 1.0
    assert search.score(rows[0]) == best.score_samples(rows[0]).mean()
    scores = search.cv_results_["mean_test_score"]
    assert scores[0] != scores[1]
    assert search.best_score_ == scores.max()


def test_grid_over_an_option_of_an_objective_that_is_named(rows):
    grid = {"objective__entropy_weight": [0.1, 1.0]}
    named = make_density(objective="vera", max_iter=1)
    search = GridSearchCV(named, grid, cv=2).fit(rows[0])
    given = make_density(objective=VERA(), max_iter=1)
    expected = GridSearchCV(given, grid, cv=2).fit(rows[0])
    for key in ("mean_test_score", "std_test_score"):
        np.testing.assert_array_equal(
            search.cv_results_[key], expected.cv_results_[key]
        )
    assert named.objective == "vera"
    both = make_density().set_params(objective__entropy_weight=0.5, objective="vera")
    assert both.objective.entropy_weight == 0.5
    with pytest.raises(ValueError, match="Invalid parameter 'nonsense'"):
        make_density(objective="vera").set_params(objective__nonsense=1)
    with pytest.raises(ValueError, match="is no instance that has parameters"):
        make_density(objective="typo").set_params(objective__entropy_weight=1)
    with pytest.raises(ValueError, match="is no instance that has parameters"):
        make_density().set_params(reference__n_components=1)


def test_plain_cross_validation_scores_labelled_rows_only(rows):
    X, y, y_few = rows
    got = cross_validate(make_classifier(), X, y_few, cv=3, return_estimator=True)
    for score, model in zip(got["test_score"], got["estimator"], strict=True):
        assert model.classes_.tolist() == [0, 1, 2]
        assert score > 0.9
    assert (y_few == y).mean() < 0.5  # what counting the marker as wrong would allow


@pytest.mark.parametrize("scoring", ["neg_log_loss", "roc_auc_ovr", "f1_macro"])
def test_any_scorer_by_the_semi_supervised_split(scoring, rows):
    X, _, y_few = rows
    got = cross_val_score(
        make_classifier(), X, y_few, cv=SemiSupervisedSplit(3), scoring=scoring
    )
    assert (got > (-0.3 if scoring == "neg_log_loss" else 0.9)).all()


def test_sample_weight_is_routed(rows):
    """Rows of weight zero leave the fit as if they were not there."""
    X, _, _ = rows
    weight = (np.arange(len(X)) < 100).astype(float)
    with sklearn.config_context(enable_metadata_routing=True):
        model = make_density().set_fit_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipeline = make_pipeline(scaler, model)
        pipeline.fit(X, sample_weight=weight)
        refused = make_pipeline(scaler, make_density())
        with pytest.raises(ValueError, match="sample_weight"):
            refused.fit(X, sample_weight=weight)
        score = GridSearchCV(model, {"batch_size": [100]}, cv=3).fit(
            X, sample_weight=weight
        )
    scaled = StandardScaler().fit(X).transform(X)
    expected = make_density().fit(scaled[:100], sample_weight=np.ones(100))
    np.testing.assert_array_equal(
        pipeline.score_samples(X), expected.score_samples(scaled)
    )
    assert np.isfinite(score.best_score_)


def test_sample_weight_of_the_score_is_routed(rows):
    X, y, _ = rows
    weight = np.where(y == 0, 1.0, 0.0)
    wrong = np.where(y == 0, 1, y)  # rows that count are all wrong
    with sklearn.config_context(enable_metadata_routing=True):
        model = make_classifier()
        model.set_fit_request(sample_weight=False)
        model.set_score_request(sample_weight=True)
        pipeline = make_pipeline(StandardScaler(), model).fit(X, y)
        assert pipeline.score(X, wrong, sample_weight=weight) < 0.1
        assert pipeline.score(X, wrong, sample_weight=1 - weight) > 0.9


# ------------------------------------------------------------------ pandas, arrays


def test_frames_of_every_kind_give_the_same_scores(rows):
    X, _, _ = rows
    X = X.round(1)
    expected = make_density().fit(X).score_samples(X)
    frame = pd.DataFrame(X, columns=["a", "b"])
    frozen = X.copy()
    frozen.flags.writeable = False
    kinds = {
        "frame": frame,
        "nullable": frame.astype("Float64"),
        "objects": frame.astype(object),
        "read-only": frozen,
        "fortran": np.asfortranarray(X),
        "reversed": X[::-1].copy()[::-1],
        "list": X.tolist(),
    }
    for kind, same in kinds.items():
        model = make_density().fit(same)
        scores = model.score_samples(same)
        np.testing.assert_allclose(scores, expected, rtol=1e-9, err_msg=kind)
        named = hasattr(model, "feature_names_in_")
        assert named == isinstance(same, pd.DataFrame)
    np.testing.assert_array_equal(frozen, X)


def test_nullable_y_and_frame(rows):
    X, _, y_few = rows
    frame = pd.DataFrame(X, columns=["a", "b"]).astype("Float64")
    labels = pd.Series(y_few, dtype="Int64").mask(y_few < 0)
    model = make_classifier().fit(frame, labels)
    expected = make_classifier().fit(X, y_few)
    np.testing.assert_array_equal(model.predict_proba(frame), expected.predict_proba(X))
    assert model.score(frame, labels) == expected.score(X, y_few)


def test_feature_names_are_checked(rows):
    frame = pd.DataFrame(rows[0], columns=["a", "b"])
    model = make_density().fit(frame)
    assert model.feature_names_in_.tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="feature names should match"):
        model.score_samples(frame[["b", "a"]])
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.score_samples(rows[0])


def test_float32_rows_score_as_float64_rows_do(rows):
    X = rows[0].astype(np.float32)
    model = make_density().fit(X)
    scores = model.score_samples(X)
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, model.score_samples(X.astype(float)), rtol=1e-6)


# ------------------------------------------------------------------ looks and tags


def test_html_and_text_repr(rows):
    for model in (make_density(objective=VERA(entropy_weight=0.5)), make_classifier()):
        assert type(model).__name__ in repr(model)
        for state in (model, clone(model).fit(rows[0], rows[1])):
            html = state._repr_html_()
            assert "batch_size" in html
            assert type(model).__name__ in html
    assert "VERA(entropy_weight=0.5)" in repr(make_density(objective=VERA(0.5)))


def test_tags():
    density, classifier = get_tags(make_density()), get_tags(make_classifier())
    assert density.estimator_type == "density_estimator"
    assert classifier.estimator_type == "classifier"
    assert classifier.target_tags.required and not density.target_tags.required
    for tags in (density, classifier):
        assert not tags.non_deterministic
        assert not tags.input_tags.sparse
    assert density.input_tags.allow_nan and classifier.input_tags.allow_nan


# ------------------------------------------------------------------ callbacks


@pytest.mark.skipif(
    sklearn_callback is None, reason="this scikit-learn has no sklearn.callback"
)
class TestCallbacks:
    class Recorder:
        """Keeps what it is told; wants to stop after some epochs."""

        def __init__(self, stop_after=None):
            self.stop_after = stop_after
            self.calls, self.scores, self.histories = [], [], []

        def setup(self, estimator, context):
            self.calls.append("setup")

        def teardown(self, estimator, context):
            self.calls.append("teardown")

        def on_fit_task_begin(self, estimator, context, *, X=None, y=None, **_):
            self.calls.append(f"begin {context.task_name}")

        def on_fit_task_end(
            self, estimator, context, *, X=None, y=None, fitted_estimator=None, **_
        ):
            self.calls.append(f"end {context.task_name}")
            if context.task_name != "epoch":
                return False
            self.scores.append(fitted_estimator.score(X, y))
            self.histories.append(fitted_estimator.history_)
            return len(self.scores) == self.stop_after

    @pytest.mark.parametrize("make", [make_density, make_classifier])
    def test_every_epoch_is_told(self, make, rows):
        recorder = self.Recorder()
        model = make(max_iter=3, early_stopping=False).set_callbacks(recorder)
        model.fit(rows[0], rows[2])
        assert recorder.calls == [
            "setup",
            "begin fit",
            *["begin epoch", "end epoch"] * 3,
            "end fit",
            "teardown",
        ]
        assert [len(h["seconds"]) for h in recorder.histories] == [1, 2, 3]

    def test_the_copies_in_mid_fit_score_as_the_model_will(self, rows):
        recorder = self.Recorder()
        model = make_density(early_stopping=False).set_callbacks(recorder).fit(rows[0])
        assert recorder.scores[-1] == pytest.approx(model.score(rows[0]), abs=0.05)
        classes = make_classifier().set_callbacks(recorder).fit(*rows[::2])
        assert recorder.scores[-1] == classes.score(*rows[::2])

    def test_a_callback_does_not_change_the_fit(self, rows):
        told = make_density().set_callbacks(self.Recorder()).fit(rows[0])
        alone = make_density().fit(rows[0])
        np.testing.assert_array_equal(
            told.score_samples(rows[0]), alone.score_samples(rows[0])
        )

    def test_a_callback_stops_training(self, rows):
        recorder = self.Recorder(stop_after=2)
        model = make_density(max_iter=50, early_stopping=False)
        model.set_callbacks(recorder).fit(rows[0])
        assert model.n_iter_ == len(model.history_["seconds"]) == 2
        assert np.isfinite(model.score(rows[0]))

    def test_teardown_follows_an_error(self, rows, monkeypatch):
        recorder = self.Recorder()
        monkeypatch.setattr(GradientRun, "epoch", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            make_density().set_callbacks(recorder).fit(rows[0])
        assert recorder.calls == ["setup", "begin fit", "teardown"]

    @pytest.mark.parametrize("in_pipeline", [False, True])
    @pytest.mark.parametrize("make", [make_density, make_classifier])
    def test_scoring_monitor(self, make, in_pipeline, rows):
        monitor = sklearn_callback.ScoringMonitor(scoring={"own": _own_score})
        model = make(max_iter=3, early_stopping=False).set_callbacks(monitor)
        y = rows[2] if make is make_classifier else None
        (make_pipeline(StandardScaler(), model) if in_pipeline else model).fit(
            rows[0], y
        )
        logged = [entry["own"] for entry in monitor.get_logs().data if "own" in entry]
        assert len(logged) >= 3
        assert np.isfinite(logged).all()

    def test_progress_bar(self, rows, capsys):
        pytest.importorskip("rich", reason="ProgressBar needs rich")
        make_density().set_callbacks(sklearn_callback.ProgressBar()).fit(rows[0])
        assert "EBMDensityEstimator" in capsys.readouterr().out


def _own_score(estimator, X, y):
    return estimator.score(X, y)
