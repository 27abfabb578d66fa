"""The column kind of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from skebm.tables._kinds import Array, ColumnKind, Columns, Table
from skebm.tables._moments import Moments
from skebm.tables._tails import Tails

#: Bound of the least scale, in standard deviations: one outlier makes a wide range.
MAX_FLOOR = 8.0


class Numbers(ColumnKind):
    r"""Columns of numbers, standardised to mean zero and standard deviation one.

    .. math:: z_j = (x_j - m_j) / s_j, \qquad
              s_j \propto \max(\sigma_j, \min(\rho (\max x_j - \min x_j), 8 \sigma_j))

    A range share rho above zero bounds the scale of nearly constant columns from
    below, so that they do not dominate distances between rows. One factor for all
    columns then makes their mean variance one.

    Mean, deviation and range of a column with wild values are those of the others, and
    `Tails` draws the wild ones near.

    Parameters
    ----------
    columns : ndarray of int
        Indices of the columns.
    range_share : float, default=0
        rho.
    tails : Tails or None, default=None
        Draws wild values near.
    """

    precedence = 2

    def __init__(
        self, columns: Columns, range_share: float = 0.0, tails: Tails | None = None
    ) -> None:
        self.columns, self.range_share, self.tails = columns, range_share, tails

    @classmethod
    def claim(cls, table: Table, free: Columns) -> Self | None:
        """Take all free columns."""
        if not len(free):
            return None
        return cls(free, table.range_share, Tails.of(table.wild, free))

    def standardize(self, X: Array, moments: Moments) -> None:
        """Take mean and standard deviation; bound scales by the range share."""
        spread, varies = moments.spread, moments.varies
        self.location, self.scale = moments.mean, np.where(varies, spread, 1.0)
        if self.range_share and varies.any():
            # fmax and fmin pass over NaN; all columns, so that none is copied
            width = np.fmax.reduce(X).astype(np.float64) - np.fmin.reduce(X)
            width = width[self.columns]
            if self.tails is not None:
                width = np.minimum(width, self.tails.span)
            floored = np.minimum(self.range_share * width, MAX_FLOOR * spread)
            floored = np.maximum(spread, floored)[varies]
            floored *= np.sqrt(np.mean((spread[varies] / floored) ** 2))
            self.scale[varies] = floored

    @property
    def bends(self) -> bool:
        """Whether a column has wild values."""
        return self.tails is not None

    def to_line(self, x: Array) -> Array:
        """Return values as they are, wild ones drawn near."""
        return x if self.tails is None else self.tails.compress(x)

    def from_line(self, t: Array, indices: Array) -> Array:
        """Return points as they are, those beyond the fences spread again."""
        del indices
        return t if self.tails is None else self.tails.expand(t)

    def log_slope(self, t: Tensor) -> Tensor:
        """Return log dt/dx at points t."""
        assert self.tails is not None
        return self.tails.log_slope(t)

    def apart(self) -> NDArray[np.float64]:
        """Return bounds of points t beyond which values stand apart."""
        return super().apart() if self.tails is None else self.tails.apart()

    def to_arrays(self) -> dict[str, Any]:
        """Return columns, range share, location, scale and tails."""
        return {
            "columns": self.columns,
            "range_share": self.range_share,
            "location": self.location,
            "scale": self.scale,
            "tails": None if self.tails is None else self.tails.to_arrays(),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """Return the kind that `to_arrays` described."""
        tails = Tails.from_arrays(arrays.get("tails"))
        kind = cls(arrays["columns"], arrays["range_share"], tails)
        kind.location, kind.scale = arrays["location"], arrays["scale"]
        return kind
