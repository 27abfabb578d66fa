"""Rows beyond those of a graph, by the nearest of its rows, their anchors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from skebm.semi_supervised.graph._propagation import SHARPNESS
from skebm.utils import phase

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

#: Pairs of rows and anchors up to which all are compared.
MAX_PAIRS = 100_000_000
#: Trees of the anchors, and anchors in a leaf.
N_TREES, LEAF_ANCHORS = 4, 256
CHUNK_ROWS = 8192


@dataclass(frozen=True, eq=False)
class Anchored:
    """Rows outside a graph, and how they hang on its rows.

    Attributes
    ----------
    rows : ndarray of int of shape (m,)
        Indices of the table's rows that are outside.
    y : ndarray of int of shape (m,)
        Their class indices, -1 where unlabelled.
    anchors : Tensor of int64 of shape (m, k)
        Places, among the graph's rows, of the nearest, by their distance.
    weights : Tensor of shape (m, k)
        Of the anchors' soft labels in those of the row, of sum one.
    """

    rows: Indices
    y: Indices
    anchors: Tensor
    weights: Tensor

    @classmethod
    def of(
        cls,
        features: NDArray[np.floating],
        scale: Array,
        others: NDArray[np.floating],
        rows: Indices,
        y: Indices,
        rng: np.random.RandomState,
        *,
        n_anchors: int,
    ) -> Self:
        r"""Find the nearest anchors of rows, and their weights.

        .. math:: w_{ij} \propto e^{-6 |z_i - z_j|^2 / (\sigma_i \sigma_j)}

        as between rows of the graph, with :math:`\sigma_i` the distance to the last
        anchor: the harmonic class probabilities of a row that has these edges alone
        are the weighted mean of theirs.

        Parameters
        ----------
        features : ndarray of shape (n, n_features)
            Rows of the graph.
        scale : ndarray of shape (n,)
            Distances of these to their own last neighbours.
        others : ndarray of shape (m, n_features)
            The rows outside.
        rows, y : ndarray of shape (m,)
            Indices of these in the table, and their class indices.
        rng : RandomState
            Of the trees.
        n_anchors : int
            Anchors of a row.
        """
        distances, anchors = nearest_anchors(features, others, n_anchors, rng)
        own = distances[:, -1:] + 1e-12
        exponent = -SHARPNESS * distances**2 / (own * (scale[anchors] + 1e-12))
        weights = np.exp(exponent - exponent.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        return cls(
            rows, y, torch.from_numpy(anchors), torch.from_numpy(weights).float()
        )

    def soft_labels(self, of_anchors: Tensor) -> Tensor:
        """Return the means of the anchors' soft labels, (m, n_classes); labels stay.

        Parameters
        ----------
        of_anchors : Tensor of shape (n, n_classes)
            Soft labels of the graph's rows.
        """
        soft = torch.zeros((len(self.rows), of_anchors.shape[1]))
        for anchors, weights in zip(self.anchors.T, self.weights.T, strict=True):
            soft.addcmul_(of_anchors[anchors], weights[:, None])
        known = torch.from_numpy(np.flatnonzero(self.y >= 0))
        soft[known] = torch.eye(soft.shape[1])[torch.from_numpy(self.y)[known]]
        return soft


def nearest_anchors(
    anchors: NDArray[np.floating],
    rows: NDArray[np.floating],
    k: int,
    rng: np.random.RandomState,
) -> tuple[Array, Indices]:
    """Return the distances of rows to their k nearest anchors, and their indices.

    Of many rows or anchors some are missed: random trees halve the anchors, and a row
    is compared with those in its leaves.

    Parameters
    ----------
    anchors : ndarray of shape (n, n_features)
        More than k.
    rows : ndarray of shape (m, n_features)
    k : int
        Anchors of a row.
    rng : RandomState
        Of the trees; nothing is drawn where all are compared.
    """
    if len(anchors) * len(rows) <= MAX_PAIRS or len(anchors) <= LEAF_ANCHORS:
        return NearestNeighbors(n_neighbors=k).fit(anchors).kneighbors(rows)
    centre = anchors.mean(axis=0)
    near = torch.from_numpy(np.asarray(anchors - centre, dtype=np.float32))
    far = torch.from_numpy(np.asarray(rows - centre, dtype=np.float32))
    distances = torch.full((len(rows), k), torch.inf)
    found = torch.zeros((len(rows), k), dtype=torch.int64)
    n_done = 0
    with phase("nearest rows of the graph", N_TREES * len(far)) as told:
        for _ in range(N_TREES):
            everything = torch.arange(len(near)), torch.arange(len(far))
            for leaf, there in split_both(near, far, *everything, rng):
                for some in there.split(CHUNK_ROWS):
                    _compare(near, far, leaf, some, distances, found)
                n_done += len(there)
                told.done(n_done)
    return distances.sqrt().double().numpy(), found.numpy()


def split_both(
    anchors: Tensor,
    rows: Tensor,
    leaf: Tensor,
    there: Tensor,
    rng: np.random.RandomState,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield leaves of a random tree of the anchors, and the rows that fall there."""
    if not len(there):
        return
    if len(leaf) <= LEAF_ANCHORS:
        yield leaf, there
        return
    one, other = leaf[torch.from_numpy(rng.choice(len(leaf), 2, replace=False))]
    line = anchors[one] - anchors[other]
    along, of_rows = anchors[leaf] @ line, rows[there] @ line
    order = along.argsort()
    half = len(leaf) // 2
    is_low = of_rows < along[order[half]]
    yield from split_both(anchors, rows, leaf[order[:half]], there[is_low], rng)
    yield from split_both(anchors, rows, leaf[order[half:]], there[~is_low], rng)


def _compare(
    anchors: Tensor,
    rows: Tensor,
    leaf: Tensor,
    there: Tensor,
    distances: Tensor,
    found: Tensor,
) -> None:
    """Keep the nearest of what rows have found and of the anchors of a leaf, once."""
    near, far, k = anchors[leaf], rows[there], found.shape[1]
    squares = (near**2).sum(dim=1) - 2 * far @ near.T
    places = squares.topk(min(k, len(leaf)), largest=False).indices
    # Differences are exact where rows are equal, which products are not.
    new = (near[places] - far[:, None]).square_().sum(dim=2)
    joined = torch.cat([found[there], leaf[places]], dim=1)
    both = torch.cat([distances[there], new], dim=1)
    joined, order = joined.sort(dim=1, stable=True)
    both = both.gather(1, order)
    # Of an anchor found twice, the later finding stays: where nothing was found yet
    # stands an infinite distance.
    both[:, :-1][joined[:, 1:] == joined[:, :-1]] = torch.inf
    distances[there], nearest = both.topk(k, largest=False)
    found[there] = joined.gather(1, nearest)
