"""The graph of nearest neighbours: its rows, its confidence, its shape."""

import numpy as np
import pytest
from sklearn.datasets import make_moons

from skebm.semi_supervised.graph import _graph, _propagation
from skebm.semi_supervised.graph._graph import (
    build,
    choose_rows,
    principal_directions,
    project,
    shape_of_differences,
)
from skebm.semi_supervised.graph._prior_classifier import GraphPriors, KernelRidge


def test_unsure_rows_count_less_and_labelled_rows_fully():
    X, y = make_moons(400, noise=0.05, random_state=0)
    few = np.where(np.arange(400) < 20, y, -1)
    rng = np.random.RandomState(0)
    graph = build(X.astype(np.float32), few, np.arange(400), 2, rng).of_table(400)
    p = graph.soft_labels.double().numpy()[:, 0]
    entropy = -(p * np.log(p + 1e-12)).sum(axis=1) / np.log(2)
    expected = np.clip(1 - entropy, 0, 1) ** 0.3
    sure = expected > 0.1  # near zero the power blows rounding up
    confidence = graph.confidence.numpy()[:, 0]
    assert confidence[sure] == pytest.approx(expected[sure], abs=1e-2)
    assert confidence[:20] == pytest.approx(1)


def test_rows_outside_the_graph_have_no_confidence():
    X, y = make_moons(400, noise=0.05, random_state=0)
    few = np.where(np.arange(400) < 20, y, -1)
    rng = np.random.RandomState(0)
    graph = build(X.astype(np.float32), few, np.arange(300), 2, rng).of_table(400)
    assert (graph.confidence[300:] == 0).all()
    assert (graph.soft_labels[300:] == 0.5).all()
    assert (graph.neighbors[:300] < 300).all()


def test_the_shape_is_that_of_the_differences_between_neighbours():
    """A sheet in three columns, 0.01 thick: the ball is as thin against its width."""
    rng = np.random.RandomState(0)
    Z = rng.uniform(size=(2000, 3)) * [1, 1, 0.01]
    neighbors = rng.randint(2000, size=(2000, 10))
    shape = shape_of_differences(Z, neighbors, rng).astype(float)
    lengths = np.sqrt(np.diag(shape.T @ shape))
    assert lengths == pytest.approx([1, 1, 0.01], rel=0.05)
    assert np.linalg.svd(shape)[1].max() == pytest.approx(1, abs=1e-6)


def test_labels_of_one_class_make_no_graph(uneven_blobs):
    X, _, few = uneven_blobs(0)
    one = np.where(few == 0, 0, -1)
    graph = build(X, one, np.arange(600), 2, np.random.RandomState(0))
    assert graph.of_table(600) is None


def test_a_graph_of_a_part_of_the_rows_keeps_rare_classes_and_uses_all_its_rows():
    y = np.full(20_000, -1)
    y[:18_000] = np.arange(18_000) % 2
    y[[5, 77, 900]] = 2
    rows = choose_rows(y, np.arange(20_000), np.random.RandomState(0), 10_000)
    assert len(np.unique(rows)) == len(rows) == 10_000
    assert (y[rows] < 0).sum() == 2000
    assert (y[rows] == 2).sum() == 3


def test_a_large_graph_has_the_soft_labels_of_a_small_one(monkeypatch):
    """Priors are then chosen by a part, equations solved by iterations."""
    X, y = make_moons(600, noise=0.05, random_state=0)
    few = np.where(np.arange(600) < 20, y, -1)
    X = X.astype(np.float32)
    small = build(X, few, np.arange(600), 2, np.random.RandomState(0))
    monkeypatch.setattr(_graph, "MAX_PILOT_ROWS", 300)
    monkeypatch.setattr(_propagation, "MAX_DIRECT", 300)
    large = build(X, few, np.arange(600), 2, np.random.RandomState(0))
    np.testing.assert_array_equal(large.rows, small.rows)
    assert large.radius == pytest.approx(small.radius, rel=1e-5)
    large = large.with_class_priors(small.class_priors)
    soft = [graph.of_table(600).soft_labels[:, 0] for graph in (small, large)]
    assert (soft[1].argmax(dim=1).numpy() == y)[few < 0].mean() > 0.97
    np.testing.assert_allclose(soft[1], soft[0], atol=0.05)


def test_the_prior_classifier_of_a_part_is_that_of_all_rows():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(80, 3))
    y = np.where(np.arange(80) % 4 == 0, np.arange(80) % 3, -1)
    part = np.flatnonzero(np.arange(80) < 60)
    labeled = np.flatnonzero(y[part] >= 0)
    classifier = KernelRidge(X[part], labeled, y[part][labeled], 3)
    priors = GraphPriors(np.full(3, 1 / 3), 0.1, classifier).on_more_rows(X, y, part)
    whole = KernelRidge(X, part[labeled], y[part[labeled]], 3)
    found = priors.labels(y)
    np.testing.assert_allclose(found.probability, whole.predict_by(y))
    assert GraphPriors(priors.class_priors).on_more_rows(X, y, part).labels(y) is None


def test_rows_of_many_columns_keep_the_distances_of_their_first_components():
    rng = np.random.RandomState(0)
    Z = (rng.normal(size=(80, 20)) @ rng.normal(size=(20, 101))).astype(np.float32)
    features = project(Z, principal_directions(Z, rng))
    assert features.shape == (80, 50)
    found = np.linalg.norm(features[:40] - features[40:], axis=1)
    expected = np.linalg.norm(Z[:40] - Z[40:], axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    assert principal_directions(Z[:, :30], rng) is None
