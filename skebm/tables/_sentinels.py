"""Sentinels: values that repeat far away from all others of their column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from skebm.exceptions import DataWarning
from skebm.tables._checks import column_name, listed
from skebm.tables._kinds import Array
from skebm.tables._wild_column import WildColumn
from skebm.utils import warn_user


def sentinels_of(wild: Mapping[int, WildColumn]) -> dict[int, list[float]]:
    """Return the sentinels of the columns that have some."""
    return {j: list(c.sentinels) for j, c in wild.items() if c.sentinels}


def without_codes(X: Array, codes: Mapping[int, list[float]]) -> Array:
    """Return X, or a copy with NaN in place of the codes of its columns."""
    marked = X
    for j, values in codes.items():
        is_code = np.isin(X[:, j], np.asarray(values, X.dtype))
        if is_code.any():
            marked = X.copy() if marked is X else marked
            marked[is_code, j] = np.nan
    return marked


def warn_of_strays(wild: Mapping[int, WildColumn], names: Any) -> None:
    """Warn of single values that are surely none of their column's."""
    found = [
        f"column {column_name(names, j)} ({_values_text(column)})"
        for j, column in wild.items()
        if column.strays
    ]
    if not found:
        return
    warn_user(
        f"X holds values far beyond all others in {listed(found)}. They are learnt as "
        "rare values: draws may be like them, and predict may pass them. If they are "
        "errors, replace them by NaN or leave out their rows.",
        DataWarning,
    )


def _values_text(column: WildColumn) -> str:
    """Return the stray values of a column and the range of the core."""
    values = listed([f"{value:g}" for value, _ in column.strays])
    n_rows = sum(count for _, count in column.strays)
    low, high = column.ends
    rows = "row" if n_rows == 1 else "rows"
    return f"{values} in {n_rows} {rows}; most lie between {low:g} and {high:g}"


def warn_of_sentinels(
    wild: Mapping[int, WildColumn], names: Any, takes_atoms: bool
) -> None:
    """Warn of values that repeat far away from the others of their column."""
    found = [
        f"column {column_name(names, j)} ({value:g} in {share:.1%} of the rows)"
        for j, column in wild.items()
        for value, share in column.sentinels.items()
    ]
    if not found:
        return
    as_atom = "; if it is a value, set sentinels='atom'" if takes_atoms else ""
    warn_user(
        f"X holds a value that repeats far away from all others in "
        f"{listed(found)}. If it stands for a missing entry, "
        f"replace it by NaN or set sentinels='missing'{as_atom}.",
        DataWarning,
    )
