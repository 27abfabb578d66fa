"""Classifiers given labels of every type, and rows without labels."""

import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from skebm import JEMClassifier
from skebm.estimators._class_labels import learn_classes
from skebm.exceptions import DataWarning
from skebm.networks import MLP


def make_classifier(**options):
    return JEMClassifier(
        None,
        partial(MLP, hidden_features=(16,)),
        "gaussian",
        None,
        max_iter=50,
        learning_rate=1e-2,
        stacking=False,
        random_state=0,
        **options,
    )


@pytest.fixture(scope="module")
def few_labels(blobs):
    X, y = blobs
    return X, y, np.where(np.arange(len(y)) < 30, y, -1)


@pytest.mark.parametrize("kind", ["int", "string", "object", "Int64", "category"])
def test_the_classifier_answers_in_the_labels_it_was_given(kind, few_labels):
    X, y, y_few = few_labels
    names = {0: "ant", 1: "bee", 2: "cat"}
    words = np.array([names[k] for k in y])
    given, truth = {
        "int": (y_few, y),
        "string": (np.where(y_few < 0, "-1", words), words),
        "object": (np.where(y_few < 0, None, words.astype(object)), words),
        "Int64": (pd.Series(y_few, dtype="Int64").mask(y_few < 0), y),
        "category": (pd.Series(words).mask(y_few < 0).astype("category"), words),
    }[kind]
    model = make_classifier().fit(X, given)
    assert model.classes_.tolist() == np.unique(truth).tolist()
    assert (model.predict(X) == truth).mean() > 0.95
    assert model.score(X, given) == pytest.approx(
        (model.predict(X) == truth)[:30].mean()
    )


def test_the_type_of_y_does_not_change_the_fit(few_labels):
    X, _, y_few = few_labels
    nullable = pd.Series(y_few, dtype="Int64").mask(y_few < 0)
    probabilities = [
        make_classifier().fit(X, given).predict_proba(X)
        for given in (y_few, nullable, np.where(y_few < 0, np.nan, y_few))
    ]
    np.testing.assert_array_equal(probabilities[0], probabilities[1])
    np.testing.assert_array_equal(probabilities[0], probabilities[2])


def test_score_counts_labelled_rows_only(few_labels):
    X, y, y_few = few_labels
    model = make_classifier().fit(X, y_few)
    right = model.predict(X) == y
    partly_wrong = np.where(np.arange(len(y)) < 10, (y + 1) % 3, y_few)
    correct = model.predict(X) == partly_wrong
    assert model.score(X, partly_wrong) == pytest.approx(correct[:30].mean())
    assert correct[:30].mean() < right[:30].mean()
    weight = np.arange(len(y)) + 1.0
    expected = np.average(correct[:30], weights=weight[:30])
    assert model.score(X, partly_wrong, sample_weight=weight) == pytest.approx(expected)
    assert model.score(X, np.full(len(y), 7)) == 0.0  # a class it has never seen


def test_score_without_a_labelled_row_is_nan(few_labels):
    X, _, y_few = few_labels
    model = make_classifier().fit(X, y_few)
    assert np.isnan(model.score(X, np.full(len(X), -1)))
    assert np.isnan(model.score(X, [None] * len(X)))


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.where(np.arange(150) % 2, 1, -1), r"\{-1, 1\}.*unlabeled=None"),
        (np.ones(150), "one class"),
        (np.full(150, -1), "unlabelled"),
    ],
)
def test_fit_refuses_y_without_two_classes(y, message, blobs):
    with pytest.raises(ValueError, match=message):
        make_classifier().fit(blobs[0], y)


def test_minus_one_is_a_class_where_there_is_no_marker(blobs):
    X, y = blobs
    signs = np.where(y == 0, -1, 1)
    model = make_classifier(unlabeled=None).fit(X, signs)
    assert model.classes_.tolist() == [-1, 1]
    assert model.score(X, signs) == (model.predict(X) == signs).mean() > 0.95


def test_an_empty_label_is_told_unless_it_was_named():
    words = np.array(["", "a", "b"] * 3)
    with pytest.warns(DataWarning, match="empty label ''"):
        learn_classes(words, -1, None, None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert learn_classes(words, "", None, None).tolist() == ["a", "b"]
        known = learn_classes(words, -1, ["", "a", "b"], None)  # named as classes
        assert learn_classes(words, -1, None, known).tolist() == ["", "a", "b"]


@pytest.mark.parametrize("empty_row", [False, True])
def test_masked_labels_are_unlabelled_rows(few_labels, empty_row):
    X, _, y_few = few_labels
    X = np.where((np.arange(len(X)) == 0)[:, None] & empty_row, np.nan, X)
    face = make_classifier().set_params(max_iter=1)
    masked = np.ma.array(np.where(y_few < 0, 7, y_few), mask=y_few < 0)
    model, expected = clone(face).fit(X, masked), clone(face).fit(X, y_few)
    assert model.classes_.tolist() == expected.classes_.tolist()
    np.testing.assert_array_equal(model.transduction_, expected.transduction_)
    assert model.score(X, masked) == expected.score(X, y_few)
