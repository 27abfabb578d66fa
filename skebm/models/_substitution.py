"""Rows with other values in one column, and their densities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor

from skebm.networks import EnergyModel
from skebm.tables import TableEncoder

#: Rows that the net is asked about at once.
CHUNK_ROWS = 2**12
#: Quadrature nodes of the cells of other columns, for points of a line.
N_NODES = 16

Array = NDArray[Any]


def _on_lines(
    energy_model: EnergyModel, copies: Tensor, j: int
) -> Callable[[Tensor], Tensor]:
    """Return log p, up to a factor, of copies of rows with points in column j."""
    shape = copies.shape[:2]
    line = energy_model.along(copies.flatten(0, 1), j)
    n_points = max(1, CHUNK_ROWS // max(1, shape.numel()))

    def log_density(points: Tensor) -> Tensor:
        t = points[:, None].expand(*shape, -1).flatten(0, 1).to(copies)
        parts = [line(part).double() for part in t.split(n_points, dim=1)]
        return torch.cat(parts, dim=1).unflatten(0, shape)

    return log_density


class Substitution:
    """Puts values into one column of rows.

    Parameters
    ----------
    encoder : TableEncoder
        Between tables and standardised rows.
    j : int
        The column.
    energy_model : EnergyModel or None, default=None
        Knows the density of standardised rows; None where it is not asked for.

    Attributes
    ----------
    singles : Tensor of shape (n_singles,)
        Standardised points that stand for values which have a probability.
    gaps : Tensor of shape (n_edges,)
        Edges of their intervals, where other values have a density.
    has_line : bool
        Whether values have a density.
    log_scale : float
        Log of the scale of the column.
    """

    def __init__(
        self, encoder: TableEncoder, j: int, energy_model: EnergyModel | None = None
    ) -> None:
        self.j, self._encoder = j, encoder
        self._start, is_single = np.array([-np.inf, np.inf]), np.zeros(1, dtype=bool)
        middle = np.full(1, np.nan)
        intervals = encoder.intervals_of(j)
        if intervals is not None:
            self._start, is_single = intervals.start, intervals.scale > 0
            score = ndtri(intervals.quantile + intervals.share / 2)
            middle = intervals.centre + intervals.scale * score
        self._is_single = torch.from_numpy(is_single)
        self.singles = torch.from_numpy(middle[is_single])
        self.has_line = not is_single.all()
        self.gaps = torch.from_numpy(self._start[1:-1] if self.has_line else middle[:0])
        self.log_scale = float(np.log(encoder.scale[j]))
        kinds = [kind for kind in encoder.kinds if j in kind.columns]
        self._is_straight = intervals is None and not kinds[0].bends
        self._pairs = [p for p in encoder.determined.pairs if p.by == j]
        n_nodes = N_NODES if self.has_line else None

        def standardized(z: Tensor) -> Tensor:
            assert energy_model is not None
            return energy_model.log_prob_unnormalized(z).double()

        self._log_mass = encoder.log_mass(standardized, n_nodes)
        self._energy_model = energy_model

    def single_of(self, points: Tensor) -> Tensor:
        """Return the index of the single value at each point; -1 where none is."""
        inner = torch.from_numpy(self._start[1:-1]).float().to(points.device)
        place = torch.searchsorted(inner, points.float().contiguous(), right=True)
        is_single = self._is_single.to(points.device)
        number = is_single.long().cumsum(0) - 1
        return torch.where(is_single[place], number[place], -1)

    def outside_gaps(self, points: Tensor, log_density: Tensor) -> Tensor:
        """Return log densities, minus infinity in the intervals of single values."""
        inside = self.single_of(points) >= 0
        return log_density.masked_fill(inside[:, None], -torch.inf)

    def log_density_of(self, copies: Tensor, X: Array) -> Callable[[Tensor], Tensor]:
        """Return log p, up to a factor, of copies of rows with points in the column.

        Parameters
        ----------
        copies : Tensor of shape (n, n_copies, n_features)
            Standardised rows.
        X : ndarray of shape (n, n_features)
            The rows as they were, in the units of the table.
        """
        if self._encoder.cells is None and self._energy_model is not None:
            return _on_lines(self._energy_model, copies, self.j)

        def log_density(points: Tensor) -> Tensor:
            shape = len(copies), copies.shape[1], points.shape[1]
            if not points.numel():
                return points.new_empty(shape)
            z = copies[:, :, None].repeat(1, 1, points.shape[1], 1)
            z[..., self.j] = points[:, None].to(z)
            for pair in self._pairs:
                self._recode(z, points, pair, X)
            parts = [self._log_mass(rows) for rows in z.flatten(0, 2).split(CHUNK_ROWS)]
            return torch.cat(parts).reshape(shape)

        return log_density

    def _recode(self, z: Tensor, points: Tensor, pair: Any, X: Array) -> None:
        """Write the code of a known category that the points are to go with."""
        k = X[:, pair.column, None]
        known = np.flatnonzero(~np.isnan(k[:, 0]))
        values = self.values_of(points).cpu().numpy()[known]
        code = (k[known].astype(np.int64) - pair.expected(values)) % len(pair.seen)
        codes = Substitution(self._encoder, pair.column).singles.numpy()[code]
        z[known, :, :, pair.column] = torch.from_numpy(codes)[:, None].to(z)

    def edges(self, X: Array) -> Tensor:
        """Return the ends of the values that go with the rows' categories."""
        ends = [np.empty((len(X), 0))]
        for pair in self._pairs:
            middle = (pair.values[1:] + pair.values[:-1]) / 2
            k = X[:, pair.column]
            partner = pair.value_of(np.where(np.isnan(k), 0, k))
            partner = np.where(np.isnan(partner), pair.values[0], partner)
            place = np.searchsorted(middle, partner)
            bounds = np.r_[pair.values[0], middle, pair.values[-1]]
            ends.append(np.stack([bounds[place], bounds[place + 1]], axis=1))
        scale, location = self._encoder.scale[self.j], self._encoder.location[self.j]
        return torch.from_numpy((np.concatenate(ends, axis=1) - location) / scale)

    def log_jacobian(self, points: Tensor) -> Tensor:
        """Return the log of dz/dx of the column at points (n,)."""
        z = points.new_full((len(points), len(self._encoder.scale)), torch.nan)
        z[:, self.j] = points
        return self._encoder.log_jacobian(z)

    def values_of(self, points: Tensor) -> Tensor:
        """Return the values at points of any shape, in the units of X."""
        if self._is_straight:
            location = self._encoder.location[self.j]
            return location + self._encoder.scale[self.j] * points
        z = points.new_zeros(points.numel(), len(self._encoder.scale))
        z[:, self.j] = points.flatten()
        values = self._encoder.decode(z.cpu().numpy())[:, self.j]
        return torch.from_numpy(values).to(points).reshape(points.shape)

    def in_support(self, values: Tensor) -> Tensor:
        """Return values, those beyond the bounds of the column moved to these."""
        if self._encoder.values is None:
            return values
        lower, upper = self._encoder.values.bounds(self.j)
        return values.clamp(lower, upper)

    def values_in_rows(self, z: Tensor, points: Tensor) -> Array:
        """Return the values at one point for each row, which may say what it means."""
        z = z.clone()
        z[:, self.j] = points.to(z)
        return self._encoder.decode(z.cpu().numpy())[:, self.j]
