"""What a table is like, before any label is seen: which learners may suit it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.neighbors import NearestNeighbors

Array = NDArray[np.float64]

#: Rows that are measured, halvings of the columns, and neighbours of a row.
MAX_ROWS, N_HALVINGS, N_NEIGHBORS = 1000, 2, 5
#: Columns, and explained share, at which a graph is as likely to help as not.
MANY_COLUMNS, ENOUGH_EXPLAINED = 30, 0.35
#: Explained share below which neighbours say nothing.
UNEXPLAINED = 0.15
#: Stabilities of the graph's labels between which it suits a table in any case, and how
#: well then.
UNSTABLE, STABLE, STABLE_SUITS = 0.8, 0.95, 0.5
#: Weight of the supervised role between tables that a graph suits and all others.
LEAST_SUPERVISED, MOST_SUPERVISED = 0.1, 0.85
#: Prior weight of clusters, beside one of all other learners, and where neighbours of
#: rows of many columns say nothing.
CLUSTERS, CLUSTERS_ALONE = 0.25, 1.0


@dataclass(frozen=True)
class TableTraits:
    """Number of columns, and how far they repeat each other.

    Pixels of pictures, or bands of spectra, are many columns that say the same: rows
    that are near by some of the columns are near by the others, and mostly of one
    class. Columns of ordinary tables are few, or each of its own kind.

    Attributes
    ----------
    n_columns : int
        Number of columns; a category is one each.
    explained : float
        Share of the variance of the columns that the mean of the five nearest rows
        explains, by distances in a random half of the columns, of the other half's.
    """

    n_columns: int
    explained: float

    @classmethod
    def measure(cls, x: NDArray[np.float32], seed: int) -> Self:
        """Measure rows of standardised columns, shape (n, n_columns)."""
        rng = np.random.RandomState(seed)
        sample = x[rng.permutation(len(x))[:MAX_ROWS]].astype(np.float64)
        n_columns = sample.shape[1]
        if n_columns < 2 or len(sample) <= N_NEIGHBORS:
            return cls(n_columns, 0.0)
        explained = []
        for _ in range(N_HALVINGS):
            halves = np.array_split(rng.permutation(n_columns), 2)
            explained += [
                _explain(sample[:, a], sample[:, b]) for a, b in (halves, halves[::-1])
            ]
        return cls(n_columns, float(np.mean(explained)))

    @property
    def suits_graph(self) -> float:
        """How likely nearest rows are of one class, from 0 to 1."""
        return self._has_many_columns * float(
            expit(8 * (self.explained - ENOUGH_EXPLAINED))
        )

    def supervised(self, stability: float) -> float:
        """Return the prior weight of the supervised role.

        Parameters
        ----------
        stability : float
            Of the graph's soft labels, by `measure_stability`.
        """
        rise = np.clip((stability - UNSTABLE) / (STABLE - UNSTABLE), 0, 1)
        suits = max(self.suits_graph, STABLE_SUITS * float(rise))
        return MOST_SUPERVISED - (MOST_SUPERVISED - LEAST_SUPERVISED) * suits

    @property
    def clusters(self) -> float:
        """Prior weight of clusters, beside one of all other learners together."""
        alone = self._has_many_columns * expit(20 * (UNEXPLAINED - self.explained))
        return CLUSTERS + (CLUSTERS_ALONE - CLUSTERS) * float(alone)

    @property
    def _has_many_columns(self) -> float:
        return float(expit(2 * np.log(self.n_columns / MANY_COLUMNS)))


def _explain(near: Array, x: Array) -> float:
    """Return the share of the variance of x that means of the nearest rows explain."""
    index = NearestNeighbors(n_neighbors=N_NEIGHBORS).fit(near)
    neighbors = index.kneighbors(return_distance=False)
    error = np.mean((x - x[neighbors].mean(axis=1)) ** 2, axis=0)
    # A mean of five draws errs by a fifth more than the expected value.
    error /= 1 + 1 / N_NEIGHBORS
    variance = x.var(axis=0)
    varies = variance > 1e-9
    return float(np.mean(1 - error[varies] / variance[varies])) if varies.any() else 0.0
