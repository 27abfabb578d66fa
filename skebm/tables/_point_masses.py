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
from skebm.tables._wild_column import WildColumn


class PointMasses(ColumnKind):
    r"""Columns of numbers with atoms: values that have a probability of their own.

    The line of a column has a gap at each atom a, one standard deviation w wide, which
    is the atom's interval:

    .. math:: t(x) = x \;(x < a), \quad t(a) \in [a, a + w), \quad t(x) = x + w
              \;(x > a)

    Where the column has wild values, `Tails` first takes x and a to the line. The gap
    of a sentinel, an atom far away from all other values, is next to these, so that a
    density of one peak gives it a probability, too.

    Parameters
    ----------
    columns : ndarray of int
        Indices of the columns.
    atoms : list of ndarray
        Sorted atoms of each column.
    places : list of ndarray
        Where the gaps of the atoms are, in the order of the atoms: at the atoms
        themselves, but for sentinels.
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
        places: list[NDArray[np.float64]],
        widths: NDArray[np.float64],
        tails: Tails | None = None,
    ) -> None:
        self.columns, self.atoms, self.places = columns, atoms, places
        self.widths, self.tails = widths, tails

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
        places = [_places(values, table.wild.get(j)) for j, values in atoms.items()]
        return cls(columns, list(atoms.values()), places, widths, tails)

    def standardize(self, X: Array, moments: Moments) -> None:
        """Take mean and standard deviation of the line with its gaps."""
        del X
        self.location = moments.mean
        self.scale = np.where(moments.varies, moments.spread, 1.0)

    def to_line(self, x: Array) -> Array:
        """Return values shifted past the gaps below them, atoms to gap midpoints."""
        passed, at = self._passed(x), np.array(x, dtype=np.float64)
        for k, places in enumerate(self.places):
            is_atom = passed[:, k] % 2 == 1
            at[is_atom, k] = places[passed[is_atom, k] // 2]
        return self._compressed(at) + self.widths * passed / 2

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
        for k, places in enumerate(self.places):
            at = np.zeros((len(places), len(self.places)))
            at[:, k] = places
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
        pairs = zip(self.atoms, self.places, strict=True)
        for k, (atoms, places) in enumerate(pairs):
            column = x[:, k]
            atom = np.searchsorted(atoms, column).clip(max=len(atoms) - 1)
            gaps = 2 * np.searchsorted(places, column, "right")
            passed[:, k] = np.where(atoms[atom] == column, 2 * atom + 1, gaps)
        return passed

    def apart(self) -> NDArray[np.float64]:
        """Return bounds of points t beyond which values stand apart."""
        if self.tails is None:
            return super().apart()
        gaps = [[0.0] * len(self.places), [len(places) for places in self.places]]
        return self.tails.apart() + self.widths * np.array(gaps)

    def to_arrays(self) -> dict[str, Any]:
        """Return columns, atoms, widths, location and scale."""
        return {
            "columns": self.columns,
            "atoms": self.atoms,
            "places": self.places,
            "widths": self.widths,
            "location": self.location,
            "scale": self.scale,
            "tails": None if self.tails is None else self.tails.to_arrays(),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """Return the kind that `to_arrays` described."""
        tails = Tails.from_arrays(arrays.get("tails"))
        atoms, widths = list(arrays["atoms"]), arrays["widths"]
        # States of former versions have all gaps at the atoms.
        places = list(arrays.get("places", atoms))
        kind = cls(arrays["columns"], atoms, places, widths, tails)
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


def _places(atoms: NDArray[np.float64], wild: WildColumn | None) -> Array:
    """Return where the gaps of atoms are; those of sentinels are next to the core.

    Beside other atoms, too, so that the gaps are in the order of the atoms.
    """
    if wild is None:
        return atoms
    is_sentinel = np.isin(atoms, list(wild.sentinels))
    near = np.r_[wild.ends, atoms[~is_sentinel]]
    above = np.nextafter(near.max(), np.inf)  # the greatest value itself is below
    nearest = np.where(atoms < wild.low, near.min(), above)
    return np.where(is_sentinel, nearest, atoms)
