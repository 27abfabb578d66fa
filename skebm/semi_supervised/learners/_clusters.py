"""Classes of clusters: mixtures of many rows, whose parts take the labels in them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

#: Parts of each mixture, in numbers of classes, and the shapes of the parts.
PARTS_A_CLASS = (1, 2, 4, 8)
SHAPES = ("spherical", "diag")
#: Most rows that a mixture is fitted to, and least of them for each part.
MAX_ROWS, ROWS_A_PART = 2000, 10
#: Beyond so many columns, mixtures are of their first components.
N_COMPONENTS = 32
MAX_STEPS = 20
#: Least variance of a part, in standardised units.
MIN_VARIANCE = 1e-2
#: Worth, in labels, of the class frequencies in each part.
PRIOR_LABELS = 0.5
CHUNK_ROWS = 4096


@dataclass(frozen=True, eq=False)
class Clusters:
    """Mixtures of Gaussians of several sizes, fitted to rows without their labels.

    Attributes
    ----------
    mixtures : list of tuple
        Index of a view of the rows, its principal components or None, and a mixture.
    """

    mixtures: list[tuple[int, PCA | None, GaussianMixture]]

    @classmethod
    def fit(cls, views: Sequence[Array], n_classes: int, seed: int) -> Self:
        """Fit mixtures to at most 2000 rows of each view.

        Parameters
        ----------
        views : sequence of ndarray of shape (n, n_columns)
            The same rows in several units.
        n_classes : int
            Number of classes.
        seed : int
            Draws rows and starts.
        """
        order = np.random.RandomState(seed).permutation(len(views[0]))[:MAX_ROWS]
        sizes = [min(k * n_classes, len(order) // ROWS_A_PART) for k in PARTS_A_CLASS]
        mixtures = []
        for i, view in enumerate(views):
            rows, components = view[order], None
            if min(rows.shape) > N_COMPONENTS:
                components = PCA(N_COMPONENTS, random_state=seed).fit(rows)
                rows = components.transform(rows)
            for shape in SHAPES:
                for size in sorted(set(sizes)):
                    mixture = _fit_mixture(rows, max(size, 1), shape, seed)
                    mixtures.append((i, components, mixture))
        return cls(mixtures)

    def parts(self, views: Sequence[Array]) -> list[Array]:
        """Return p(part | x) by each mixture, of shape (n, n_parts)."""
        found = []
        for i, components, mixture in self.mixtures:
            rows = views[i] if components is None else components.transform(views[i])
            found.append(mixture.predict_proba(rows))
        return found


def _fit_mixture(rows: Array, size: int, shape: str, seed: int) -> GaussianMixture:
    """Return a mixture; it need not have converged."""
    mixture = GaussianMixture(
        size,
        covariance_type=shape,
        reg_covar=MIN_VARIANCE,
        max_iter=MAX_STEPS,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # few steps are intended
        return mixture.fit(rows)


class ClusterClassifier:
    r"""Classes of the parts of mixtures, from the labels in them.

    .. math:: p(y | x) = \frac{1}{M} \sum_m \sum_k p_m(k | x)
              \frac{a \kappa_y + \sum_i v_i p_m(k | x_i) [y_i = y]}
                   {a + \sum_i v_i p_m(k | x_i)}

    the mean, over M mixtures of unlabelled rows, of the posterior means of the parts'
    class frequencies under a Dirichlet prior about those of all labels, :math:`\kappa`,
    worth a = 1/2 label.

    Parameters
    ----------
    clusters : Clusters
        Fitted mixtures.
    n_views : int
        Views that features of rows consist of, side by side.
    """

    def __init__(self, clusters: Clusters, n_views: int):
        self.clusters = clusters
        self.n_views = n_views

    def fit(self, x: Array, y: Indices, weight: Array) -> Self:
        """Learn the classes of the parts from labelled rows."""
        self.classes_ = np.unique(y)
        votes = (y[:, None] == self.classes_) * weight[:, None]
        shares = votes.sum(axis=0) / votes.sum()
        self.of_part_ = []
        for part in self._parts(x):
            count = part.T @ votes
            total = count.sum(axis=1, keepdims=True) + PRIOR_LABELS
            self.of_part_.append((count + PRIOR_LABELS * shares) / total)
        return self

    def predict_proba(self, x: Array) -> Array:
        """Return p(y | x), of shape (n, n_classes)."""
        found = np.empty((len(x), len(self.classes_)))
        for start in range(0, len(x), CHUNK_ROWS):
            rows = slice(start, start + CHUNK_ROWS)
            pairs = zip(self._parts(x[rows]), self.of_part_, strict=True)
            found[rows] = np.mean([part @ of_part for part, of_part in pairs], axis=0)
        return found

    def _parts(self, x: Array) -> list[Array]:
        return self.clusters.parts(np.split(x, self.n_views, axis=1))
