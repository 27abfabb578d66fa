"""Soft labels from a graph of nearest neighbours, and how far to trust them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import splu
from scipy.special import expit
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import NearestNeighbors
from sklearn.svm import SVC

from skebm.training import RowGraph

N_NEIGHBORS = 5
SHARPNESS = 6.0
RADIUS_NEIGHBORS = 10
RADIUS_FACTOR = 1.2
RADIUS_ROWS = 2000
MAX_GRAPH_ROWS = 20_000
MAX_JUDGES = 1000
N_FOLDS = 5
MIN_TRUST = 0.2


@dataclass(frozen=True)
class LabelGraph:
    """What the neighbours of the rows tell.

    Attributes
    ----------
    rows : RowGraph or None
        Soft labels of the rows; None where no row lacks a label.
    trust : float
        0 to 1: how well the graph predicts labelled rows that are left out in turn,
        and whether better than a supervised classifier does.
    radius : float
        Length of the virtual adversarial perturbation, in standardised units.
    """

    rows: RowGraph | None
    trust: float
    radius: float


def build_graph(Z, codes, rows, n_classes, rng):
    r"""Propagate the labels of some rows along a graph of nearest neighbours.

    .. math:: w_{ij} = e^{-6 |z_i - z_j|^2 / (\sigma_i \sigma_j)}, \qquad
              (D - W)_{uu} F_u = W_{ul} Y_l

    with :math:`\sigma_i` the distance to the fifth neighbour: F holds the
    probabilities that a random walk from a row ends at a label of each class. They are
    scaled, by turns, to sum to one a row and to the labelled rows' shares of the
    classes.

    Parameters
    ----------
    Z : ndarray of shape (n, n_features)
        Standardised rows.
    codes : ndarray of shape (n,)
        Class numbers, -1 where unlabelled.
    rows : ndarray of int
        The training rows; the others stay out of the graph.
    n_classes : int
        Number of classes.
    rng : RandomState
        Chooses the rows where there are too many.

    Returns
    -------
    graph : LabelGraph

    References
    ----------
    Zhu, Ghahramani, Lafferty. Semi-supervised learning using Gaussian fields and
    harmonic functions. ICML 2003. Zelnik-Manor, Perona. Self-tuning spectral
    clustering. NeurIPS 2004.
    """
    rows = _choose_rows(codes, rows, rng)
    n_neighbors = min(RADIUS_NEIGHBORS, len(rows) - 1)
    index = NearestNeighbors(n_neighbors=n_neighbors).fit(Z[rows])
    if (codes[rows] >= 0).all():
        sample = rows[rng.permutation(len(rows))[:RADIUS_ROWS]]
        distances = index.kneighbors(Z[sample], n_neighbors + 1)[0][:, 1:]
        return LabelGraph(None, 0.0, _radius(distances))
    distances, neighbors = index.kneighbors()
    radius = _radius(distances)
    k = min(N_NEIGHBORS, n_neighbors)
    weights = _affinities(distances[:, :k], neighbors[:, :k])
    known = codes[rows]
    trust = _trust(weights, Z[rows], known, n_classes, rng)
    soft_labels = _propagate(weights, known, n_classes)
    entropy = -(soft_labels * np.log(soft_labels + 1e-12)).sum(axis=1)
    confidence = np.clip(1 - entropy / math.log(n_classes), 0, 1)
    graph = _scatter(len(Z), rows, soft_labels, confidence, neighbors[:, :k])
    return LabelGraph(graph, trust, radius)


def _choose_rows(codes, rows, rng):
    """Keep all labelled rows and as many others as the graph may hold."""
    if len(rows) <= MAX_GRAPH_ROWS:
        return rows
    order = rng.permutation(rows)
    labeled = order[codes[order] >= 0][: MAX_GRAPH_ROWS // 2]
    unlabeled = order[codes[order] < 0][: MAX_GRAPH_ROWS - len(labeled)]
    return np.sort(np.concatenate([labeled, unlabeled]))


def _radius(distances):
    """Return 1.2 times the median growth of the distance from first to tenth.

    Where distances concentrate, as in isotropic data of many columns, it is small.
    """
    growth = float(np.median(distances[:, -1] - distances[:, 0]))
    return RADIUS_FACTOR * max(growth, 1e-3)


def _affinities(distances, neighbors):
    n_rows, k = distances.shape
    scale = distances[:, -1] + 1e-12
    start = np.repeat(np.arange(n_rows), k)
    end = neighbors.ravel()
    exponent = SHARPNESS * distances.ravel() ** 2 / (scale[start] * scale[end])
    # A little of each edge stays, so that no row is cut off from its neighbours.
    one_way = sparse.csr_array(
        (np.exp(-exponent) + 1e-9, (start, end)), shape=(n_rows, n_rows)
    )
    return ((one_way + one_way.T) / 2).tocsr()


def _propagate(weights, codes, n_classes):
    """Return class probabilities of the rows; labelled rows keep their label."""
    hidden, labeled = np.flatnonzero(codes < 0), np.flatnonzero(codes >= 0)
    one_hot = np.eye(n_classes)[codes[labeled]]
    degree = np.asarray(weights.sum(axis=1)).ravel()
    # The walk may also stop without a label: rows that reach none stay undecided.
    diagonal = degree[hidden] * (1 + 1e-9) + 1e-4 * degree.mean()
    among = weights[hidden]
    system = sparse.diags_array(diagonal) - among[:, hidden]
    solver = splu(
        sparse.csc_matrix(system),
        permc_spec="MMD_AT_PLUS_A",
        options={"SymmetricMode": True},
    )
    soft = np.zeros((len(codes), n_classes))
    soft[labeled] = one_hot
    soft[hidden] = np.maximum(solver.solve(among[:, labeled] @ one_hot), 0)
    shares = one_hot.mean(axis=0)
    for _ in range(50):
        soft = soft * (shares / np.maximum(soft.mean(axis=0), 1e-12)) + 1e-9
        soft /= soft.sum(axis=1, keepdims=True)
    soft[labeled] = one_hot
    return soft


def _trust(weights, Z, codes, n_classes, rng):
    r"""Judge the graph by labelled rows left out in turn.

    .. math:: \kappa^2 \, \mathrm{sigmoid}(2 z + 1), \qquad
              \kappa = \frac{a - 1/K}{1 - 1/K}

    a the graph's accuracy on them, z the paired difference to a support vector
    classifier of the labelled rows, in standard errors. Below 0.2 it is zero: even a
    small weight wins where the labelled loss has come to zero.
    """
    counts = np.bincount(codes[codes >= 0], minlength=n_classes)
    if (counts > 0).sum() < 2:
        return 0.0  # a graph with labels of one class only says that class
    several = counts >= 2
    if several.sum() < 2:
        return 1.0  # one label a class leaves nothing to judge by
    judges = np.flatnonzero((codes >= 0) & several[codes])
    judges = rng.permutation(judges)[:MAX_JUDGES]
    labels = codes[judges]
    n_folds = min(N_FOLDS, counts[several].min())
    by_graph, by_labels = np.zeros(len(judges)), np.zeros(len(judges))
    for train, test in StratifiedKFold(n_folds).split(judges, labels):
        partly = codes.copy()
        partly[judges[test]] = -1
        guess = _propagate(weights, partly, n_classes)[judges[test]].argmax(axis=1)
        by_graph[test] = guess == labels[test]
        supervised = SVC(C=10.0, random_state=0).fit(Z[judges[train]], labels[train])
        by_labels[test] = supervised.predict(Z[judges[test]]) == labels[test]
    difference = by_graph - by_labels
    error = difference.std() / math.sqrt(len(judges)) + 0.5 / len(judges)
    kappa = max(0.0, (by_graph.mean() - 1 / n_classes) / (1 - 1 / n_classes))
    trust = kappa**2 * float(expit(2 * difference.mean() / error + 1))
    return trust if trust > MIN_TRUST else 0.0


def _scatter(n_rows, rows, soft_labels, confidence, neighbors):
    """Return the graph by row numbers of the table; rows outside have no confidence."""
    all_labels = np.full((n_rows, soft_labels.shape[1]), 1 / soft_labels.shape[1])
    all_confidence = np.zeros(n_rows)
    all_neighbors = np.tile(np.arange(n_rows)[:, None], neighbors.shape[1])
    all_labels[rows], all_confidence[rows] = soft_labels, confidence
    all_neighbors[rows] = rows[neighbors]
    return RowGraph(
        torch.from_numpy(all_labels).float(),
        torch.from_numpy(all_confidence).float(),
        torch.from_numpy(all_neighbors),
    )
