"""Properties of labels: coding, splits, scores, weights of classes; no fit."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.dummy import DummyClassifier
from sklearn.metrics import accuracy_score
from strategies import LABEL_KINDS, as_labels, labels, odd_values, seeds

from skebm.estimators._class_labels import check_labels, class_weights
from skebm.evaluation import expected_calibration_error
from skebm.model_selection import SemiSupervisedSplit, ignore_unlabeled
from skebm.tables import encode_known, encode_labels


@given(labels(), st.sampled_from([*LABEL_KINDS, "tensor"]))
def test_labels_of_every_kind_are_coded_alike(drawn, kind):
    classes, indices, hidden = drawn
    assume(kind != "tensor" or isinstance(classes[0], int))
    y = as_labels(kind, *drawn)
    coded, found = encode_labels(y, -1)
    assert found.tolist() == classes
    np.testing.assert_array_equal(coded, np.where(hidden, -1, indices))
    np.testing.assert_array_equal(encode_known(y, -1, found), coded)


@given(labels(), st.data())
def test_a_class_that_was_not_seen_is_told_from_the_marker(drawn, data):
    classes, indices, hidden = drawn
    left_out = data.draw(st.sampled_from(classes))
    assume(len(classes) > 2)
    known = np.array([label for label in classes if label != left_out])
    coded = encode_known(as_labels("array", *drawn), -1, known)
    is_new = np.array(classes)[indices] == left_out
    np.testing.assert_array_equal(coded == -2, is_new & ~hidden)
    np.testing.assert_array_equal(coded == -1, hidden)


@pytest.mark.filterwarnings("ignore:A column-vector y was passed")
@given(st.one_of(st.lists(odd_values, min_size=2, max_size=6), odd_values), odd_values)
def test_labels_of_any_type_are_coded_or_refused_by_name(y, marker):
    try:
        check_labels(y, np.zeros(len(y) if isinstance(y, list) else 2))
        coded, classes = encode_labels(y, marker)
    except (ValueError, TypeError) as error:
        text = str(error)
        assert any(word in text for word in ("y ", "label", "unlabeled")), text
        return
    assert len(coded) == len(y) and len(classes) == coded.max() + 1 >= 2
    marked = [v is None or v is pd.NA or v != v for v in y]
    assert all(k == -1 for k, m in zip(coded, marked, strict=True) if m)


@given(labels(), st.integers(2, 4), seeds)
def test_a_split_tests_each_labelled_row_once_and_trains_on_the_others(
    drawn, n_splits, seed
):
    classes, indices, hidden = drawn
    counts = np.bincount(indices[~hidden], minlength=len(classes))
    assume(counts.min() >= n_splits)
    split = SemiSupervisedSplit(n_splits, shuffle=True, random_state=seed)
    tested = []
    for train, test in split.split(np.zeros(len(indices)), as_labels("array", *drawn)):
        assert sorted([*train, *test]) == list(range(len(indices)))
        assert hidden[train].sum() == hidden.sum() and not hidden[test].any()
        tested.extend(test)
        share = np.bincount(indices[test], minlength=len(classes)) - counts / n_splits
        assert np.abs(share).max() < 1
    assert sorted(tested) == np.flatnonzero(~hidden).tolist()


@given(labels(), st.sampled_from(LABEL_KINDS), seeds)
def test_a_scorer_without_markers_scores_the_labelled_rows(drawn, kind, seed):
    classes, indices, hidden = drawn
    truth = np.array(classes)[indices]
    X = np.zeros((len(truth), 1))
    model = DummyClassifier(strategy="uniform", random_state=seed % 1000)
    model.fit(X, truth)
    expected = accuracy_score(truth[~hidden], model.predict(X[~hidden]))
    y = as_labels(kind, *drawn)
    assert ignore_unlabeled("accuracy")(model, X, y) == pytest.approx(expected)


class_weight_values = st.one_of(st.floats(0, 1e6), odd_values)


@given(st.dictionaries(st.integers(0, 3), class_weight_values, max_size=3))
def test_class_weights_are_numbers_or_refused_by_name(option):
    try:
        weights = class_weights(option, np.array([0, 1, 2, -1]), np.arange(3))
    except ValueError as error:
        assert "'class_weight' parameter" in str(error)
        return
    assert len(weights) == 3 and min(weights) >= 0 and 0 < max(weights) < np.inf
    assert all(weights[k] == option.get(k, 1.0) for k in range(3))


@given(seeds, st.integers(2, 4), st.integers(1, 40), st.integers(1, 20))
def test_calibration_error_is_a_share_that_the_order_of_rows_leaves(
    seed, n_classes, n, n_bins
):
    rng = np.random.default_rng(seed)
    probability = rng.dirichlet(np.ones(n_classes), n).round(2)
    probability /= probability.sum(axis=1, keepdims=True)
    y = rng.integers(0, n_classes, n)
    error = expected_calibration_error(y, probability, n_bins)
    assert 0 <= error <= 1
    order = rng.permutation(n)
    shuffled = expected_calibration_error(y[order], probability[order], n_bins)
    assert shuffled == pytest.approx(error, abs=1e-9)
