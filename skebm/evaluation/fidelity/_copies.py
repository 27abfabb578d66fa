"""Whether draws are copies of training rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from skebm.evaluation.fidelity._table import ShownTable

Array = NDArray[np.float64]

#: Most rows of each table that take part.
MAX_ROWS = 5000


def copying(
    train: ShownTable, test: ShownTable, draws: ShownTable, seed: int
) -> dict[str, float]:
    """Return how near draws are to training rows, beside new rows.

    Returns
    -------
    copying : dict of str to float
        "draws" and "rows", the median distances of draws and of held-out rows to their
        nearest training row; "nearer", the chance that a draw is nearer than a
        held-out row (ties count half): 0.5 where draws are as new rows are, near 1
        where they are copies; "exact_draws" and "exact_rows", the shares of draws and
        held-out rows that a training row equals.

    Notes
    -----
    Columns of numbers are in units of their standard deviation, categories differ by
    one; missing entries are at the mean. A distance is Euclidean.

    References
    ----------
    Meehan, Chaudhuri, Dasgupta. A non-parametric test to detect data-copying in
    generative models. AISTATS 2020.
    """
    rng = np.random.RandomState(seed)
    train, test, draws = (t.some(MAX_ROWS, rng) for t in (train, test, draws))
    points = coordinates(train, [train, test, draws])
    neighbors = NearestNeighbors(n_neighbors=1).fit(points[0])
    of_rows, of_draws = (neighbors.kneighbors(p)[0][:, 0] for p in points[1:])
    ordered = np.sort(of_rows)
    below = np.searchsorted(ordered, of_draws, side="left")
    up_to = np.searchsorted(ordered, of_draws, side="right")
    return {
        "draws": float(np.median(of_draws)),
        "rows": float(np.median(of_rows)),
        "nearer": float(1 - ((below + up_to) / 2).mean() / len(of_rows)),
        "exact_draws": float((of_draws == 0).mean()),
        "exact_rows": float((of_rows == 0).mean()),
    }


def coordinates(train: ShownTable, tables: list[ShownTable]) -> list[Array]:
    """Return tables as points whose distances mean something."""
    parts: list[list[Array]] = [[] for _ in tables]
    for j in range(train.n_features):
        if train.is_categorical[j]:
            categories = train.categories(j)
            for part, table in zip(parts, tables, strict=True):
                codes = table.codes(j, categories)[:, None]
                # Half the squares of two places are 1 where categories differ.
                part.append((codes == np.arange(len(categories))) / np.sqrt(2))
            continue
        x = train.numbers(j)
        known = x[np.isfinite(x)]
        mean, spread = (known.mean(), known.std()) if len(known) else (0.0, 1.0)
        for part, table in zip(parts, tables, strict=True):
            z = (table.numbers(j) - mean) / (spread if spread > 0 else 1.0)
            part.append(np.nan_to_num(z)[:, None])
    return [np.concatenate(part, axis=1) for part in parts]
