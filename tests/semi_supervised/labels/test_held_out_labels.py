"""Cross-validation folds over the labelled rows."""

import numpy as np

from skebm.semi_supervised.labels._held_out_labels import HeldOutLabels, assign_folds


def test_rows_of_classes_with_two_labels_are_held_out():
    y = np.array([0, 0, 1, -1, 2, 2, 2, -1])
    held_out = HeldOutLabels.choose(y, 3, np.random.RandomState(0))
    assert sorted(held_out.rows) == [0, 1, 4, 5, 6]
    assert (held_out.labels == y[held_out.rows]).all()


def test_one_label_a_class_cannot_be_held_out():
    y = np.array([0, 1, 2, -1])
    assert HeldOutLabels.choose(y, 3, np.random.RandomState(0)) is None


def test_each_class_is_spread_over_all_folds():
    labels = np.random.RandomState(0).permutation(np.repeat([0, 1, 2], [10, 15, 5]))
    folds = assign_folds(labels)
    for label, size in ((0, 2), (1, 3), (2, 1)):
        assert np.bincount(folds[labels == label]).tolist() == [size] * 5


def test_each_label_is_hidden_in_one_fold():
    y = np.array([0, 0, 1, -1, 1, 0, 1, 1])
    held_out = HeldOutLabels.choose(y, 2, np.random.RandomState(0))
    hidden = [held_out.hide(y, fold) != y for fold in range(held_out.n_folds)]
    assert held_out.n_folds == 5
    assert (np.sum(hidden, axis=0) == (y >= 0)).all()
