"""Atoms: values of a column that are far more frequent than the others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skebm.tables._kinds import Array, observed

#: Least share of the rows that have the value of an atom.
ATOM_SHARE = 0.1
#: Least ratio of the frequencies of an atom and of any value that is no atom.
ATOM_RATIO = 5
#: A column of this many values or fewer is a grid, and has no atoms.
MIN_OTHER_VALUES = 20


def find_atoms(x: Array, weight: Array | None = None) -> NDArray[np.float64]:
    """Return the values of a column that are far more frequent than the others."""
    values, mass = distinct(*observed(x, weight))
    return values[atoms_among(values, mass)]


def distinct(
    x: Array, weight: Array | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sorted distinct values, and the weight of each."""
    if weight is None:
        values, counts = np.unique(x, return_counts=True)
        return values.astype(np.float64), counts.astype(np.float64)
    values, place = np.unique(x, return_inverse=True)
    mass = np.bincount(place, weight).astype(np.float64)
    return values.astype(np.float64), mass


def atoms_among(
    values: NDArray[np.float64],
    mass: NDArray[np.float64],
    min_others: int = MIN_OTHER_VALUES,
) -> NDArray[np.bool_]:
    """Return which of the distinct values are atoms; none where the values are few."""
    if len(values) <= min_others:
        return np.zeros(len(values), dtype=bool)
    share = mass / mass.sum()
    atoms = share >= ATOM_SHARE
    if atoms.all() or not atoms.any():
        return np.zeros(len(values), dtype=bool)
    if share[atoms].min() < ATOM_RATIO * share[~atoms].max():
        return np.zeros(len(values), dtype=bool)
    return np.asarray(atoms)
