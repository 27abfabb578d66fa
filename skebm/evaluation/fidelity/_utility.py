"""Global utility: what models learn from draws, beside what they learn from rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.metrics import root_mean_squared_error

from skebm.evaluation.fidelity._table import ShownTable
from skebm.evaluation.fidelity._two_sample import filler

Array = NDArray[np.float64]

N_TREES, MAX_ROWS = 50, 2000


def global_utility(
    train: ShownTable, test: ShownTable, draws: ShownTable, seed: int
) -> dict[str, Any]:
    """Return how well columns are predicted by what was learnt from draws.

    Each column in turn is predicted from the others in held-out rows, by a forest
    trained on draws and by one trained on as many rows.

    Returns
    -------
    utility : dict
        "columns", by name the ratio of the balanced accuracies of a category, or of
        the errors (root mean square, the other way round) of a number: 1 where draws
        teach as much as rows; None of columns that do not vary. "mean", their mean.

    References
    ----------
    Jiang, Simidjievski, Jamnik. TabStruct: measuring structural fidelity of tabular
    data. 2025.
    """
    rng = np.random.RandomState(seed)
    n = min(len(train), len(draws), MAX_ROWS)
    train, draws = train.some(n, rng), draws.some(n, rng)
    X, D, T = train.as_numbers(), draws.as_numbers(train), test.as_numbers(train)
    columns: dict[str, float | None] = {}
    for j, name in enumerate(train.names):
        is_category = bool(train.is_categorical[j])
        of_rows = column_score(X, T, j, is_category, seed)
        of_draws = column_score(D, T, j, is_category, seed)
        columns[name] = None
        if of_rows and of_draws is not None:  # 0 where draws teach nothing
            columns[name] = of_draws / of_rows
    known = [value for value in columns.values() if value is not None]
    return {"columns": columns, "mean": float(np.mean(known)) if known else None}


def column_score(
    X: Array, T: Array, j: int, is_category: bool, seed: int
) -> float | None:
    """Return how well column j of T is predicted by a forest trained on X.

    Balanced accuracy, or one over the error; None where there is nothing to learn.
    """
    y, t = X[:, j], T[:, j]
    known, asked = ~np.isnan(y), ~np.isnan(t)
    if X.shape[1] < 2 or len(np.unique(t[asked])) < 2 or not known.any():
        return None
    others, of_test = np.delete(X, j, axis=1), np.delete(T, j, axis=1)
    below = filler(np.concatenate([others, of_test]))
    others, of_test = (np.where(np.isnan(x), below, x) for x in (others, of_test))
    kind = ExtraTreesClassifier if is_category else ExtraTreesRegressor
    forest = kind(N_TREES, min_samples_leaf=2, random_state=seed)
    predicted = forest.fit(others[known], y[known]).predict(of_test[asked])
    if is_category:
        # Of categories of the held-out rows; others count as wrong.
        right = predicted == t[asked]
        return balanced(right, t[asked])
    error = root_mean_squared_error(t[asked], predicted)
    return float(1 / error) if error > 0 else None


def balanced(right: NDArray[np.bool_], labels: Array) -> float:
    """Return the mean over categories of the share of right answers."""
    return float(
        np.mean([right[labels == label].mean() for label in np.unique(labels)])
    )
