"""Trust in a graph whose labels are too few to be held out."""

from dataclasses import replace

import numpy as np
import pytest

from skebm.objectives import ROLES
from skebm.semi_supervised.graph._graph import build
from skebm.semi_supervised.graph._stability import measure_stability, trust_graph
from skebm.semi_supervised.stacking._role_weights import prior_weights


def make(labels_a_class, separation, n_columns=2):
    """Return the graph of two classes, so far from each other in each column."""
    rng = np.random.RandomState(0)
    y = np.arange(300) % 2
    X = rng.normal(size=(300, n_columns)) + separation * y[:, None]
    few = np.where(np.arange(300) < 2 * labels_a_class, y, -1)
    return build(X.astype(np.float32), few, np.arange(300), 2, rng)


def test_classes_that_are_clusters_keep_their_labels_and_noise_does_not():
    rng = np.random.RandomState(0)
    clusters, noise = make(1, 20.0), make(1, 0.0, n_columns=30)
    stability = measure_stability(clusters, rng)
    assert stability == pytest.approx(1)
    assert trust_graph(stability, clusters.y) == pytest.approx(1)
    stability = measure_stability(noise, rng)
    assert stability < 0.5
    assert trust_graph(stability, noise.y) == 0
    assert measure_stability(replace(clusters, edges=None), rng) == 0


@pytest.mark.parametrize("share", [0.5, 0.2, 0.1])
def test_labels_at_random_are_not_stable_however_uneven(share):
    rng = np.random.RandomState(0)
    X = rng.normal(size=(600, 10)).astype(np.float32)
    y = (rng.uniform(size=600) < share).astype(int)
    few = np.where(np.arange(600) < 40, y, -1)
    graph = build(X, few, np.arange(600), 2, rng)
    assert measure_stability(graph, rng) < 0.8


@pytest.mark.parametrize(("labels", "trust"), [(1, 1.0), (2, 0.5), (3, 0.0), (9, 0.0)])
def test_trust_falls_as_labels_can_tell(labels, trust):
    y = np.repeat([0, 1, -1], [labels, labels, 20])
    assert trust_graph(1.0, y) == pytest.approx(trust)
    assert trust_graph(0.65, y) == pytest.approx(trust / 2)


def test_trust_moves_prior_weights_to_the_graph():
    assert prior_weights(ROLES, trust=0.0) == prior_weights(ROLES)
    trusted = prior_weights(ROLES, trust=1.0)
    assert sum(trusted.values()) == pytest.approx(1)
    assert trusted["supervised"] == pytest.approx(0.2 * 0.4)
    assert trusted["graph"] == pytest.approx(0.2 * 0.2 + 0.8 * 0.5)
    assert prior_weights(["supervised"], trust=1.0)["supervised"] == 1
