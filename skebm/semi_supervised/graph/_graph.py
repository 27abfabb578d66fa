"""Soft labels of a table's rows along a graph of nearest neighbours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from skebm.semi_supervised.graph._anchors import Anchored
from skebm.semi_supervised.graph._neighbors import find_nearest
from skebm.semi_supervised.graph._prior_classifier import GraphPriors, choose_priors
from skebm.semi_supervised.graph._propagation import (
    compute_affinities,
    match_priors,
    propagate_labels,
)
from skebm.semi_supervised.graph._sharpness import fit_sharpness, sharpen
from skebm.semi_supervised.labels._held_out_labels import HeldOutLabels
from skebm.training import RowGraph

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

N_NEIGHBORS = 5
RADIUS_NEIGHBORS = 10
RADIUS_FACTOR = 1.2
RADIUS_ROWS = 2000
#: Columns beyond which the ball stays round: its shape costs their number cubed.
MAX_SHAPED = 2000
#: Rows of a graph, on which others hang; and of the part by which its class priors are
#: chosen, which takes some thirty solutions.
MAX_GRAPH_ROWS, MAX_PILOT_ROWS = 60_000, 10_000
#: Beyond that part, rows of more columns are compared by their first components: it is
#: quicker, and what is left out is noise for the most part.
MAX_COLUMNS, N_COMPONENTS = 100, 50
#: Rows that give the components.
COMPONENT_ROWS = 5000
N_OF_EACH_CLASS = 10
#: Rows by which the sharpness is chosen where no label can be held out.
N_JUDGED = 1000
#: Exponent of the certainty: rows with uncertain soft labels have nearly full weight.
CONFIDENCE_POWER = 0.3


@dataclass(frozen=True, eq=False)
class Edges:
    """Edges of a graph of nearest neighbours.

    Attributes
    ----------
    affinities : sparse array of shape (n, n)
        Their weights.
    neighbors : ndarray of int of shape (n, n_neighbors)
        Indices, among the n rows, of the nearest.
    """

    affinities: sparse.csr_array
    neighbors: Indices

    @classmethod
    def of(cls, distances: Array, neighbors: Indices) -> Self:
        """Return the edges to the first `N_NEIGHBORS` of the neighbours."""
        distances, neighbors = distances[:, :N_NEIGHBORS], neighbors[:, :N_NEIGHBORS]
        return cls(compute_affinities(distances, neighbors), neighbors)


@dataclass(frozen=True, eq=False)
class LabelGraph:
    """A graph of nearest neighbours over training rows, and their labels.

    Attributes
    ----------
    rows : ndarray of int of shape (n,)
        Indices of the table's rows that are in the graph.
    y : ndarray of int of shape (n,)
        Their class indices, -1 where unlabelled.
    radius : float
        Length of the virtual adversarial perturbation, in standardised units.
    priors : GraphPriors
        Class priors of the unlabelled rows, and the weight of a supervised classifier.
    edges : Edges or None, default=None
        None where no row lacks a label, or fewer than two classes have one.
    shape : ndarray of shape (n_features, n_features) or None, default=None
        Square root of the second moment of the differences between neighbours.
    sharpness : float, default=1.0
        Power of the soft labels, by `fit_sharpness`.
    anchored : Anchored or None, default=None
        The training rows outside the graph; None where it holds all.
    """

    rows: Indices
    y: Indices
    radius: float
    priors: GraphPriors
    edges: Edges | None = None
    shape: NDArray[np.float32] | None = None
    sharpness: float = 1.0
    anchored: Anchored | None = None

    @property
    def other_rows(self) -> Indices:
        """Indices of the training rows that are outside the graph."""
        return np.empty(0, int) if self.anchored is None else self.anchored.rows

    @property
    def class_priors(self) -> Array:
        """Class priors of the unlabelled rows, shape (n_classes,)."""
        return self.priors.class_priors

    @property
    def labeled_shares(self) -> Array:
        """Class shares of the labelled rows, shape (n_classes,)."""
        counts = np.bincount(self.y[self.y >= 0], minlength=len(self.class_priors))
        return counts / counts.sum()

    def with_class_priors(self, class_priors: Array) -> LabelGraph:
        """Return a copy whose soft labels match other class priors."""
        return replace(self, priors=replace(self.priors, class_priors=class_priors))

    def of_table(self, n_rows: int) -> RowGraph | None:
        """Return the graph by row indices of the table, or None without edges.

        Training rows outside have the mean soft labels of their anchors, which are
        their neighbours; rows that are not trained on have no confidence.

        Parameters
        ----------
        n_rows : int
            Rows of the table.
        """
        if self.edges is None:
            return None
        inside = self.of_versions([self.y])
        n_classes = len(self.class_priors)
        even, dtype = 1 / n_classes, inside.soft_labels.dtype
        soft_labels = torch.full((n_rows, 1, n_classes), even, dtype=dtype)
        confidence = torch.zeros((n_rows, 1), dtype=dtype)
        neighbors = np.tile(np.arange(n_rows)[:, None], inside.neighbors.shape[1])
        soft_labels[self.rows] = inside.soft_labels
        confidence[self.rows] = inside.confidence
        neighbors[self.rows] = self.rows[self.edges.neighbors]
        if self.anchored is not None:
            others = self.anchored.rows
            soft = self.anchored.soft_labels(inside.soft_labels[:, 0])
            soft_labels[others] = soft[:, None]
            confidence[others] = confidence_of(soft)[:, None]
            neighbors[others] = self.rows[self.anchored.anchors.numpy()]
        return RowGraph(soft_labels, confidence, torch.from_numpy(neighbors))

    def of_versions(self, versions: Sequence[Indices]) -> RowGraph:
        """Return the graph of its n rows, with soft labels by each version of y.

        Parameters
        ----------
        versions : sequence of ndarray of int of shape (n,)
            Class indices, -1 where unlabelled.
        """
        assert self.edges is not None
        soft = np.stack([self._soft_labels(y) for y in versions], axis=1)
        labels = torch.from_numpy(soft)
        return RowGraph(
            labels.float(),
            confidence_of(labels).float(),
            torch.from_numpy(self.edges.neighbors),
        )

    def _soft_labels(self, y: Indices) -> Array:
        assert self.edges is not None
        priors = self.priors
        n_classes = len(priors.class_priors)
        soft = propagate_labels(self.edges.affinities, y, n_classes, priors.labels(y))
        matched = match_priors(soft, y, priors.class_priors)
        return matched if self.sharpness == 1 else sharpen(matched, self.sharpness)

    def sharpened(self, rng: np.random.RandomState) -> LabelGraph:
        """Return a copy whose soft labels are as sure as held-out labels allow.

        Where none can be held out, labels of other rows, of the classes that the soft
        labels give them, take their place.
        """
        held_out = HeldOutLabels.choose(self.y, len(self.class_priors), rng)
        if held_out is None:
            found = self._soft_labels(self.y).argmax(axis=1)
            soft = self._soft_labels(draw_labels(found, self.y, rng))
            some = rng.permutation(len(found))[:N_JUDGED]
            return replace(self, sharpness=fit_sharpness(soft[some], found[some]))
        soft = np.empty((len(held_out), len(self.class_priors)))
        for fold in range(held_out.n_folds):
            place = np.flatnonzero(held_out.folds == fold)
            known = held_out.hide(self.y, fold)
            soft[place] = self._soft_labels(known)[held_out.rows[place]]
        return replace(self, sharpness=fit_sharpness(soft, held_out.labels))


def confidence_of(soft: Tensor) -> Tensor:
    """Return the weights of soft labels, (..., n_classes), by their certainty."""
    entropy = -(soft * (soft + 1e-12).log()).sum(dim=-1)
    certainty = (1 - entropy / math.log(soft.shape[-1])).clamp(0, 1)
    return certainty**CONFIDENCE_POWER


def draw_labels(found: Indices, y: Indices, rng: np.random.RandomState) -> Indices:
    """Label as many rows of each found class as have labels in y; -1 elsewhere."""
    drawn = np.full(len(y), -1)
    counts = np.bincount(y[y >= 0])
    for k in np.flatnonzero(counts):
        rows = np.flatnonzero(found == k)
        drawn[rng.permutation(rows)[: counts[k]]] = k
    return drawn


def build(
    Z: Array, y: Indices, rows: Indices, n_classes: int, rng: np.random.RandomState
) -> LabelGraph:
    r"""Build the graph of some rows and choose its priors by cross-validation.

    .. math:: w_{ij} = e^{-6 |z_i - z_j|^2 / (\sigma_i \sigma_j)}, \qquad
              (D - W + t \bar d)_{uu} F_u = W_{ul} Y_l + t \bar d H_u

    with :math:`\sigma_i` the distance to the fifth neighbour and :math:`\bar d` the
    mean degree: F holds the probabilities that a random walk from a row ends at a
    label of each class, or stops on its way by the class probabilities H of a
    supervised classifier. They are scaled, by turns, to sum to one a row and to the
    class priors of the unlabelled rows. Cross-validation over the labelled rows chooses
    t, and gives the predictions from which `estimate_priors` finds the class priors.

    Parameters
    ----------
    Z : ndarray of shape (n, n_features)
        Standardised rows.
    y : ndarray of int of shape (n,)
        Class indices, -1 where unlabelled.
    rows : ndarray of int
        Indices of the training rows; the others stay out of the graph.
    n_classes : int
        Number of classes.
    rng : RandomState
        Chooses the rows where there are too many, the folds, and the pairs of
        neighbours that give the shape.

    Returns
    -------
    graph : LabelGraph

    References
    ----------
    Zhu, Ghahramani, Lafferty. Semi-supervised learning using Gaussian fields and
    harmonic functions. ICML 2003. Zelnik-Manor, Perona. Self-tuning spectral
    clustering. NeurIPS 2004.
    """
    known = y[rows]
    # With labels of one class only, every row would get this class.
    has_edges = (known < 0).any() and len(np.unique(known[known >= 0])) >= 2
    of_table, all_rows = y, rows
    rows = choose_rows(y, rows, rng, MAX_GRAPH_ROWS if has_edges else MAX_PILOT_ROWS)
    y = y[rows]
    n_neighbors = min(RADIUS_NEIGHBORS, len(rows) - 1)
    if not has_edges:
        index = NearestNeighbors(n_neighbors=n_neighbors).fit(Z[rows])
        sample = rows[rng.permutation(len(rows))[:RADIUS_ROWS]]
        distances = index.kneighbors(Z[sample], n_neighbors + 1)[0][:, 1:]
        counts = np.bincount(y[y >= 0], minlength=n_classes)
        priors = GraphPriors(counts / counts.sum())
        return LabelGraph(rows, y, choose_radius(distances), priors)
    X, is_large = Z[rows], len(rows) > MAX_PILOT_ROWS
    directions = principal_directions(X, rng) if is_large else None
    features = project(X, directions)
    distances, neighbors = find_nearest(features, n_neighbors, rng)
    edges, anchored = Edges.of(distances, neighbors), None
    if len(rows) < len(all_rows):
        others = np.setdiff1d(all_rows, rows)
        outside = project(Z[others], directions), others, of_table[others], rng
        scale = distances[:, N_NEIGHBORS - 1]
        anchored = Anchored.of(features, scale, *outside, n_anchors=N_NEIGHBORS)
    if is_large:
        priors = _choose_by_part(X, features, y, n_classes, rng)
        sample = rng.permutation(len(rows))[:RADIUS_ROWS]
        distances = np.linalg.norm(X[sample, None] - X[neighbors[sample]], axis=2)
        distances = np.sort(distances, axis=1)
    else:
        priors = choose_priors(edges.affinities, X, y, n_classes, rng)
    shape = shape_of_differences(X, neighbors, rng)
    radius = choose_radius(distances)
    graph = LabelGraph(rows, y, radius, priors, edges, shape, anchored=anchored)
    return graph.sharpened(rng) if is_large else graph


def _choose_by_part(
    X: Array, features: Array, y: Indices, n_classes: int, rng: np.random.RandomState
) -> GraphPriors:
    """Choose the priors of a large graph by that of a part of its rows."""
    part = choose_rows(y, np.arange(len(X)), rng, MAX_PILOT_ROWS)
    edges = Edges.of(*find_nearest(features[part], N_NEIGHBORS, rng))
    priors = choose_priors(edges.affinities, X[part], y[part], n_classes, rng)
    return priors.on_more_rows(X, y, part)


def principal_directions(Z: Array, rng: np.random.RandomState) -> Array | None:
    """Return directions of the first components; None of rows of few columns."""
    if Z.shape[1] <= MAX_COLUMNS:
        return None
    part = Z[rng.permutation(len(Z))[:COMPONENT_ROWS]].astype(np.float64)
    mean = part.mean(axis=0)
    _, _, directions = np.linalg.svd(part - mean, full_matrices=False)
    kept: Array = directions[:N_COMPONENTS].T.astype(Z.dtype)
    return kept


def project(Z: Array, directions: Array | None) -> Array:
    """Return rows along directions; None leaves them as they are."""
    return Z if directions is None else Z @ directions


def choose_rows(
    y: Indices, rows: Indices, rng: np.random.RandomState, most: int
) -> Indices:
    """Draw at most so many rows for the graph; return sorted indices.

    Half of them are labelled, more where unlabelled rows are few.
    """
    if len(rows) <= most:
        return rows
    order = rng.permutation(rows)
    labeled, unlabeled = order[y[order] >= 0], order[y[order] < 0]
    # Some of each class come first, so that a rare one is not lost.
    rank = np.zeros(len(labeled), dtype=int)
    for k in np.unique(y[labeled]):
        of_class = y[labeled] == k
        rank[of_class] = np.arange(of_class.sum())
    labeled = labeled[np.argsort(rank >= N_OF_EACH_CLASS, kind="stable")]
    n_labeled = max(most // 2, most - len(unlabeled))
    labeled = labeled[:n_labeled]
    unlabeled = unlabeled[: most - len(labeled)]
    return np.sort(np.concatenate([labeled, unlabeled]))


def choose_radius(distances: Array) -> float:
    """Return 1.2 times the median growth of the distance, from first to last neighbour.

    Where distances concentrate, as in isotropic data of many columns, it is small.
    """
    growth = float(np.median(distances[:, -1] - distances[:, 0]))
    return RADIUS_FACTOR * max(growth, 1e-3)


def shape_of_differences(
    Z: Array, neighbors: Indices, rng: np.random.RandomState
) -> NDArray[np.float32] | None:
    r"""Return :math:`S = \Lambda^{1/2} V^T` of the neighbours' differences.

    With :math:`V \Lambda V^T` their second moment, scaled to a largest eigenvalue of
    one: the ball is thin where neighbours hardly differ, where classes may be close.
    """
    if Z.shape[1] > MAX_SHAPED:
        return None
    some = rng.permutation(len(Z))[:RADIUS_ROWS]
    moment = np.zeros((Z.shape[1], Z.shape[1]))
    for column in neighbors[some].T:
        difference = (Z[some] - Z[column]).astype(np.float64)
        moment += difference.T @ difference
    variances, directions = np.linalg.eigh(moment)
    relative = np.maximum(variances / max(variances[-1], 1e-300), 1e-9)
    return (directions * np.sqrt(relative)).T.astype(np.float32)
