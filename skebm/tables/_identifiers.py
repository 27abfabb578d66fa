"""Columns of categories that name rows: almost every row has a category of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from skebm.exceptions import DataWarning
from skebm.tables._checks import column_name, listed
from skebm.tables._kinds import Array
from skebm.utils import warn_user

#: Least rows: in fewer ones, words may all differ by chance.
MIN_ROWS = 50
#: Least number of categories, as a share of the rows.
LEAST_SHARE = 0.9


def warn_of_identifiers(X: Array, columns: Sequence[int], names: Any) -> None:
    """Warn of columns of category indices in which almost every row has its own.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
        Numbers and category indices; NaN where missing.
    columns : sequence of int
        The columns of category indices.
    names : array-like or None
        Names of all columns.
    """
    found = []
    for j in columns:
        observed = X[:, j][~np.isnan(X[:, j])]
        if len(observed) < MIN_ROWS:
            continue
        n_categories = len(np.unique(observed))
        if n_categories >= LEAST_SHARE * len(observed):
            name = column_name(names, j)
            found.append(f"column {name} ({n_categories} in {len(observed)} rows)")
    if not found:
        return
    warn_user(
        f"X has almost as many categories as rows in {listed(found)}. Such a column "
        "names the rows, and nothing can be learnt from it: leave it out.",
        DataWarning,
    )
