"""Nearest rows: exact in small tables, by random trees and refinement in large ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from skebm.utils import phase

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

#: Rows up to which the search is exact: its time grows as their square.
MAX_EXACT = 20_000
#: Columns beyond which, from so many rows, all pairs are compared: a tree of boxes,
#: which scikit-learn takes up to 15 columns, is slower there.
MAX_BOXED, MANY_ROWS = 10, 5000
N_TREES = 6
LEAF_ROWS = 400
#: Times that the neighbours of the neighbours become candidates.
N_REFINES = 3
CHUNK_ROWS = 2000


def find_nearest(
    Z: NDArray[np.floating], k: int, rng: np.random.RandomState
) -> tuple[Array, Indices]:
    """Return the distances to the k nearest other rows, and their indices.

    Above 20 000 rows some are missed. Random trees halve the rows, at the median along
    the line through two of them, to leaves whose rows are compared with each other;
    then the neighbours of each row's neighbours are compared with it.

    Parameters
    ----------
    Z : ndarray of shape (n, n_features)
        Rows, more than k.
    k : int
        Number of neighbours.
    rng : RandomState
        Of the trees; nothing is drawn where the search is exact.

    Returns
    -------
    distances, neighbors : ndarray of shape (n, k)
        Sorted by distance.

    References
    ----------
    Dong, Moses, Li. Efficient k-nearest neighbor graph construction for generic
    similarity measures. WWW 2011.
    """
    if len(Z) <= MAX_EXACT:
        compares_all = len(Z) >= MANY_ROWS and Z.shape[1] > MAX_BOXED
        algorithm = "brute" if compares_all else "auto"
        index = NearestNeighbors(n_neighbors=k, algorithm=algorithm).fit(Z)
        distances, neighbors = index.kneighbors()
        return distances, neighbors
    centred = torch.from_numpy(np.asarray(Z - Z.mean(axis=0), dtype=np.float32))
    found = Candidates.none(len(Z), k)
    with phase("neighbours of the graph", N_TREES + N_REFINES) as told:
        for i in range(N_TREES):
            for leaf in split_rows(centred, np.arange(len(Z)), rng):
                found.compare_all(centred, torch.from_numpy(leaf))
            told.done(i + 1)
        for i in range(N_REFINES):
            found.refine(centred)
            told.done(N_TREES + i + 1)
    return found.distances.sqrt().double().numpy(), found.neighbors.numpy()


def split_rows(
    Z: Tensor, rows: Indices, rng: np.random.RandomState
) -> Iterator[Indices]:
    """Yield leaves of a random tree of the rows; each has at most `LEAF_ROWS`."""
    if len(rows) <= LEAF_ROWS:
        yield rows
        return
    one, other = rng.choice(rows, 2, replace=False)
    along = (Z[torch.from_numpy(rows)] @ (Z[one] - Z[other])).numpy()
    # Rows that tie are split as well: a leaf of many equal rows would be slow.
    order = rows[np.argpartition(along, len(rows) // 2)]
    yield from split_rows(Z, order[: len(rows) // 2], rng)
    yield from split_rows(Z, order[len(rows) // 2 :], rng)


@dataclass(frozen=True, eq=False)
class Candidates:
    """The nearest rows that were found so far, of each row.

    Attributes
    ----------
    distances : Tensor of shape (n, k)
        Squared distances, sorted; infinite where none was found.
    neighbors : Tensor of int of shape (n, k)
        Indices of the rows; a row itself where none was found.
    """

    distances: Tensor
    neighbors: Tensor

    @classmethod
    def none(cls, n_rows: int, k: int) -> Candidates:
        """Return candidates of which none was found."""
        neighbors = torch.arange(n_rows)[:, None].repeat(1, k)
        return cls(torch.full((n_rows, k), torch.inf), neighbors)

    def compare_all(self, Z: Tensor, rows: Tensor) -> None:
        """Compare some rows with each other."""
        part = Z[rows]
        squares = (part**2).sum(dim=1)
        distances = squares[:, None] + squares - 2 * part @ part.T
        distances.fill_diagonal_(torch.inf)
        k = min(self.neighbors.shape[1], len(rows) - 1)
        near = distances.topk(k, largest=False).indices
        self.add(Z, rows, rows[near])

    def refine(self, Z: Tensor) -> None:
        """Compare each row with the neighbours of its neighbours."""
        before = self.neighbors.clone()
        for rows in torch.arange(len(Z)).split(CHUNK_ROWS):
            self.add(Z, rows, before[before[rows]].flatten(1))

    def add(self, Z: Tensor, rows: Tensor, others: Tensor) -> None:
        """Keep the nearest of what was found and of other rows, each once."""
        difference = Z[others]
        difference -= Z[rows, None]
        distances = difference.square_().sum(dim=2)
        distances[others == rows[:, None]] = torch.inf
        joined = torch.cat([self.neighbors[rows], others], dim=1)
        distances = torch.cat([self.distances[rows], distances], dim=1)
        joined, order = joined.sort(dim=1)
        distances = distances.gather(1, order)
        distances[:, 1:][joined[:, 1:] == joined[:, :-1]] = torch.inf
        k = self.neighbors.shape[1]
        self.distances[rows], nearest = distances.topk(k, largest=False)
        self.neighbors[rows] = joined.gather(1, nearest)
