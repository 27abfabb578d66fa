"""Class priors of the unlabelled rows under label shift."""

import numpy as np
import pytest
from sklearn.datasets import make_moons

from skebm.semi_supervised.graph._graph import build
from skebm.semi_supervised.labels._label_shift import estimate_priors


def test_predictions_that_are_always_right_give_the_class_priors():
    labels = np.repeat([0, 1, 2], 50)
    predictions, mean = np.eye(3)[labels], np.array([0.6, 0.3, 0.1])
    rng = np.random.RandomState(0)
    priors = estimate_priors(predictions, labels, mean, np.full(3, 50), rng)
    assert priors == pytest.approx(mean, abs=0.02)


def test_class_priors_of_the_labels_stay_where_predictions_are_noise():
    rng = np.random.RandomState(0)
    labels, counts = np.repeat([0, 1], 10), np.array([10, 10])
    predictions = rng.dirichlet([5, 5], size=20)
    mean = np.array([0.45, 0.55])
    found = estimate_priors(predictions, labels, mean, counts, rng)
    assert found == pytest.approx([0.5, 0.5], abs=0.03)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_class_priors_are_found_from_as_many_labels_of_each_class(seed, uneven_blobs):
    """By the class priors of the labels a third of the rows would be positive."""
    X, y, few = uneven_blobs(seed)
    graph = build(X, few, np.arange(600), 2, np.random.RandomState(seed))
    assert graph.class_priors.sum() == pytest.approx(1)
    assert graph.class_priors[1] < 0.25
    unlabeled = few < 0
    found = graph.of_table(len(y)).soft_labels.numpy()[:, 0].argmax(axis=1)
    assert (found == y)[unlabeled].mean() > 0.93


def test_even_classes_keep_even_priors():
    X, y = make_moons(400, noise=0.05, random_state=0)
    few = np.full(400, -1)
    for k in (0, 1):
        few[np.flatnonzero(y == k)[:10]] = k
    rng = np.random.RandomState(0)
    graph = build(X.astype(np.float32), few, np.arange(400), 2, rng)
    assert graph.class_priors == pytest.approx([0.5, 0.5], abs=0.02)
