"""The graph of nearest neighbours: harmonic labels, the tie to a classifier."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import make_moons

from skebm.semi_supervised import _graph
from skebm.objectives.joint._joint import graph_fade
from skebm.semi_supervised._graph import build_graph
from skebm.semi_supervised._label_shift import estimate_shares


@pytest.mark.parametrize("tie", [0.0, 0.1, 1.0])
def test_harmonic_labels_with_a_tie_have_their_closed_form(tie):
    """A path 0 - 2 - 3 - 1 with labels at its ends and guesses in mirror image."""
    weights = np.zeros((4, 4))
    for i, j in ((0, 2), (2, 3), (3, 1)):
        weights[i, j] = weights[j, i] = 1.0
    h, mean_degree = 0.2, 1.5
    guess = np.array([[0.5, 0.5], [0.5, 0.5], [h, 1 - h], [1 - h, h]])
    codes = np.array([0, 1, -1, -1])
    soft = _graph._propagate(sparse.csr_array(weights), codes, 2, tie, guess)
    pull = tie * mean_degree
    diagonal = 2 + 1e-4 * mean_degree + pull
    difference = (1 + pull * (2 * h - 1)) / (diagonal + 1)
    total = (1 + pull) / (diagonal - 1)
    expected = (1 + difference / total) / 2
    assert soft[2] == pytest.approx([expected, 1 - expected], abs=1e-6)
    assert soft[3] == pytest.approx([1 - expected, expected], abs=1e-6)
    assert (soft[:2] == np.eye(2)).all()


def test_a_tie_is_chosen_only_where_clearly_more_rows_are_right():
    labels = np.array([0, 0, 1, 1])

    def by(*of_label):
        p = np.array(of_label)
        return np.where(labels[:, None] == [0, 1], p[:, None], 1 - p[:, None])

    surer = [by(0.6, 0.6, 0.6, 0.4), by(0.9, 0.9, 0.9, 0.4)]
    assert _graph._choose_tie(np.array(surer), labels) == 0
    one_more = [by(0.6, 0.6, 0.6, 0.4), by(0.9, 0.9, 0.9, 0.9)]
    assert _graph._choose_tie(np.array(one_more), labels) == 0
    two_more = [by(0.6, 0.6, 0.4, 0.4), by(0.6, 0.6, 0.6, 0.6), by(0.9, 0.9, 0.9, 0.9)]
    assert _graph._choose_tie(np.array(two_more), labels) == 2
    exchanged = [by(0.6, 0.4, 0.4, 0.4), by(0.1, 0.9, 0.9, 0.9)]
    assert _graph._choose_tie(np.array(exchanged), labels) == 0


def test_the_classifier_of_a_part_knows_nothing_of_the_rest():
    rng = np.random.RandomState(0)
    Z, labels = rng.normal(size=(30, 4)), np.arange(20) % 2
    rows, part = np.arange(20), np.arange(10)
    wrong = labels.copy()
    wrong[10:] = 1 - wrong[10:]
    classifiers = [_graph._KernelRidge(Z, rows, y, 2) for y in (labels, wrong)]
    first, second = (c.predict(part) for c in classifiers)
    assert (first == second).all()
    assert (first[part].argmax(axis=1) == labels[part]).all()
    assert first.sum(axis=1) == pytest.approx(1)


def accuracy(X, y, n_labeled, seed=0):
    """Return the graph's accuracy on unlabelled rows, and the graph."""
    few = np.where(np.arange(len(y)) < n_labeled, y, -1)
    rng = np.random.RandomState(seed)
    graph = build_graph(X.astype(np.float32), few, np.arange(len(y)), y.max() + 1, rng)
    right = graph.of_table(len(y)).soft_labels.numpy()[:, 0].argmax(axis=1) == y
    return right[n_labeled:].mean(), graph


def test_without_clusters_the_graph_is_tied_to_the_classifier(monkeypatch):
    rng = np.random.RandomState(0)
    y = np.arange(600) % 2
    X = rng.normal(size=(600, 60)) + 0.16 * (2 * y[:, None] - 1)
    tied, graph = accuracy(X, y, 100)
    monkeypatch.setattr(_graph, "TIES", (0.0,))
    free, _ = accuracy(X, y, 100)
    assert graph.tie > 0
    assert tied > free + 0.1


def test_with_clusters_it_stays_free():
    X, y = make_moons(400, noise=0.05, random_state=0)
    share, graph = accuracy(X, y, 20)
    assert graph.tie == 0
    assert share > 0.97


def test_unsure_rows_count_less_and_labelled_rows_fully():
    X, y = make_moons(400, noise=0.05, random_state=0)
    _, graph = accuracy(X, y, 20)
    p = graph.of_table(400).soft_labels.double().numpy()[:, 0]
    entropy = -(p * np.log(p + 1e-12)).sum(axis=1) / np.log(2)
    expected = np.clip(1 - entropy, 0, 1) ** 0.3
    sure = expected > 0.1  # near zero the power blows rounding up
    confidence = graph.of_table(400).confidence.numpy()[:, 0]
    assert confidence[sure] == pytest.approx(expected[sure], abs=1e-2)
    assert confidence[:20] == pytest.approx(1)


def test_the_weight_of_the_graph_fades_to_three_tenths():
    shares = [graph_fade(progress) for progress in (0.0, 0.1, 0.3, 0.5, 0.7, 1.0)]
    assert shares == pytest.approx([1, 1, 0.75, 0.5, 0.3, 0.3])


def uneven_blobs(seed, separation=3.0):
    """Return rows of two classes, 7 % of the second, and ten labels of each."""
    rng = np.random.RandomState(seed)
    y = (rng.uniform(size=600) < 0.07).astype(int)
    X = rng.normal(size=(600, 4))
    X[:, 0] += separation * y
    few = np.full(600, -1)
    for k in (0, 1):
        few[rng.choice(np.flatnonzero(y == k), 10, replace=False)] = k
    return X.astype(np.float32), y, few


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_equal_labels_of_uneven_classes(seed):
    """The labelled shares, one to one, would make a third of the rows positive."""
    X, y, few = uneven_blobs(seed)
    graph = build_graph(X, few, np.arange(600), 2, np.random.RandomState(seed))
    assert graph.shares.sum() == pytest.approx(1)
    assert graph.shares[1] < 0.25
    hidden = few < 0
    found = graph.of_table(len(y)).soft_labels.numpy()[:, 0].argmax(axis=1)
    assert (found == y)[hidden].mean() > 0.93


def test_even_classes_keep_their_shares():
    X, y = make_moons(400, noise=0.05, random_state=0)
    few = np.full(400, -1)
    for k in (0, 1):
        few[np.flatnonzero(y == k)[:10]] = k
    rng = np.random.RandomState(0)
    graph = build_graph(X.astype(np.float32), few, np.arange(400), 2, rng)
    assert graph.shares == pytest.approx([0.5, 0.5], abs=0.02)


def test_shares_by_predictions_that_are_always_right():
    labels = np.repeat([0, 1, 2], 50)
    predictions, prospect = np.eye(3)[labels], np.array([0.6, 0.3, 0.1])
    rng = np.random.RandomState(0)
    shares = estimate_shares(predictions, labels, prospect, np.full(3, 50), rng)
    assert shares == pytest.approx(prospect, abs=0.02)


def test_shares_stay_where_predictions_say_nothing():
    rng = np.random.RandomState(0)
    labels, counts = np.repeat([0, 1], 10), np.array([10, 10])
    predictions = rng.dirichlet([5, 5], size=20)
    prospect = np.array([0.45, 0.55])
    found = estimate_shares(predictions, labels, prospect, counts, rng)
    assert found == pytest.approx([0.5, 0.5], abs=0.03)


def test_the_shape_is_that_of_the_differences_between_neighbours():
    """A sheet in three columns, 0.01 thick: the ball is as thin against its width."""
    rng = np.random.RandomState(0)
    Z = rng.uniform(size=(2000, 3)) * [1, 1, 0.01]
    neighbors = rng.randint(2000, size=(2000, 10))
    shape = _graph._shape(Z, neighbors, rng).astype(float)
    lengths = np.sqrt(np.diag(shape.T @ shape))
    assert lengths == pytest.approx([1, 1, 0.01], rel=0.05)
    assert np.linalg.svd(shape)[1].max() == pytest.approx(1, abs=1e-6)


def test_labels_of_one_class_say_nothing_of_the_other_rows():
    X, _, few = uneven_blobs(0)
    one = np.where(few == 0, 0, -1)
    graph = build_graph(X, one, np.arange(600), 2, np.random.RandomState(0))
    assert graph.of_table(600) is None


def test_a_graph_of_a_part_of_the_rows_keeps_rare_classes_and_spends_all_its_rows():
    codes = np.full(20_000, -1)
    codes[:18_000] = np.arange(18_000) % 2
    codes[[5, 77, 900]] = 2
    rows = _graph._choose_rows(codes, np.arange(20_000), np.random.RandomState(0))
    assert len(np.unique(rows)) == len(rows) == _graph.MAX_GRAPH_ROWS
    assert (codes[rows] < 0).sum() == 2000
    assert (codes[rows] == 2).sum() == 3
