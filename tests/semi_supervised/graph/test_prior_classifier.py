"""The supervised classifier beside the graph, and the choice of its weight."""

import numpy as np
import pytest
from sklearn.datasets import make_moons

from skebm.semi_supervised.graph import _prior_classifier
from skebm.semi_supervised.graph._graph import build
from skebm.semi_supervised.graph._prior_classifier import KernelRidge, choose_weight


def test_a_weight_is_chosen_only_where_clearly_more_rows_are_right():
    labels = np.array([0, 0, 1, 1])

    def predict(*of_label):
        p = np.array(of_label)
        return np.where(labels[:, None] == [0, 1], p[:, None], 1 - p[:, None])

    surer = [predict(0.6, 0.6, 0.6, 0.4), predict(0.9, 0.9, 0.9, 0.4)]
    assert choose_weight(np.array(surer), labels) == 0
    one_more = [predict(0.6, 0.6, 0.6, 0.4), predict(0.9, 0.9, 0.9, 0.9)]
    assert choose_weight(np.array(one_more), labels) == 0
    two_more = [
        predict(0.6, 0.6, 0.4, 0.4),
        predict(0.6, 0.6, 0.6, 0.6),
        predict(0.9, 0.9, 0.9, 0.9),
    ]
    assert choose_weight(np.array(two_more), labels) == 2
    exchanged = [predict(0.6, 0.4, 0.4, 0.4), predict(0.1, 0.9, 0.9, 0.9)]
    assert choose_weight(np.array(exchanged), labels) == 0


def test_a_classifier_fitted_to_a_part_does_not_use_other_labels():
    rng = np.random.RandomState(0)
    Z, labels = rng.normal(size=(30, 4)), np.arange(20) % 2
    rows, part = np.arange(20), np.arange(10)
    wrong = labels.copy()
    wrong[10:] = 1 - wrong[10:]
    classifiers = [KernelRidge(Z, rows, y, 2) for y in (labels, wrong)]
    first, second = (classifier.predict(part) for classifier in classifiers)
    assert (first == second).all()
    assert (first[part].argmax(axis=1) == labels[part]).all()
    assert first.sum(axis=1) == pytest.approx(1)


def measure_accuracy(X, y, n_labeled):
    """Return the graph's accuracy on unlabelled rows, and the classifier's weight."""
    few = np.where(np.arange(len(y)) < n_labeled, y, -1)
    rng = np.random.RandomState(0)
    graph = build(X.astype(np.float32), few, np.arange(len(y)), y.max() + 1, rng)
    right = graph.of_table(len(y)).soft_labels.numpy()[:, 0].argmax(axis=1) == y
    return right[n_labeled:].mean(), graph.priors.weight


def test_without_clusters_the_classifier_has_weight(monkeypatch):
    rng = np.random.RandomState(0)
    y = np.arange(600) % 2
    X = rng.normal(size=(600, 60)) + 0.16 * (2 * y[:, None] - 1)
    with_classifier, weight = measure_accuracy(X, y, 100)
    monkeypatch.setattr(_prior_classifier, "PRIOR_WEIGHTS", (0.0,))
    alone, _ = measure_accuracy(X, y, 100)
    assert weight > 0
    assert with_classifier > alone + 0.1


def test_with_clusters_the_classifier_has_none():
    X, y = make_moons(400, noise=0.05, random_state=0)
    accuracy, weight = measure_accuracy(X, y, 20)
    assert weight == 0
    assert accuracy > 0.97
