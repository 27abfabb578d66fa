"""Columns of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from skebm.tables._kinds import Array, ColumnKind, Columns, Table
from skebm.tables._moments import Moments

#: Largest least scale, in standard deviations; an outlier may not hide the rest.
MAX_FLOOR = 8.0


class Numbers(ColumnKind):
    r"""Columns of numbers, brought to mean zero and standard deviation one.

    .. math:: z_j = (x_j - m_j) / s_j, \qquad
              s_j \propto \max(\sigma_j, \min(\rho (\max x_j - \min x_j), 8 \sigma_j))

    With a range share rho above zero a column that hardly ever moves is not blown up:
    distances between rows stay meaningful. One factor for all columns then brings
    their mean variance to one. A constant column has s = 1.

    Parameters
    ----------
    columns : ndarray of int
        Indices of the columns.
    range_share : float, default=0
        rho.
    """

    def __init__(self, columns: Columns, range_share: float = 0.0) -> None:
        self.columns, self.range_share = columns, range_share

    @classmethod
    def claim(cls, table: Table, free: Columns) -> Self | None:
        """Take all columns that are left."""
        return cls(free, table.range_share) if len(free) else None

    def standardize(self, x: Array, moments: Moments) -> None:
        """Take the moments; no scale is below the range share."""
        spread, varies = moments.spread, moments.varies
        self.location, self.scale = moments.mean, np.where(varies, spread, 1.0)
        if self.range_share and varies.any():
            width = x.max(axis=0).astype(np.float64) - x.min(axis=0)
            floored = np.minimum(self.range_share * width, MAX_FLOOR * spread)
            floored = np.maximum(spread, floored)[varies]
            floored *= np.sqrt(np.mean((spread[varies] / floored) ** 2))
            self.scale[varies] = floored

    def to_arrays(self) -> dict[str, Any]:
        """Return columns, location and scale."""
        return {
            "columns": self.columns,
            "range_share": self.range_share,
            "location": self.location,
            "scale": self.scale,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """Return the kind that `to_arrays` described."""
        kind = cls(arrays["columns"], arrays["range_share"])
        kind.location, kind.scale = arrays["location"], arrays["scale"]
        return kind
