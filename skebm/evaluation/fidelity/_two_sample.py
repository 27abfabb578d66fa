"""How well a classifier tells draws from rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from skebm.evaluation.fidelity._table import ShownTable

MAX_ROWS, N_SPLITS, N_TREES = 2000, 5, 50


def two_sample_auc(rows: Any, draws: Any, random_state: int = 0) -> float:
    """Return the AUROC by which a forest tells draws from rows that it has not seen.

    0.5 means that it can't: the draws are like the rows. 1 means that it always can.
    The mean over five folds; of at most 2000 rows and as many draws, chosen at random.
    Where rows have missing entries, draws get the gaps of rows chosen at random, so
    that a gap tells nothing.

    Parameters
    ----------
    rows, draws : array-like of shape (n, n_features) and (m, n_features)
        Tables of the same columns, at least five rows each.
    random_state : int, default=0
        Seed.

    Returns
    -------
    auc : float

    References
    ----------
    Lopez-Paz, Oquab. Revisiting classifier two-sample tests. ICLR 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from skebm.inspection import two_sample_auc
    >>> rng = np.random.RandomState(0)
    >>> auc = two_sample_auc(rng.normal(size=(200, 2)), rng.normal(3, size=(200, 2)))
    >>> auc > 0.95
    True
    """
    first = ShownTable.of(rows)
    return auc_of_tables(first, first.like(draws), random_state)


def auc_of_tables(rows: ShownTable, draws: ShownTable, random_state: int) -> float:
    """Return `two_sample_auc` of tables."""
    if min(len(rows), len(draws)) < N_SPLITS:
        raise ValueError(
            f"A two-sample score needs at least {N_SPLITS} rows and draws. Got "
            f"{len(rows)} and {len(draws)}."
        )
    rng = np.random.RandomState(random_state)
    rows, draws = rows.some(MAX_ROWS, rng), draws.some(MAX_ROWS, rng)
    first, second = rows.as_numbers(), draws.as_numbers(rows)
    gaps = np.isnan(first)[rng.randint(len(first), size=len(second))]
    X = np.concatenate([first, np.where(gaps, np.nan, second)])
    X[np.isnan(X)] = filler(X)
    y = np.repeat([0, 1], [len(first), len(second)])
    folds = StratifiedKFold(N_SPLITS, shuffle=True, random_state=rng)
    areas = []
    for train, test in folds.split(X, y):
        forest = ExtraTreesClassifier(N_TREES, min_samples_leaf=2, random_state=rng)
        probability = forest.fit(X[train], y[train]).predict_proba(X[test])[:, 1]
        areas.append(roc_auc_score(y[test], probability))
    return float(np.mean(areas))


def filler(X: np.ndarray) -> float:
    """Return a number below all entries, in place of missing ones."""
    low, high = np.nanmin(X), np.nanmax(X)
    return float(low - (high - low) - 1)
