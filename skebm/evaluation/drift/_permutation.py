"""Statistics of the difference of two tables, and of permutations of their rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from scipy.linalg import eigh
from scipy.spatial.distance import cdist
from scipy.special import gammaln
from scipy.stats import gamma

from skebm.evaluation.drift._features import (
    LEAST_DEVIATION,
    ColumnFeatures,
    coordinates,
)
from skebm.evaluation.drift._pool import Array, Pool

#: Permutations whose statistics are computed at once.
BLOCK = 128
#: Rows that the kernel of all columns is built on.
MAX_LANDMARKS = 1000
#: Shares of the largest eigenvalue at which directions are damped.
LINEAR_DAMPING = 1e-3
KERNEL_DAMPING = 3e-3
#: Principal components whose products are compared, and where they end.
MAX_COMPONENTS = 30
COMPONENT_RANGE = 4.0
#: Directions of a smaller weight are left out.
LEAST_WEIGHT = 0.01
#: Statistics that differ by less, in relation, are equal: rounding.
ROUNDING = 1e-8


@dataclass(frozen=True, eq=False)
class Quadratic:
    """Weighted squares of the differences of means of features.

    Attributes
    ----------
    features : ndarray of shape (n, k)
        Features of mean 0.
    weights : ndarray of shape (k,)
        Weights of the squares.
    """

    features: Array
    weights: Array

    def of(self, contrasts: Array) -> Array:
        """Return the statistic of each contrast, a column of (n, b)."""
        return np.asarray(self.weights @ (self.features.T @ contrasts) ** 2)


def linear(points: Array) -> Quadratic:
    """Return the difference of means by the pooled covariance, that is Hotelling's."""
    values, vectors = np.linalg.eigh(points.T @ points)
    return _damped(points, values, vectors, LINEAR_DAMPING)


def pairs(points: Array) -> Quadratic:
    """Return the difference of means of products of the leading principal components.

    They are the covariances, and by the ranks also the dependence of any form.
    """
    values, vectors = np.linalg.eigh(points.T @ points)
    least = LINEAR_DAMPING * values.max(initial=0.0)
    kept = np.flatnonzero(values > least)[-MAX_COMPONENTS:]
    scores = points @ (vectors[:, kept] / np.sqrt(values[kept] / len(points)))
    scores = scores.clip(-COMPONENT_RANGE, COMPONENT_RANGE)
    first, second = np.triu_indices(scores.shape[1])
    products = scores[:, first] * scores[:, second]
    products -= products.mean(axis=0)
    spread = products.std(axis=0)
    varies = spread > LEAST_DEVIATION
    features = products[:, varies] / spread[varies]
    return Quadratic(features, np.ones(features.shape[1]))


def kernels(points: Array, rng: np.random.RandomState) -> tuple[Quadratic, Quadratic]:
    """Return the difference in the functions of a Laplace kernel, plain and damped.

    The plain one is the maximum mean discrepancy. The damped one weighs directions by
    l / (l + damping l_max), where l is an eigenvalue of the kernel: also those count in
    which the rows vary little.
    """
    marks = rng.permutation(len(points))[:MAX_LANDMARKS]
    distance = cdist(points, points[marks], "cityblock")
    kernel = np.exp(-distance / max(np.median(distance), 1e-12))
    values, vectors = eigh(kernel[marks])
    kept = values > 1e-7 * values[-1]
    features = kernel @ (vectors[:, kept] / np.sqrt(values[kept]))
    features -= features.mean(axis=0)
    features = features[:, features.std(axis=0) > LEAST_DEVIATION]
    plain = Quadratic(features, np.ones(features.shape[1]))
    values, vectors = np.linalg.eigh(features.T @ features)
    return plain, _damped(features, values, vectors, KERNEL_DAMPING)


def _damped(points: Array, values: Array, vectors: Array, damping: float) -> Quadratic:
    """Return the squares along eigenvectors, by eigenvalues and their damping."""
    largest = max(values.max(initial=0.0), 1e-300)
    weights = values / (values + damping * largest)
    kept = weights > LEAST_WEIGHT
    features = points @ (vectors[:, kept] / np.sqrt(values[kept] / len(points)))
    return Quadratic(features, weights[kept])


@dataclass(frozen=True, eq=False)
class ColumnScores:
    """Evidence of each column that its distribution has changed.

    The larger one of - log p of two chi-squared tests: of all its features, and of the
    best one that has a meaning, p by Bonferroni.
    """

    columns: list[ColumnFeatures]

    def of(self, contrasts: Array) -> Array:
        """Return the scores of each contrast, (n_columns, b)."""
        scores = np.zeros((len(self.columns), contrasts.shape[1]))
        for score, column in zip(scores, self.columns, strict=True):
            k, m = column.all.shape[1], column.single.shape[1]
            if not k:
                continue
            squares = ((column.all.T @ contrasts) ** 2).sum(axis=0)
            best = ((column.single.T @ contrasts) ** 2).max(axis=0, initial=0.0)
            by_one = -_log_tail(best / 2, 0.5) - np.log(max(m, 1))
            np.maximum(-_log_tail(squares / 2, k / 2), by_one, out=score)
        return scores


@dataclass(frozen=True, eq=False)
class Largest:
    """The largest square of the differences of means of features.

    Attributes
    ----------
    features : ndarray of shape (n, k)
        Features of mean 0 and variance 1.
    """

    features: Array

    def of(self, contrasts: Array) -> Array:
        """Return the statistic of each contrast, a column of (n, b)."""
        return np.asarray(((self.features.T @ contrasts) ** 2).max(axis=0))


def gaps(pool: Pool) -> Largest | None:
    """Return the change of the share of missing entries; None where none is missing."""
    missing = np.isnan(pool.values).astype(np.float64)
    missing = missing[:, missing.std(axis=0) > 0]
    if not missing.shape[1]:
        return None
    return Largest((missing - missing.mean(axis=0)) / missing.std(axis=0))


def contrasts(
    n_old: int, n_new: int, n_permutations: int, rng: np.random.RandomState
) -> Iterator[Array]:
    """Yield blocks of weights of the rows, the first ones those of the two tables.

    The product of a feature of variance 1 and a contrast is a difference of means,
    whose variance is 1 where the tables are alike.
    """
    n = n_old + n_new
    own = np.repeat([-1 / n_old, 1 / n_new], [n_old, n_new])
    own *= np.sqrt(n_old * n_new / n)
    for start in range(0, n_permutations + 1, BLOCK):
        block = np.empty((min(BLOCK, n_permutations + 1 - start), n))
        for k, row in enumerate(block):
            row[:] = rng.permutation(own) if start + k else own
        yield block.T


@dataclass(frozen=True, eq=False)
class Permuted:
    """Statistics of the two tables, first, and of permutations.

    Attributes
    ----------
    parts : dict of ndarray of shape (1 + n_permutations,)
        By what they look at.
    columns : ndarray of shape (n_columns, 1 + n_permutations)
        Evidence of each column.
    """

    parts: dict[str, Array]
    columns: Array
    combined: Array = field(init=False)

    def __post_init__(self) -> None:
        log_p = np.stack([_log_p(part) for part in self.parts.values()])
        object.__setattr__(self, "combined", -log_p.min(axis=0))

    @property
    def p_value(self) -> float:
        """The p-value of all parts together."""
        return p_value(self.combined)

    @classmethod
    def of(
        cls, pool: Pool, n_permutations: int, rng: np.random.RandomState
    ) -> Permuted:
        """Compute the statistics of a pool of rows."""
        of_columns = ColumnScores(
            [ColumnFeatures.of(pool, j) for j in range(pool.n_columns)]
        )
        plain, damped = kernels(coordinates(pool), rng)
        ranked = coordinates(pool, with_ranks=True)
        statistics: dict[str, Quadratic | Largest] = {
            "means": linear(ranked),
            "pairs": pairs(ranked),
            "distances": plain,
            "regions": damped,
        }
        if (missing := gaps(pool)) is not None:
            statistics["gaps"] = missing
        columns: list[Array] = []
        parts: dict[str, list[Array]] = {name: [] for name in statistics}
        for block in contrasts(pool.n_old, pool.n_new, n_permutations, rng):
            columns.append(of_columns.of(block))
            for name, statistic in statistics.items():
                parts[name].append(statistic.of(block))
        scores = np.concatenate(columns, axis=1)
        joined = {name: np.concatenate(part) for name, part in parts.items()}
        return cls({"columns": scores.max(axis=0), **joined}, scores)


def p_value(statistics: Array, observed: float | None = None) -> float:
    """Return the share of statistics as large as the first one, itself included."""
    least = statistics[0] if observed is None else observed
    return float(np.mean(statistics >= least - ROUNDING * abs(least)))


def _log_p(statistics: Array) -> Array:
    """Return log p of each statistic, by the gamma distribution of their moments.

    It only puts statistics on one scale: all permutations are treated alike, so that no
    error of it makes the test wrong.
    """
    mean, variance = statistics.mean(), statistics.var()
    if variance <= (ROUNDING * mean) ** 2:
        return np.zeros(len(statistics))
    shape = mean**2 / variance
    return _log_tail(statistics * mean / variance, shape)


def _log_tail(x: Array, shape: float) -> Array:
    """Return log P(X > x) of a gamma distribution; of chi-squared ones by halves.

    Where the probability is no float any more, by the tail's leading term.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        log_p = np.asarray(gamma.logsf(x, shape))
        leading = (shape - 1) * np.log(x) - x - gammaln(shape)
        leading -= np.log1p(-(shape - 1) / x)
    return np.where(np.isfinite(log_p), log_p, leading)
