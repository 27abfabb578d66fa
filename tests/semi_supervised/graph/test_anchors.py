import numpy as np
import pytest
import torch
from sklearn.datasets import make_blobs
from sklearn.neighbors import NearestNeighbors

from skebm.semi_supervised.graph import _anchors, _graph
from skebm.semi_supervised.graph._anchors import Anchored, nearest_anchors
from skebm.semi_supervised.graph._graph import build


@pytest.fixture
def table():
    X, y = make_blobs(900, 3, centers=3, cluster_std=0.7, random_state=0)
    few = np.where(np.arange(900) % 60 == 0, y, -1)
    return X.astype(np.float32), y, few


def graph_of(X, few, most, monkeypatch, rows=None):
    monkeypatch.setattr(_graph, "MAX_GRAPH_ROWS", most)
    rows = np.arange(len(X)) if rows is None else rows
    return build(X, few, rows, 3, np.random.RandomState(0))


def test_where_all_rows_are_anchors_their_soft_labels_are_the_graphs(
    table, monkeypatch
):
    X, _, few = table
    graph = graph_of(X, few, len(X), monkeypatch)
    assert graph.anchored is None
    assert not len(graph.other_rows)
    of_table, inside = graph.of_table(len(X)), graph.of_versions([graph.y])
    torch.testing.assert_close(of_table.soft_labels, inside.soft_labels)
    # A row that equals an anchor, and has no other neighbour, has its soft labels.
    same = Anchored.of(
        X, np.ones(len(X)), X, graph.rows, few, np.random.RandomState(0), n_anchors=1
    )
    soft = same.soft_labels(inside.soft_labels[:, 0])
    torch.testing.assert_close(soft, inside.soft_labels[:, 0])


def test_rows_outside_the_graph_have_the_mean_soft_labels_of_their_anchors(
    table, monkeypatch
):
    X, y, few = table
    graph = graph_of(X, few, 300, monkeypatch, rows=np.arange(100, 900))
    others = graph.other_rows
    assert len(graph.rows) == 300
    assert np.array_equal(np.union1d(graph.rows, others), np.arange(100, 900))
    of_table = graph.of_table(len(X))
    inside = of_table.soft_labels[graph.rows, 0]
    anchors = graph.anchored.anchors.numpy()
    distances, expected = (
        NearestNeighbors(n_neighbors=5).fit(X[graph.rows]).kneighbors(X[others])
    )
    assert np.array_equal(anchors, expected)
    own = NearestNeighbors(n_neighbors=5).fit(X[graph.rows]).kneighbors()[0][:, -1]
    weights = np.exp(-6 * distances**2 / (distances[:, -1:] * own[anchors]))
    weights /= weights.sum(axis=1, keepdims=True)
    soft = (weights[:, :, None] * inside.numpy()[anchors]).sum(axis=1)
    found = of_table.soft_labels[others, 0].numpy()
    unlabeled = few[others] < 0
    np.testing.assert_allclose(found[unlabeled], soft[unlabeled], atol=1e-5)
    assert np.array_equal(of_table.neighbors[others].numpy(), graph.rows[anchors])
    assert (of_table.confidence[others] > 0).all()
    assert (found.argmax(axis=1) == y[others]).mean() > 0.95
    # Rows that are not trained on stay outside.
    assert not of_table.confidence[:100].any()
    torch.testing.assert_close(
        of_table.soft_labels[:100], torch.full((100, 1, 3), 1 / 3)
    )


def test_labels_outside_the_graph_stay(table, monkeypatch):
    X, y, _ = table
    few = np.where(np.arange(900) < 600, y, -1)
    graph = graph_of(X, few, 300, monkeypatch)
    of_table = graph.of_table(len(X))
    labeled = graph.other_rows[few[graph.other_rows] >= 0]
    assert len(labeled) > 100
    expected = torch.eye(3)[torch.from_numpy(y[labeled])]
    torch.testing.assert_close(of_table.soft_labels[labeled, 0], expected)
    assert (of_table.confidence[labeled] > 0.999).all()


def test_trees_of_anchors_find_nearly_all_that_are_nearest(monkeypatch):
    rng = np.random.RandomState(0)
    anchors = rng.normal(size=(2000, 6)).astype(np.float32)
    rows = rng.normal(size=(3000, 6)).astype(np.float32)
    rows[:5] = anchors[:5]
    exact, expected = nearest_anchors(anchors, rows, 5, rng)
    monkeypatch.setattr(_anchors, "MAX_PAIRS", 0)
    distances, found = nearest_anchors(anchors, rows, 5, rng)
    assert (np.diff(distances, axis=1) >= 0).all()
    assert all(len(set(row)) == 5 for row in found.tolist())
    np.testing.assert_array_equal(found[:5, 0], np.arange(5))
    np.testing.assert_array_equal(distances[:5, 0], 0)
    pairs = zip(found, expected, strict=True)
    hits = np.mean([len(np.intersect1d(*pair)) / 5 for pair in pairs])
    assert hits > 0.8
    assert distances[:, -1].mean() < 1.05 * exact[:, -1].mean()
    measured = np.linalg.norm(anchors[found] - rows[:, None], axis=2)
    np.testing.assert_allclose(distances, measured, rtol=1e-4, atol=1e-6)


def test_equal_anchors_end_in_leaves(monkeypatch):
    monkeypatch.setattr(_anchors, "MAX_PAIRS", 0)
    anchors = np.zeros((1500, 2), dtype=np.float32)
    distances, found = nearest_anchors(
        anchors, anchors[:40], 5, np.random.RandomState(0)
    )
    assert not distances.any()
    assert all(len(set(row)) == 5 for row in found.tolist())
