"""How far a graph's soft labels hang on which rows have the labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skebm.semi_supervised.graph._graph import LabelGraph, draw_labels

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

#: Times that labels are drawn anew; in large graphs, whose draws differ less, fewer.
N_DRAWS, N_DRAWS_IF_LARGE, LARGE = 8, 2, 10_000
#: Stabilities between which the trust in the graph rises from none to full. With one
#: label a class, they are from 21 tables and 60 outlier tables.
LEAST, MOST = 0.5, 0.8
#: Share of rows that agree by chance beyond which nothing can be told.
MAX_CHANCE = 0.98
#: Labels a class from which held-out labels alone say whether the graph is good.
ENOUGH_A_CLASS = 3


def trust_graph(stability: float, y: Indices) -> float:
    """Return how far a graph is trusted beyond its labels: 0 to 1.

    Labels that are too few to be held out cannot tell. Where classes are clusters, the
    soft labels change little if others of their rows had been labelled. The trust falls
    to zero at three labels a class.

    Parameters
    ----------
    stability : float
        Of the graph's soft labels, by `measure_stability`.
    y : ndarray of int of shape (n,)
        Class indices, -1 where unlabelled.
    """
    labels = y[y >= 0]
    n_classes = len(np.unique(labels))
    few = min(ENOUGH_A_CLASS - len(labels) / max(n_classes, 1), ENOUGH_A_CLASS - 1)
    rise = np.clip((stability - LEAST) / (MOST - LEAST), 0, 1)
    return float(rise) * max(few, 0.0) / (ENOUGH_A_CLASS - 1)


def measure_stability(graph: LabelGraph, rng: np.random.RandomState) -> float:
    """Return the mean agreement of the soft labels with those of other rows' labels.

    As many rows of each class as have labels are drawn from the rows that the soft
    labels put there, and give soft labels in their turn. The agreement is one where all
    rows keep their class, zero where they do by chance alone.

    Parameters
    ----------
    graph : LabelGraph
        Without edges it is 0.
    rng : RandomState
        Draws the rows.
    """
    if graph.edges is None:
        return 0.0
    found = _hard_labels(graph, graph.y)
    agreements = []
    for _ in range(N_DRAWS if len(graph.y) <= LARGE else N_DRAWS_IF_LARGE):
        other = draw_labels(found, graph.y, rng)
        unlabeled = other < 0
        agreements.append((_hard_labels(graph, other) == found)[unlabeled].mean())
    chance = float(((np.bincount(found) / len(found)) ** 2).sum())
    if chance > MAX_CHANCE:
        return 0.0
    return (float(np.mean(agreements)) - chance) / (1 - chance)


def _hard_labels(graph: LabelGraph, y: Indices) -> Indices:
    soft = graph.of_versions([y]).soft_labels[:, 0]
    hard: Indices = soft.argmax(dim=1).numpy()
    return hard
