"""The column kind of category indices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from skebm.tables._cells import PSEUDO_ROWS, Intervals
from skebm.tables._kinds import Array, ColumnKind, Columns, Table, observed
from skebm.tables._moments import Moments


class CategoryIndices(ColumnKind):
    r"""Columns of category indices: each category is an interval of the line.

    The interval's mass under the standard normal is the share f of the category,

    .. math:: C_k = [\Phi^{-1}(F_{k-1}), \Phi^{-1}(F_k)), \qquad
              F_k = \sum_{l \le k} f_l

    and points are spread in it by the truncated standard normal, so that those of a
    whole column are standard normal.

    Parameters
    ----------
    columns : ndarray of int
        Indices of the columns.
    shares : list of ndarray
        f of each column.
    kinds : list of str or None, default=None
        "nominal", "ordinal" or "cyclic" for each column; None where all are nominal.
    """

    precedence = 0
    by_mode = True

    def __init__(
        self,
        columns: Columns,
        shares: list[NDArray[np.float64]],
        kinds: list[str] | None = None,
    ) -> None:
        self.columns, self.shares = columns, shares
        self.kinds = ["nominal"] * len(shares) if kinds is None else kinds
        self.location, self.scale = np.zeros(len(columns)), np.ones(len(columns))

    @classmethod
    def claim(cls, table: Table, free: Columns) -> Self | None:
        """Take the columns of `Table.categories`."""
        columns = np.array([j for j in table.categories if j in free], dtype=np.int64)
        if not len(columns):
            return None
        shares = [_shares(table, j) for j in columns.tolist()]
        kinds = [table.category_kinds.get(j, "nominal") for j in columns.tolist()]
        return cls(columns, shares, kinds)

    def standardize(self, X: Array, moments: Moments) -> None:
        """Keep location 0 and scale 1: points are standard normal already."""
        del X, moments

    def from_line(self, t: Array, indices: Array) -> Array:
        """Return the interval indices, which are category indices."""
        del t
        return indices

    def category_kinds(self) -> dict[int, str]:
        """Return the kind of each column."""
        return dict(zip(self.columns.tolist(), self.kinds, strict=True))

    def intervals(self) -> list[Intervals]:
        """Return an interval for each category."""
        return [Intervals.of_categories(shares) for shares in self.shares]

    def interval_indices(self, x: Array) -> NDArray[np.int64]:
        """Return the category indices."""
        return np.where(np.isnan(x), 0, x).astype(np.int64)

    def to_arrays(self) -> dict[str, Any]:
        """Return columns and shares, and kinds where these are not all nominal."""
        arrays = {"columns": self.columns, "shares": self.shares}
        if set(self.kinds) == {"nominal"}:
            return arrays
        return arrays | {"kinds": self.kinds}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """Return the kind that `to_arrays` described."""
        return cls(arrays["columns"], list(arrays["shares"]), arrays.get("kinds"))


def _shares(table: Table, column: int) -> NDArray[np.float64]:
    """Return the weighted shares of categories, those without rows above zero."""
    indices, weight = observed(table.X[:, column], table.weight)
    size = table.categories[column]
    more = table.pseudo_rows.get(column, PSEUDO_ROWS)
    counts = np.bincount(indices.astype(np.int64), weight, size) + more
    return counts / counts.sum()
