"""Scorers that leave out unlabelled rows."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, get_scorer, log_loss, make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    KFold,
    cross_val_score,
    cross_validate,
)
from sklearn.neighbors import KNeighborsClassifier

from skebm import JEMClassifier
from skebm.model_selection import SemiSupervisedSplit, ignore_unlabeled

RNG = np.random.RandomState(0)
TRUTH = RNG.randint(2, size=120)
X = TRUTH[:, None] + RNG.normal(size=(120, 1))
HIDDEN = RNG.uniform(size=120) < 0.6
Y = np.where(HIDDEN, -1, TRUTH)
WEIGHT = RNG.uniform(0.1, 3, size=120)


class LabelledOnly(ClassifierMixin, BaseEstimator):
    """Neighbours among the labelled rows; unlike ours, `score` knows no marker."""

    def __init__(self, n_neighbors=3):
        self.n_neighbors = n_neighbors

    def fit(self, X, y, sample_weight=None):
        y = np.asarray(y)
        known = y >= 0
        self.inner_ = KNeighborsClassifier(self.n_neighbors).fit(X[known], y[known])
        self.classes_ = self.inner_.classes_
        return self

    def predict(self, X):
        return self.inner_.predict(X)

    def predict_proba(self, X):
        return self.inner_.predict_proba(X)


@pytest.fixture(scope="module")
def model():
    return LabelledOnly().fit(X, Y)


@pytest.mark.parametrize(
    "name", ["accuracy", "neg_log_loss", "f1_macro", "roc_auc", "neg_brier_score"]
)
def test_the_score_is_that_of_the_labelled_rows(name, model):
    expected = get_scorer(name)(model, X[~HIDDEN], Y[~HIDDEN])
    assert ignore_unlabeled(name)(model, X, Y) == expected


def test_a_plain_scorer_takes_the_marker_for_a_class(model):
    plain = get_scorer("accuracy")(model, X, Y)
    ours = ignore_unlabeled("accuracy")(model, X, Y)
    assert plain == pytest.approx(ours * (~HIDDEN).mean())


@pytest.mark.parametrize("kind", ["strings", "None", "NaN", "Int64", "list", "marker"])
def test_every_marker_of_the_classifier_is_known(kind, model):
    words = np.array(["ant", "bee"])[TRUTH]
    y, unlabeled, names = {
        "strings": (np.where(HIDDEN, "-1", words), -1, words),
        "None": (np.where(HIDDEN, None, words.astype(object)), -1, words),
        "NaN": (np.where(HIDDEN, np.nan, TRUTH), -1, TRUTH),
        "Int64": (pd.Series(Y, dtype="Int64").mask(HIDDEN), -1, TRUTH),
        "list": (Y.tolist(), -1, TRUTH),
        "marker": (np.where(HIDDEN, "?", words), "?", words),
    }[kind]
    renamed = KNeighborsClassifier(3).fit(X[~HIDDEN], names[~HIDDEN])
    score = ignore_unlabeled("accuracy", unlabeled=unlabeled)
    assert score(renamed, X, y) == model.inner_.score(X[~HIDDEN], Y[~HIDDEN])
    assert score(renamed, pd.DataFrame(X), y) == score(renamed, X, y)


def test_no_labelled_row_scores_nan(model):
    assert np.isnan(ignore_unlabeled("accuracy")(model, X, np.full(120, -1)))


def test_sample_weight_loses_the_unlabelled_rows(model):
    found = ignore_unlabeled("accuracy")(model, X, Y, sample_weight=WEIGHT)
    known = ~HIDDEN
    expected = accuracy_score(
        Y[known], model.predict(X[known]), sample_weight=WEIGHT[known]
    )
    assert found == pytest.approx(expected)


def threshold_score(estimator, X, y, threshold):
    return float((estimator.predict_proba(X)[:, 1] > threshold).mean())


def test_a_function_and_metadata_that_are_no_rows(model):
    score = ignore_unlabeled(threshold_score)
    expected = threshold_score(model, X[~HIDDEN], None, 0.6)
    assert score(model, X, Y, threshold=0.6) == expected


@pytest.mark.parametrize("cv", [KFold(4), SemiSupervisedSplit(4)])
def test_cross_validation_by_any_split(cv):
    found = cross_val_score(
        LabelledOnly(), X, Y, cv=cv, scoring=ignore_unlabeled("neg_log_loss")
    )
    expected = []
    for train, test in cv.split(X, Y):
        test = test[Y[test] >= 0]
        fitted = LabelledOnly().fit(X[train], Y[train])
        expected.append(-log_loss(Y[test], fitted.predict_proba(X[test])))
    np.testing.assert_allclose(found, expected)


def test_searches_choose_by_labelled_rows():
    options = {"scoring": ignore_unlabeled("accuracy"), "cv": KFold(4)}
    search = GridSearchCV(LabelledOnly(), {"n_neighbors": [1, 15]}, **options)
    search = clone(search).fit(X, Y)
    scores = [cross_val_score(LabelledOnly(k), X, Y, **options).mean() for k in (1, 15)]
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], scores)
    assert search.best_params_ == {"n_neighbors": [1, 15][int(np.argmax(scores))]}
    assert search.score(X, Y) == ignore_unlabeled("accuracy")(search, X, Y)


def test_halving_search_over_the_epochs_of_the_classifier():
    model = JEMClassifier(
        None, normalizer=None, batch_size=60, stacking=False, random_state=0
    )
    search = HalvingGridSearchCV(
        model,
        {"learning_rate": [1e-6, 1e-2]},
        resource="max_iter",
        min_resources=4,
        max_resources=8,
        factor=2,
        cv=SemiSupervisedSplit(2),
        scoring=ignore_unlabeled("neg_log_loss"),
    )
    apart = X + 4 * TRUTH[:, None]
    search.fit(apart, Y)
    assert search.best_params_ == {"learning_rate": 1e-2, "max_iter": 8}


@pytest.mark.parametrize("routing", [False, True])
def test_searches_hand_the_weights_on(routing):
    """With routing the scorer within says what it asks for."""
    with config_context(enable_metadata_routing=routing):
        scorer = make_scorer(accuracy_score)
        model = LabelledOnly()
        if routing:
            scorer.set_score_request(sample_weight=True)
            model.set_fit_request(sample_weight=True)
        names = {"plain": scorer, "ours": ignore_unlabeled(scorer)}
        search = GridSearchCV(
            model,
            {"n_neighbors": [3]},
            scoring=names,
            refit=False,
            cv=SemiSupervisedSplit(4),
        )
        found = search.fit(X, Y, sample_weight=WEIGHT).cv_results_
        bare = search.fit(X, Y, sample_weight=np.ones(120)).cv_results_
    assert found["mean_test_ours"] == found["mean_test_plain"]
    assert found["mean_test_ours"] != bare["mean_test_ours"]


def test_several_metrics_at_once():
    names = ("accuracy", "roc_auc")
    scoring = {name: ignore_unlabeled(name) for name in names}
    found = cross_validate(LabelledOnly(), X, Y, cv=KFold(3), scoring=scoring)
    assert all(np.isfinite(found[f"test_{name}"]).all() for name in names)


def test_the_scorer_pickles_and_says_what_it_is(model):
    scorer = ignore_unlabeled("roc_auc")
    again = pickle.loads(pickle.dumps(scorer))
    assert again(model, X, Y) == scorer(model, X, Y)
    assert repr(scorer).startswith("ignore_unlabeled(make_scorer(roc_auc_score")


def test_what_is_no_scorer():
    with pytest.raises(
        ValueError, match=r"'scorer' parameter must be a name.*Got None"
    ):
        ignore_unlabeled(None)
    with pytest.raises(ValueError, match="acuracy"):
        ignore_unlabeled("acuracy")
    model = LogisticRegression().fit(X, TRUTH)
    with pytest.raises(ValueError, match="inconsistent numbers"):
        ignore_unlabeled("accuracy")(model, X, Y[:50])
