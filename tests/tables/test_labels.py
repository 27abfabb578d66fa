"""Unlabelled rows, in every dress that y may wear."""

from functools import partial

import numpy as np
import pandas as pd
import pytest

from skebm import JEMClassifier
from skebm.networks import MLP
from skebm.tables._labels import encode_known, encode_labels, split_marker

EXPECTED = [0, -1, 1, 0, -1, 2]
#: The same labels in different dress: y, marker, classes.
DRESSES = {
    "int": (np.array([3, -1, 5, 3, -1, 9]), -1, [3, 5, 9]),
    "int8": (np.array([3, -1, 5, 3, -1, 9], dtype=np.int8), -1, [3, 5, 9]),
    "list": ([3, -1, 5, 3, -1, 9], -1, [3, 5, 9]),
    "column": (np.array([3, -1, 5, 3, -1, 9]), -1, [3, 5, 9]),
    "float": (np.array([3.0, -1, 5, 3, np.nan, 9]), -1, [3, 5, 9]),
    "NaN only": (np.array([3.0, np.nan, 5, 3, np.nan, 9]), -1, [3, 5, 9]),
    "NaN as marker": ([3.0, np.nan, 5, 3, np.nan, 9], np.nan, [3, 5, 9]),
    "other number": (np.array([3, 0, 5, 3, 0, 9]), 0, [3, 5, 9]),
    "strings": (np.array(["a", "-1", "b", "a", "-1", "c"]), -1, ["a", "b", "c"]),
    "list of strings": (["a", "-1", "b", "a", "-1", "c"], -1, ["a", "b", "c"]),
    "list with NaN": (["a", np.nan, "b", "a", None, "c"], -1, ["a", "b", "c"]),
    "strings and int": (["a", -1, "b", "a", -1, "c"], -1, ["a", "b", "c"]),
    "object None": (
        np.array(["a", None, "b", "a", None, "c"], dtype=object),
        -1,
        ["a", "b", "c"],
    ),
    "object pd.NA": (
        np.array(["a", pd.NA, "b", "a", None, "c"], dtype=object),
        -1,
        ["a", "b", "c"],
    ),
    "pd.NA as marker": (
        np.array(["a", pd.NA, "b", "a", pd.NA, "c"], dtype=object),
        pd.NA,
        ["a", "b", "c"],
    ),
    "own word": (np.array(["a", "?", "b", "a", "?", "c"]), "?", ["a", "b", "c"]),
    "categorical": (
        pd.Categorical(["a", None, "b", "a", None, "c"]),
        -1,
        ["a", "b", "c"],
    ),
    "categorical series": (
        pd.Series(["a", "-1", "b", "a", np.nan, "c"], dtype="category"),
        -1,
        ["a", "b", "c"],
    ),
    "nullable Int64": (
        pd.Series([3, pd.NA, 5, 3, -1, 9], dtype="Int64"),
        -1,
        [3, 5, 9],
    ),
    "nullable string": (
        pd.Series(["a", pd.NA, "b", "a", "-1", "c"], dtype="string"),
        -1,
        ["a", "b", "c"],
    ),
    "series with its own index": (
        pd.Series([3, -1, 5, 3, -1, 9], index=list("zyxwvu")),
        -1,
        [3, 5, 9],
    ),
}


@pytest.mark.parametrize("dress", DRESSES)
def test_every_dress_gives_the_same_codes(dress):
    y, unlabeled, expected_classes = DRESSES[dress]
    codes, classes = encode_labels(y, unlabeled)
    assert codes.tolist() == EXPECTED
    assert classes.tolist() == expected_classes
    assert encode_known(y, unlabeled, classes).tolist() == EXPECTED


def test_classes_of_numbers_and_strings_have_numpys_own_dtype():
    assert encode_labels(pd.Series([1, 2, -1], dtype="Int64"), -1)[1].dtype == np.int64
    assert encode_labels(["a", "b", -1], -1)[1].dtype.kind == "U"
    assert encode_labels([True, False, None], -1)[1].dtype == bool


def test_a_string_marker_is_no_number_and_the_other_way_round():
    assert not split_marker(np.array([1, -1, 2]), "-1")[1].any()
    assert not split_marker(["a", "b", "a"], -1)[1].any()


def test_without_a_marker_minus_one_is_a_class():
    codes, classes = encode_labels(np.array([-1, 1, -1]), None)
    assert classes.tolist() == [-1, 1]
    assert codes.tolist() == [0, 1, 0]
    with pytest.raises(ValueError, match=r"NaN or None in 1 rows.*unlabeled=None"):
        encode_labels(np.array([0.0, np.nan, 1.0]), None)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([-1, 1, 1], r"one class, 1, beside 1 .*Labels are \{-1, 1\}.*unlabeled=None"),
        ([4, 4, -1], "only one class, 4, beside 1 unlabelled"),
        ([4, 4, 4], "only one class, 4, beside 0 unlabelled"),
        ([-1, -1, -1], r"All 3 rows of y are unlabelled \(unlabeled=-1\)"),
        ([None, np.nan, "-1"], "All 3 rows of y are unlabelled"),
        ([0.5, 1.0, 2.0], "Unknown label type: continuous.*0.5"),
        ([0.0, np.inf, 2.0], "Unknown label type: continuous.*inf"),
        (["a", 1, "b"], r"labels of one kind. Got a mixture of \['int', 'str'\]"),
    ],
)
def test_labels_that_cannot_be_learnt_from(y, message):
    with pytest.raises(ValueError, match=message):
        encode_labels(y, -1)


def test_a_class_not_seen_in_fit_has_a_code_of_its_own():
    assert encode_known([0, 7, -1], -1, np.array([0, 1])).tolist() == [0, -2, -1]


# ------------------------------------------------------------- through the classifier


def make_classifier(**options):
    return JEMClassifier(
        None,
        partial(MLP, hidden_features=(16,)),
        "gaussian",
        None,
        max_iter=150,
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


def test_the_dress_of_y_does_not_change_the_fit(few_labels):
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


@pytest.mark.parametrize("y", [[-1, 1], [-1.0, 1.0], ["-1", "1"]])
def test_labels_of_plus_and_minus_one_get_a_hint(y):
    with pytest.raises(ValueError, match=r"Labels are \{-1, 1\}: -1 means unlabelled"):
        encode_labels(np.array(y * 5), -1)
    codes, classes = encode_labels(np.array(y * 5), None)
    assert codes.tolist() == [0, 1] * 5 and len(classes) == 2
