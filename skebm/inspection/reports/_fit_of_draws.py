"""How well draws fit rows: column by column, pair by pair, and all at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp, rankdata

from skebm.evaluation.fidelity._table import ShownTable, all_categories

Array = NDArray[np.float64]


def marginal_distances(
    rows: ShownTable, draws: ShownTable, train: ShownTable
) -> dict[str, dict[str, float]]:
    """Return how far columns of draws are from those of rows, by name.

    "draws" is the largest difference of the distribution functions (Kolmogorov and
    Smirnov) of a number, half the sum of the differences of the shares of a category
    (total variation); "rows" is the same of the training rows, which is what chance
    makes.
    """
    return {
        name: {
            "draws": marginal_distance(rows, draws, j),
            "rows": marginal_distance(rows, train, j),
        }
        for j, name in enumerate(rows.names)
    }


def marginal_distance(first: ShownTable, second: ShownTable, j: int) -> float:
    """Return how far a column of two tables is apart, from 0 to 1."""
    if not first.is_categorical[j]:
        x, y = (t.numbers(j) for t in (first, second))
        x, y = x[~np.isnan(x)], y[~np.isnan(y)]
        return float(ks_2samp(x, y).statistic) if len(x) and len(y) else np.nan
    categories = all_categories(first, second, j)
    shares = []
    for table in (first, second):
        codes = table.codes(j, categories)
        counts = np.bincount(codes[~np.isnan(codes)].astype(int), None, len(categories))
        shares.append(counts / max(1, counts.sum()))
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


def pair_distances(
    rows: ShownTable, draws: ShownTable, train: ShownTable
) -> dict[str, Any]:
    """Return how far associations of pairs of columns are from those of rows.

    Returns
    -------
    distances : dict
        "draws" and "rows", the means over pairs of the absolute differences, of draws
        and of the training rows; "worst", the pair whose difference is largest, its
        "columns" and its association in "rows" and "draws".
    """
    n = rows.n_features
    if n < 2:
        return {"draws": None, "rows": None, "worst": None}
    of_rows, of_draws, of_train = (associations(t) for t in (rows, draws, train))
    # Of columns that are constant in one table alone, nothing hangs on another there.
    of_draws, of_train = (np.nan_to_num(of) for of in (of_draws, of_train))
    above = np.triu_indices(n, 1)
    apart = np.abs(of_draws - of_rows)
    if np.isnan(apart[above]).all():
        return {"draws": None, "rows": None, "worst": None}
    worst = int(np.nanargmax(apart[above]))
    j, k = above[0][worst], above[1][worst]
    return {
        "draws": float(np.nanmean(apart[above])),
        "rows": float(np.nanmean(np.abs(of_train - of_rows)[above])),
        "worst": {
            "columns": [rows.names[j], rows.names[k]],
            "rows": float(of_rows[j, k]),
            "draws": float(of_draws[j, k]),
        },
    }


def associations(table: ShownTable) -> Array:
    """Return how columns depend on each other, pair by pair.

    Rank correlations of numbers; Cramer's V of categories; and of both the square root
    of the share of the variance of ranks that categories explain. NaN of constants.
    """
    n = table.n_features
    X = table.as_numbers()
    found = np.full((n, n), np.nan)
    for j in range(n):
        for k in range(j + 1, n):
            both = ~np.isnan(X[:, j]) & ~np.isnan(X[:, k])
            x, y = X[both, j], X[both, k]
            if len(np.unique(x)) < 2 or len(np.unique(y)) < 2:
                continue
            kinds = table.is_categorical[[j, k]]
            if not kinds.any():
                value = np.corrcoef(rankdata(x), rankdata(y))[0, 1]
            elif kinds.all():
                value = cramers_v(x, y)
            else:
                value = explained(*((x, y) if kinds[0] else (y, x)))
            found[j, k] = found[k, j] = value
    return found


def cramers_v(x: Array, y: Array) -> float:
    """Return Cramer's V of two columns of categories."""
    first, second = (np.unique(v, return_inverse=True)[1] for v in (x, y))
    counts = np.zeros((first.max() + 1, second.max() + 1))
    np.add.at(counts, (first, second), 1)
    expected = counts.sum(1, keepdims=True) * counts.sum(0) / len(x)
    chi2 = ((counts - expected) ** 2 / expected).sum()
    return float(np.sqrt(chi2 / len(x) / (min(counts.shape) - 1)))


def explained(category: Array, number: Array) -> float:
    """Return the root of the share of a number's ranks that categories explain."""
    ranks = rankdata(number)
    groups = np.unique(category, return_inverse=True)[1]
    size = np.bincount(groups)
    means = np.bincount(groups, ranks) / size
    between = (size * (means - ranks.mean()) ** 2).sum()
    return float(np.sqrt(between / ((ranks - ranks.mean()) ** 2).sum()))
