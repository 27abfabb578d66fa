"""Balls around rows, cut by the bounds of the columns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]

#: Norms of a move, by name.
NORMS = ("inf", "2")


@dataclass(frozen=True, eq=False)
class Balls:
    r"""The moves u of rows x that are allowed, one ball for each row.

    .. math:: x + s u, \qquad \|u\|_p \le r, \qquad low \le x + s u \le high

    Attributes
    ----------
    rows : Tensor of shape (n, n_features)
        x, float64.
    unit : Tensor of shape (n_features,)
        s; a column of unit 0 stays.
    low, high : Tensor of shape (n_features,)
        Bounds of the columns, between which the rows are.
    radius : float
        r.
    norm : {"inf", "2"}
        p.
    """

    rows: Tensor
    unit: Tensor
    low: Tensor
    high: Tensor
    radius: float
    norm: str

    @classmethod
    def of_arrays(
        cls, rows: Array, unit: Array, low: Array, high: Array, radius: float, norm: str
    ) -> Self:
        """Return balls of arrays."""
        x, s, below, above = map(torch.from_numpy, (rows, unit, low, high))
        return cls(x, s, below, above, radius, norm)

    def of(self, which: Tensor) -> Self:
        """Return the balls of some rows."""
        return replace(self, rows=self.rows[which])

    def moved(self, u: Tensor) -> Tensor:
        """Return x + s u, within the bounds whatever the rounding."""
        moved = torch.where(self.unit > 0, self.rows + self.unit * u, self.rows)
        return moved.minimum(self.high).maximum(self.low)

    def length(self, u: Tensor) -> Tensor:
        """Return the norm of moves, shape (n,)."""
        return u.abs().amax(dim=1) if self.norm == "inf" else u.norm(dim=1)

    def project(self, u: Tensor) -> Tensor:
        """Return allowed moves near u: those of the ball, then within the bounds.

        Clipping to a box that holds the centre makes no move longer.
        """
        if self.norm == "inf":
            u = u.clamp(-self.radius, self.radius)
        else:
            length = u.norm(dim=1, keepdim=True).clamp(min=1e-300)
            u = u * (self.radius / length).clamp(max=1.0)
        u = u.minimum(self._scaled(self.high - self.rows))
        return u.maximum(self._scaled(self.low - self.rows))

    def moves_to(self, points: Tensor) -> Tensor:
        """Return the moves to points, as far as they are allowed."""
        return self.project(self._scaled(points - self.rows))

    def steepest(self, gradient: Tensor) -> Tensor:
        """Return the move of norm one along which a function rises most."""
        if self.norm == "inf":
            return gradient.sign()
        # Divided by the largest entry first: squares of small ones are zero.
        gradient = gradient / gradient.abs().amax(dim=1, keepdim=True).clamp(min=1e-300)
        return gradient / gradient.norm(dim=1, keepdim=True).clamp(min=1e-300)

    def draw(self, generator: torch.Generator) -> Tensor:
        """Return random allowed moves of the full radius, one a row."""
        u = torch.randn(self.rows.shape, generator=generator, dtype=torch.float64)
        u = u * (self.unit > 0)
        return self.project(self.radius * self.steepest(u))

    def _scaled(self, moves: Tensor) -> Tensor:
        """Return moves in the unit of each column; 0 where columns stay."""
        unit = torch.where(self.unit > 0, self.unit, 1.0)
        return torch.where(self.unit > 0, moves / unit, 0.0)
