"""Features of pooled rows, whose means in the two tables are compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata

from skebm.evaluation.drift._pool import Array, Pool

#: Categories of a column beyond the most frequent ones have no feature of their own.
MAX_CATEGORIES = 30
#: Polynomials of the ranks of a column of numbers: place, spread, skewness, tails.
DEGREE = 4
#: A feature that varies less is constant, up to rounding.
LEAST_DEVIATION = 1e-9


@dataclass(frozen=True, eq=False)
class ColumnFeatures:
    """Features of the distribution of one column, of mean 0 and variance 1.

    Attributes
    ----------
    all : ndarray of shape (n, k)
        Uncorrelated features of the whole distribution; none of a constant column.
    single : ndarray of shape (n, m)
        Features of one meaning each.
    meanings : list of str
        Their meanings.
    """

    all: Array
    single: Array
    meanings: list[str]

    @classmethod
    def of(cls, pool: Pool, j: int) -> ColumnFeatures:
        """Return the features of a column of pooled rows."""
        raw = _raw(pool, j)
        single = raw
        if j in pool.categories:
            shown = _frequent(pool, j)
            meanings = [f"share of {pool.categories[j][k]!r}" for k in shown]
        else:
            single = np.delete(raw, np.arange(2, DEGREE), axis=1)
            meanings = ["median", "standard deviation"]
        if single.shape[1] > len(meanings):
            meanings.append("share missing")
        varies = single.std(axis=0) > LEAST_DEVIATION
        single = single[:, varies]
        single = (single - single.mean(axis=0)) / single.std(axis=0)
        meanings = [m for m, keep in zip(meanings, varies, strict=True) if keep]
        return cls(_uncorrelated(raw), single, meanings)


def coordinates(pool: Pool, *, with_ranks: bool = False) -> Array:
    """Return pooled rows as points, (n, k), of mean 0.

    Numbers are normal scores, 0 where missing, with the polynomials of their ranks if
    asked for; each category and missing entry has an indicator.
    """
    parts = []
    for j in range(pool.n_columns):
        raw = _raw(pool, j)
        if j not in pool.categories:
            scores = _normal_scores(pool.values[:, j])[:, None]
            raw = np.hstack([scores, raw if with_ranks else raw[:, DEGREE:]])
        parts.append(raw)
    points = np.concatenate(parts, axis=1)
    points = points[:, points.std(axis=0) > LEAST_DEVIATION]
    return np.asarray(points - points.mean(axis=0))


def _raw(pool: Pool, j: int) -> Array:
    """Return the features of a column as they are."""
    x = pool.values[:, j]
    known = ~np.isnan(x)
    if j in pool.categories:
        features = (x[:, None] == _frequent(pool, j)).astype(np.float64)
    else:
        features = np.zeros((len(x), DEGREE))
        place = 2 * (rankdata(x[known]) - 0.5) / max(known.sum(), 1) - 1
        values = np.polynomial.legendre.legvander(place, DEGREE)[:, 1:]
        features[known] = values * np.sqrt(2 * np.arange(1, DEGREE + 1) + 1)
    return features if known.all() else np.column_stack([features, ~known])


def _frequent(pool: Pool, j: int) -> Array:
    """Return the indices of the most frequent categories of a column."""
    x = pool.values[:, j]
    found, counts = np.unique(x[~np.isnan(x)], return_counts=True)
    order = np.argsort(-counts, kind="stable")[:MAX_CATEGORIES]
    return np.asarray(found[order]).astype(np.int64)


def _normal_scores(x: Array) -> Array:
    """Return the normal quantiles of the ranks of a column; 0 where missing."""
    known = ~np.isnan(x)
    scores = np.zeros(len(x))
    scores[known] = ndtri(rankdata(x[known]) / (known.sum() + 1))
    return scores


def _uncorrelated(features: Array) -> Array:
    """Return features of covariance 1, in their order, without what adds nothing."""
    found: list[Array] = []
    for feature in features.T:
        rest = feature - feature.mean()
        length = float(np.linalg.norm(rest))
        if length <= LEAST_DEVIATION * np.sqrt(len(rest)):
            continue
        for _ in range(2):  # once more: rounding
            for other in found:
                rest = rest - float(other @ rest) * other
        if np.linalg.norm(rest) > 1e-6 * length:
            found.append(rest / np.linalg.norm(rest))
    length = np.sqrt(len(features))
    return np.column_stack(found) * length if found else features[:, :0]
