"""The encoder as a module of torch alone, which `torch.export` can trace."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skebm.tables._checks import columns_text
from skebm.tables._constants import MOVED, ROUNDING, Constants
from skebm.tables._encoder import MAX_STANDARDIZED, TableEncoder
from skebm.tables._numbers import Numbers


class TracedEncoder(nn.Module):
    r"""Takes complete rows of numbers to standardised rows, and tells the Jacobian.

    The same operations as `TableEncoder.encode` and `TableEncoder.log_jacobian`, in
    double precision as there, for columns of numbers and constants.

    Parameters
    ----------
    encoder : TableEncoder
        Of a table without categories, atoms and sentinels that are missing.
    names : sequence of str or None
        Names of the columns, for messages.

    Raises
    ------
    ValueError
        Where the table has other columns; names them.
    """

    def __init__(self, encoder: TableEncoder, names: Any = None) -> None:
        super().__init__()
        _check_traceable(encoder, names)
        n = len(encoder.scale)
        tables = {
            "location": np.zeros(n),
            "scale": np.ones(n),
            "low": np.full(n, -np.inf),
            "high": np.full(n, np.inf),
            "width": np.ones(n),
            # Of constants: their values, and how far a value may be from them.
            "constant": np.zeros(n),
            "tolerance": np.zeros(n),
        }
        varies = np.ones(n, dtype=bool)
        for kind in encoder.kinds:
            columns = kind.columns
            tables["location"][columns] = kind.location
            tables["scale"][columns] = kind.scale
            if isinstance(kind, Constants):
                error = ROUNDING * max(kind.rounding, float(np.finfo(np.float64).eps))
                varies[columns] = False
                tables["constant"][columns] = kind.values
                tables["tolerance"][columns] = error * np.abs(kind.values)
            elif isinstance(kind, Numbers) and kind.tails is not None:
                for name in ("low", "high", "width"):
                    tables[name][columns] = getattr(kind.tails, name)
        for name, values in tables.items():
            self.register_buffer(name, torch.from_numpy(values))
        self.register_buffer("varies", torch.from_numpy(varies))
        self.log_volume = float(np.log(encoder.scale).sum())
        self.has_constants = not varies.all()
        self.bends = any(kind.bends for kind in encoder.kinds)

    location: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor
    width: Tensor
    constant: Tensor
    tolerance: Tensor
    varies: Tensor

    def forward(self, X: Tensor) -> Tensor:
        """Return rows X (n, n_features), float64, standardised, as float32."""
        t = X
        if self.bends:
            inside = X.clamp(self.low, self.high)
            excess = X - inside
            distance = torch.log1p(excess.abs() / self.width)
            t = inside + excess.sign() * self.width * distance
        if self.has_constants:
            difference = X - self.constant
            # A constant that was rounded to float32 is the constant.
            moved = difference.abs() > self.tolerance
            moved = moved & (X != self.constant.float().double())
            sides = torch.where(moved, MOVED * difference.sign(), 0.0 * difference)
            t = torch.where(self.varies, t, sides)
        z = (t - self.location) / self.scale
        return z.clamp(-MAX_STANDARDIZED, MAX_STANDARDIZED).float()

    def log_jacobian(self, z: Tensor) -> Tensor:
        """Return the log of the Jacobian determinant of z in X at rows z, (n,)."""
        if not self.bends:
            return torch.zeros_like(z[:, 0], dtype=torch.float64) - self.log_volume
        points = self.location + self.scale * z.double()
        beyond = (points - self.high).clamp(min=0) + (self.low - points).clamp(min=0)
        return -(beyond / self.width).sum(dim=1) - self.log_volume

    def hold_constants(self, z: Tensor) -> Tensor:
        """Return rows z as if no constant had moved."""
        return z * self.varies.to(z.dtype) if self.has_constants else z


def _check_traceable(encoder: TableEncoder, names: Any) -> None:
    """Raise ValueError naming the columns that only `TableEncoder` reads."""
    other: NDArray[np.bool_] = np.zeros(len(encoder.scale), dtype=bool)
    for kind in encoder.kinds:
        other[kind.columns] = not isinstance(kind, Numbers | Constants)
    if other.any():
        raise ValueError(
            "Only models of numbers can be exported: categories, atoms and other "
            "values with a probability of their own are read outside of torch. Got "
            f"such values in {columns_text(names, other)}."
        )
    if encoder.codes:
        other[list(encoder.codes)] = True
        where = columns_text(names, other)
        raise ValueError(
            "A model with sentinels='missing' can't be exported where it found some, "
            f"as rows with gaps are averaged over draws: in {where}."
        )
