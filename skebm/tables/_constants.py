"""The column kind of constants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from skebm.tables._kinds import Array, ColumnKind, Columns, Table
from skebm.tables._moments import Moments

#: Where other values than the constant lie, in units of the scale.
MOVED = 5.0
#: Relative difference below which a value is the constant, in units of rounding.
ROUNDING = 10.0


class Constants(ColumnKind):
    r"""Columns that have one value c in all rows.

    .. math:: z(c) = 0, \qquad z(x) = \pm 5 \; (x \ne c)

    Nothing tells how far a value may be from c, so that a difference counts whatever
    the unit of the column. Rounding is none, to float32 neither.

    Parameters
    ----------
    columns : ndarray of int
        Indices of the columns.
    values : ndarray of shape (n_columns,)
        c.
    rounding : float
        Relative rounding error of the table that c was seen in.
    """

    varies = False

    def __init__(self, columns: Columns, values: Array, rounding: float) -> None:
        self.columns, self.values, self.rounding = columns, values, rounding
        # The line is about 0: beside a large c, points would round to it.
        self.location, self.scale = np.zeros(len(columns)), np.ones(len(columns))

    @classmethod
    def claim(cls, table: Table, free: Columns) -> Self | None:
        """Take the columns that do not vary."""
        columns = free[~table.moments.varies[free]]
        if not len(columns):
            return None
        rounding = float(np.finfo(table.X.dtype).eps)
        return cls(columns, table.moments.mean[columns], rounding)

    @property
    def origin(self) -> NDArray[np.float64]:
        """The values c."""
        return self.values

    def standardize(self, X: Array, moments: Moments) -> None:
        """Keep location 0 and scale 1: there is no spread."""
        del X, moments

    def to_line(self, x: Array) -> Array:
        """Return 0 for c, or a point beside it."""
        error = ROUNDING * max(self.rounding, float(np.finfo(x.dtype).eps))
        with np.errstate(over="ignore"):
            difference = x - self.values
            as_float32 = self.values.astype(np.float32)
        moved = np.abs(difference) > error * np.abs(self.values)
        moved &= x != as_float32
        sides = np.where(np.isnan(x), np.nan, np.where(moved, np.sign(difference), 0.0))
        return MOVED * sides

    def from_line(self, t: Array, indices: Array) -> Array:
        """Return c, whatever the points."""
        del indices
        return np.where(np.isnan(t), np.nan, self.values)

    def to_arrays(self) -> dict[str, Any]:
        """Return columns, values and rounding."""
        return {
            "columns": self.columns,
            "values": self.values,
            "rounding": self.rounding,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """Return the kind that `to_arrays` described."""
        return cls(arrays["columns"], arrays["values"], arrays["rounding"])
