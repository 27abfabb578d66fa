"""The column kind of constants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from skebm.tables._kinds import Array, ColumnKind, Columns, Table
from skebm.tables._moments import Moments

#: Where other values than the constant lie, in units of the scale.
MOVED = 5.0
#: Relative difference below which a value is the constant: rounding of float32.
ROUNDING = 10 * float(np.finfo(np.float32).eps)


class Constants(ColumnKind):
    r"""Columns that have one value c in all rows.

    .. math:: z(c) = 0, \qquad z(x) = \pm 5 \; (x \ne c)

    Nothing tells how far a value may be from c, so that a difference counts whatever
    the unit of the column; one that float32 would round off counts as none.

    Parameters
    ----------
    columns : ndarray of int
        Indices of the columns.
    values : ndarray of shape (n_columns,)
        c.
    """

    def __init__(self, columns: Columns, values: Array) -> None:
        self.columns, self.location = columns, values
        self.scale = np.ones(len(columns))

    @classmethod
    def claim(cls, table: Table, free: Columns) -> Self | None:
        """Take the columns that do not vary."""
        columns = free[~table.moments.varies[free]]
        if not len(columns):
            return None
        return cls(columns, table.moments.mean[columns])

    def standardize(self, X: Array, moments: Moments) -> None:
        """Keep location c and scale 1: there is no spread."""
        del X, moments

    def to_line(self, x: Array) -> Array:
        """Return c, or a point beside it."""
        difference = x - self.location
        moved = np.abs(difference) > ROUNDING * np.abs(self.location)
        sides = np.where(np.isnan(x), np.nan, np.where(moved, np.sign(difference), 0.0))
        return self.location + MOVED * sides

    def from_line(self, t: Array, indices: Array) -> Array:
        """Return c, whatever the points."""
        del indices
        return np.where(np.isnan(t), np.nan, self.location)

    def to_arrays(self) -> dict[str, Any]:
        """Return columns and values."""
        return {"columns": self.columns, "values": self.location}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """Return the kind that `to_arrays` described."""
        return cls(arrays["columns"], arrays["values"])
