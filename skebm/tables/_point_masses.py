"""The column kind of numbers with atoms, values that have a probability."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skebm.tables._atoms import find_atoms
from skebm.tables._cells import Intervals
from skebm.tables._kinds import Array, ColumnKind, Columns, Table
from skebm.tables._moments import Moments
from skebm.tables._tails import Tails


class PointMasses(ColumnKind):
    r"""Columns of numbers with atoms: values that have a probability of their own.

    The line of a column has a gap at each atom a, one standard deviation w wide, which
    is the atom's interval:

    .. math:: t(x) = x \;(x < a), \quad t(a) \in [a, a + w), \quad t(x) = x + w
              \;(x > a)

    Where the column has wild values, `Tails` first takes x and a to the line.

    Parameters
    ----------
    columns : ndarray of int
        Indices of the columns.
    atoms : list of ndarray
        Sorted atoms of each column.
    widths : ndarray of shape (n_columns,)
        w of each column.
    tails : Tails or None
        Draws wild values near.
    """

    moves = True

    def __init__(
        self,
        columns: Columns,
        atoms: list[NDArray[np.float64]],
        widths: NDArray[np.float64],
        tails: Tails | None = None,
    ) -> None:
        self.columns, self.atoms, self.widths = columns, atoms, widths
        self.tails = tails

    @classmethod
    def claim(cls, table: Table, free: Columns) -> Self | None:
        """Take the columns with atoms or sentinels, where these are looked for."""
        found = {int(j): _atoms(table, int(j)) for j in free}
        atoms = {j: values for j, values in found.items() if len(values)}
        if not atoms:
            return None
        columns = np.array(list(atoms), dtype=np.int64)
        moments = table.moments.of_columns(columns)
        widths = np.where(moments.varies, moments.spread, 1.0)
        tails = Tails.of(table.wild, columns)
        return cls(columns, list(atoms.values()), widths, tails)

    def standardize(self, X: Array, moments: Moments) -> None:
        """Take mean and standard deviation of the line with its gaps."""
        del X
        self.location = moments.mean
        self.scale = np.where(moments.varies, moments.spread, 1.0)

    def to_line(self, x: Array) -> Array:
        """Return values shifted past the gaps below them, atoms to gap midpoints."""
        return self._compressed(x) + self.widths * self._passed(x) / 2

    def from_line(self, t: Array, indices: Array) -> Array:
        """Return values shifted back; points in a gap become its atom."""
        x = t - self.widths * (indices // 2)
        if self.tails is not None:
            x = self.tails.expand(x)
        for k, atoms in enumerate(self.atoms):
            is_atom = indices[:, k] % 2 == 1
            x[is_atom, k] = atoms[indices[is_atom, k] // 2]
        return x

    def intervals(self) -> list[Intervals]:
        """Return the gaps and the stretches between them, in turn."""
        parts = zip(self._starts(), self.widths, self.location, self.scale, strict=True)
        return [
            Intervals.of_atoms((start - location) / scale, width / scale, scale)
            for start, width, location, scale in parts
        ]

    @property
    def bends(self) -> bool:
        """Whether a column has wild values."""
        return self.tails is not None

    def log_slope(self, t: Tensor) -> Tensor:
        """Return log dt/dx at points t; 0 in gaps, which stand for single values."""
        assert self.tails is not None
        points, is_atom = t.clone(), torch.zeros_like(t, dtype=torch.bool)
        for k, start in enumerate(self._starts()):
            width = float(self.widths[k])
            for low in torch.from_numpy(start).to(t.device):
                passed = t[:, k] >= low
                is_atom[:, k] |= passed & (t[:, k] < low + width)
                points[:, k] -= width * passed
        return self.tails.log_slope(points).masked_fill(is_atom, 0.0)

    def _starts(self) -> list[NDArray[np.float64]]:
        """Return where the gaps of each column start on its line."""
        starts = []
        for k, atoms in enumerate(self.atoms):
            at = np.zeros((len(atoms), len(self.atoms)))
            at[:, k] = atoms
            starts.append(self._compressed(at)[:, k])
        pairs = zip(starts, self.widths, strict=True)
        return [start + width * np.arange(len(start)) for start, width in pairs]

    def _compressed(self, x: Array) -> Array:
        """Return values as they are, wild ones drawn near."""
        return x if self.tails is None else self.tails.compress(x)

    def interval_indices(self, x: Array) -> NDArray[np.int64]:
        """Return the index of the gap or stretch of each value: odd at atoms."""
        return np.where(np.isnan(x), 0, self._passed(x))

    def _passed(self, x: Array) -> NDArray[np.int64]:
        """Return the number of ends of gaps below each value: odd at atoms."""
        passed = np.empty(x.shape, dtype=np.int64)
        for k, atoms in enumerate(self.atoms):
            sides = (np.searchsorted(atoms, x[:, k], s) for s in ("left", "right"))
            passed[:, k] = sum(sides)
        return passed

    def to_arrays(self) -> dict[str, Any]:
        """Return columns, atoms, widths, location and scale."""
        return {
            "columns": self.columns,
            "atoms": self.atoms,
            "widths": self.widths,
            "location": self.location,
            "scale": self.scale,
            "tails": None if self.tails is None else self.tails.to_arrays(),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """Return the kind that `to_arrays` described."""
        tails = Tails.from_arrays(arrays.get("tails"))
        kind = cls(arrays["columns"], list(arrays["atoms"]), arrays["widths"], tails)
        kind.location, kind.scale = arrays["location"], arrays["scale"]
        return kind


def _atoms(table: Table, column: int) -> NDArray[np.float64]:
    """Return the sorted atoms and sentinels of a column, as far as asked for."""
    atoms = np.empty(0)
    if table.find_atoms:
        atoms = find_atoms(table.X[:, column], table.weight)
    as_atoms = table.find_atoms or table.sentinels == "atom"
    if as_atoms and column in table.wild:
        atoms = np.union1d(atoms, list(table.wild[column].sentinels))
    return atoms
