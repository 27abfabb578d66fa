"""The column kind of numbers with atoms, values that have a probability."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from skebm.tables._cells import Intervals
from skebm.tables._kinds import Array, ColumnKind, Columns, Table, observed
from skebm.tables._moments import Moments

#: Least share of the rows that have the value of an atom.
ATOM_SHARE = 0.1
#: Least ratio of the frequencies of an atom and of any value that is no atom.
ATOM_RATIO = 5
#: A column of this many values or fewer is a grid, and has no atoms.
MIN_OTHER_VALUES = 20


class PointMasses(ColumnKind):
    r"""Columns of numbers with atoms: values that have a probability of their own.

    The line of a column has a gap at each atom a, one standard deviation w wide, which
    is the atom's interval:

    .. math:: t(x) = x \;(x < a), \quad t(a) \in [a, a + w), \quad t(x) = x + w
              \;(x > a)

    Parameters
    ----------
    columns : ndarray of int
        Indices of the columns.
    atoms : list of ndarray
        Sorted atoms of each column.
    widths : ndarray of shape (n_columns,)
        w of each column.
    """

    moves = True

    def __init__(
        self,
        columns: Columns,
        atoms: list[NDArray[np.float64]],
        widths: NDArray[np.float64],
    ) -> None:
        self.columns, self.atoms, self.widths = columns, atoms, widths

    @classmethod
    def claim(cls, table: Table, free: Columns) -> Self | None:
        """Take the columns that have atoms, if `Table.find_atoms` is set."""
        if not table.find_atoms:
            return None
        found = {int(j): find_atoms(table.X[:, j], table.weight) for j in free}
        atoms = {j: values for j, values in found.items() if len(values)}
        if not atoms:
            return None
        columns = np.array(list(atoms), dtype=np.int64)
        moments = table.moments.of_columns(columns)
        widths = np.where(moments.varies, moments.spread, 1.0)
        return cls(columns, list(atoms.values()), widths)

    def standardize(self, X: Array, moments: Moments) -> None:
        """Take mean and standard deviation of the line with its gaps."""
        del X
        self.location = moments.mean
        self.scale = np.where(moments.varies, moments.spread, 1.0)

    def to_line(self, x: Array) -> Array:
        """Return values shifted past the gaps below them, atoms to gap midpoints."""
        return x + self.widths * self._passed(x) / 2

    def from_line(self, t: Array, indices: Array) -> Array:
        """Return values shifted back; points in a gap become its atom."""
        x = t - self.widths * (indices // 2)
        for k, atoms in enumerate(self.atoms):
            is_atom = indices[:, k] % 2 == 1
            x[is_atom, k] = atoms[indices[is_atom, k] // 2]
        return x

    def intervals(self) -> list[Intervals]:
        """Return the gaps and the stretches between them, in turn."""
        parts = zip(self.atoms, self.widths, self.location, self.scale, strict=True)
        intervals = []
        for atoms, width, location, scale in parts:
            low = (atoms + width * np.arange(len(atoms)) - location) / scale
            intervals.append(Intervals.of_atoms(low, width / scale, scale))
        return intervals

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
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """Return the kind that `to_arrays` described."""
        kind = cls(arrays["columns"], list(arrays["atoms"]), arrays["widths"])
        kind.location, kind.scale = arrays["location"], arrays["scale"]
        return kind


def find_atoms(x: Array, weight: Array | None = None) -> NDArray[np.float64]:
    """Return the values of a column that are far more frequent than the others."""
    x, weight = observed(x, weight)
    values, place = np.unique(x, return_inverse=True)
    none = np.empty(0, x.dtype)  # no view, which would keep all values
    if len(values) <= MIN_OTHER_VALUES:
        return none
    counts = np.bincount(place, weight)
    share = counts / counts.sum()
    atoms = share >= ATOM_SHARE
    if not atoms.any() or share[atoms].min() < ATOM_RATIO * share[~atoms].max():
        return none
    return values[atoms].astype(np.float64)
