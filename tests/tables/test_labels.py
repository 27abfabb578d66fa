"""Class indices of labels of every type, and of unlabelled rows."""

import numpy as np
import pandas as pd
import pytest

from skebm.exceptions import DataWarning
from skebm.tables import encode_known, encode_labels, split_marker
from skebm.tables._labels import warn_of_empty_words

EXPECTED = [0, -1, 1, 0, -1, 2]
#: The same labels in different types: y, marker, classes.
TYPES = {
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
    "masked": (
        np.ma.array([3, 7, 5, 3, -1, 9], mask=[0, 1, 0, 0, 0, 0]),
        -1,
        [3, 5, 9],
    ),
    "masked floats": (
        np.ma.array([3.0, 7, 5, 3, np.nan, 9], mask=[0, 1, 0, 0, 0, 0]),
        -1,
        [3, 5, 9],
    ),
    "masked strings": (
        np.ma.array(["a", "z", "b", "a", "z", "c"], mask=[0, 1, 0, 0, 1, 0]),
        -1,
        ["a", "b", "c"],
    ),
    "series with its own index": (
        pd.Series([3, -1, 5, 3, -1, 9], index=list("zyxwvu")),
        -1,
        [3, 5, 9],
    ),
}


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_gives_the_same_indices(kind):
    y, unlabeled, expected_classes = TYPES[kind]
    indices, classes = encode_labels(y, unlabeled)
    assert indices.tolist() == EXPECTED
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
    indices, classes = encode_labels(np.array([-1, 1, -1]), None)
    assert classes.tolist() == [-1, 1]
    assert indices.tolist() == [0, 1, 0]
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


def test_a_class_not_seen_in_fit_has_an_index_of_its_own():
    assert encode_known([0, 7, -1], -1, np.array([0, 1])).tolist() == [0, -2, -1]


@pytest.mark.parametrize("y", [[-1, 1], [-1.0, 1.0], ["-1", "1"]])
def test_labels_of_plus_and_minus_one_get_a_hint(y):
    with pytest.raises(ValueError, match=r"Labels are \{-1, 1\}: -1 means unlabelled"):
        encode_labels(np.array(y * 5), -1)
    indices, classes = encode_labels(np.array(y * 5), None)
    assert indices.tolist() == [0, 1] * 5 and len(classes) == 2


def test_an_empty_word_as_a_class_is_told():
    with pytest.warns(DataWarning, match=r"empty label ''.*unlabeled=''"):
        warn_of_empty_words(encode_labels(["", "a", "b"], -1)[1])
    with pytest.warns(DataWarning, match=r"empty label ' '"):
        warn_of_empty_words(np.array([" ", "a"]))
    warn_of_empty_words(encode_labels(["", "a", "b"], "")[1])
