"""The values that columns of numbers can take, by those that were seen."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from skebm.tables._atoms import ATOM_SHARE
from skebm.tables._atoms import find_atoms as atoms_of
from skebm.tables._checks import listed
from skebm.tables._kinds import Array

#: A column of so many values or fewer, each seen often, takes no other ones.
MAX_CODES = 20
#: Least rows a value, on average, for the values of a column to be codes.
ROWS_A_CODE = 5
#: Largest distance of a value from the atom that it counts as, in standard deviations.
MAX_RADIUS = 0.1
#: Most values that an atom takes from the others, as a share of its own.
MAX_TAKEN = 0.05
#: Least positive number, the bound of a column of positive values.
TINY = float(np.finfo(np.float64).tiny)
#: Rows that are looked at first: most columns of many values show them there.
FIRST_ROWS = 1000
#: Relative error of a number that came as float32.
ROUNDING = 1e-6
#: Least rows at the least or greatest value for that to be a bound.
ROWS_AT_BOUND = 5


@dataclass(frozen=True, eq=False)
class ValueSets:
    """The values that columns can take.

    A column takes whole numbers where all values seen are whole; one sign where they
    have one; values from 0 to 1 where they lie there; nothing beyond a least or
    greatest value that as many rows share as another value of the column; an atom, a
    value of many rows, in place of values close to it; and, where they are few and each
    is seen often, the values seen.

    Attributes
    ----------
    whole : ndarray of bool of shape (n_features,)
        Whether the column takes whole numbers.
    lower, upper : ndarray of shape (n_features,)
        Bounds; infinite without any.
    least, greatest : ndarray of shape (n_features,)
        The values seen that stand for those beyond the bounds.
    atoms : dict of int to ndarray of shape (n_atoms, 2)
        By column, atoms and the distances within which values count as theirs.
    codes : dict of int to ndarray
        Sorted values of the columns that take few, by column.
    """

    whole: NDArray[np.bool_]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    least: NDArray[np.float64]
    greatest: NDArray[np.float64]
    atoms: dict[int, NDArray[np.float64]]
    codes: dict[int, NDArray[np.float64]]

    @classmethod
    def learn(
        cls, X: Array, free: Collection[int] = (), *, with_atoms: bool = True
    ) -> Self:
        """Learn the values of the columns of X.

        Parameters
        ----------
        X : ndarray of shape (n, n_features)
            NaN where missing.
        free : collection of int
            Columns that are left as they are, such as those of category indices.
        with_atoms : bool, default=True
            Whether to learn atoms; not where their draws are exact already.
        """
        n_features = X.shape[1]
        whole = np.zeros(n_features, dtype=bool)
        least, greatest = (np.full(n_features, np.nan) for _ in range(2))
        lower, upper = np.full(n_features, -np.inf), np.full(n_features, np.inf)
        atoms, codes = {}, {}
        for j in set(range(n_features)).difference(free):
            x = X[:, j][~np.isnan(X[:, j])]
            if not len(x):
                continue
            whole[j], least[j], greatest[j] = (x == np.rint(x)).all(), x.min(), x.max()
            if len(values := _codes(x)):
                codes[j] = values
            if with_atoms and len(values := _atoms(x)):
                atoms[j] = values
            lower[j], upper[j] = _bounds(x)
        return cls(whole, lower, upper, least, greatest, atoms, codes)

    def nearest(self, X: Array) -> Array:
        """Return the nearest values that the columns can take; NaN stays NaN."""
        found = np.where(self.whole, np.rint(X) + 0.0, X)  # no -0
        found = np.where(self.lower > found, self.least, found)
        found = np.where(self.upper < found, self.greatest, found)
        for j, atoms in self.atoms.items():
            for atom, radius in atoms:
                found[np.abs(X[:, j] - atom) < radius, j] = atom
        for j, values in self.codes.items():
            place = np.searchsorted((values[1:] + values[:-1]) / 2, X[:, j])
            found[:, j] = np.where(np.isnan(X[:, j]), np.nan, values[place])
        return found

    def within_range(self, X: Array) -> Array:
        """Return X, values beyond the least or greatest one seen moved to that."""
        X = np.where(self.least > X, self.least, X)
        return np.where(self.greatest < X, self.greatest, X)

    def bounds(self, j: int) -> tuple[float, float]:
        """Return the bounds of a column; 0 where its values have one sign."""
        lower, upper = float(self.lower[j]), float(self.upper[j])
        return 0.0 if lower == TINY else lower, 0.0 if upper == -TINY else upper

    def impossible(self, X: Array) -> NDArray[np.bool_]:
        """Tell the entries that are none of the values that the columns can take.

        Atoms are not asked about: a value beside one is possible.
        """
        nearest = np.where(self.whole, np.rint(X), X)
        nearest = np.clip(nearest, self.lower, self.upper)
        for j, values in self.codes.items():
            nearest[:, j] = values[np.abs(X[:, [j]] - values).argmin(axis=1)]
        size = np.fmax(np.abs(self.least), np.abs(self.greatest))
        rounding = ROUNDING * np.fmax(np.abs(X), np.nan_to_num(size))
        is_same = np.abs(X - nearest) <= rounding
        # Where none was zero, zero is no rounded positive or negative value.
        is_same &= ~((self.lower == TINY) & (X <= 0))
        is_same &= ~((self.upper == -TINY) & (X >= 0))
        return ~is_same & ~np.isnan(X)

    def described(self, j: int) -> str:
        """Return in words which values a column can take."""
        if j in self.codes:
            return listed([f"{value:g}" for value in self.codes[j]])
        lower, upper = self.lower[j], self.upper[j]
        words = ["whole numbers" if self.whole[j] else "numbers"]
        if np.isfinite(lower):
            words.append("above 0" if lower == TINY else f"from {lower:g}")
        if np.isfinite(upper):
            words.append("below 0" if upper == -TINY else f"to {upper:g}")
        return " ".join(words)

    def merged(self, X: Array) -> Self:
        """Return the values of these columns and of more rows X.

        Bounds and codes that the new rows keep to stay. Atoms stay. Columns of which
        nothing was learnt are left as they are.
        """
        free = np.flatnonzero(np.isnan(self.least)).tolist()
        new = type(self).learn(X, free, with_atoms=False)
        more = ~np.isnan(new.least)
        codes = {}
        for j, known in self.codes.items():
            x = X[:, j][~np.isnan(X[:, j])]
            both = np.union1d(known, x)
            grows = j in new.codes and len(both) <= MAX_CODES
            if len(both) == len(known) or grows:
                codes[j] = both
        lower = np.where(
            new.least < self.lower, np.minimum(new.lower, self.lower), self.lower
        )
        upper = np.where(
            new.greatest > self.upper, np.maximum(new.upper, self.upper), self.upper
        )
        return type(self)(
            self.whole & (new.whole | ~more),
            lower,
            upper,
            np.fmin(self.least, new.least),
            np.fmax(self.greatest, new.greatest),
            self.atoms,
            codes,
        )

    def to_arrays(self) -> dict[str, Any]:
        """Return the sets as arrays and dicts of arrays."""
        by_column = {
            name: {str(j): values for j, values in getattr(self, name).items()}
            for name in BY_COLUMN
        }
        return {name: getattr(self, name) for name in BOUNDS} | by_column

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """Return the sets that `to_arrays` described."""
        parts: dict[str, Any] = {name: arrays[name] for name in BOUNDS}
        for name in BY_COLUMN:
            parts[name] = {int(j): values for j, values in arrays[name].items()}
        return cls(**parts)


BOUNDS = ("whole", "lower", "upper", "least", "greatest")
BY_COLUMN = ("atoms", "codes")


def _codes(x: Array) -> NDArray[np.float64]:
    """Return the values of a column that takes few, each often; else none."""
    none = np.empty(0)
    if len(np.unique(x[:FIRST_ROWS])) > MAX_CODES:
        return none
    values = np.unique(x).astype(np.float64)
    if len(values) == 1:
        return values
    few = len(values) <= min(MAX_CODES, len(x) / ROWS_A_CODE)
    return values if few else none


def _atoms(x: Array) -> NDArray[np.float64]:
    """Return a column's atoms, each with the distance of the values that are its."""
    _, counts = np.unique(x[:FIRST_ROWS], return_counts=True)
    if counts.max() < ATOM_SHARE / 2 * min(len(x), FIRST_ROWS):
        return np.empty((0, 2))
    pairs = []
    for atom in atoms_of(x):
        others = np.abs(x[x != atom] - atom)
        most = round(MAX_TAKEN * (len(x) - len(others)))
        radius = MAX_RADIUS * x.std(dtype=np.float64)
        if most < len(others):
            radius = min(radius, np.partition(others, most)[most])
        pairs.append((atom, radius))
    return np.array(pairs, dtype=np.float64).reshape(-1, 2)


def _bounds(x: Array) -> tuple[float, float]:
    """Return the bounds of a column's values."""
    least, greatest = x.min(), x.max()
    lower, upper = -np.inf, np.inf
    if least >= 0:
        lower = 0.0 if least == 0 else TINY
        if greatest <= 1:
            upper = 1.0 if greatest == 1 else np.nextafter(1.0, 0.0)
    elif greatest <= 0:
        upper = 0.0 if greatest == 0 else -TINY
    if _is_edge(x, least):
        lower = float(least)
    if _is_edge(x, greatest):
        upper = float(greatest)
    return lower, upper


def _is_edge(x: Array, extreme: float) -> bool:
    """Whether as many rows share the extreme value as half those of a usual value."""
    n_rows = int((x == extreme).sum())
    if n_rows < ROWS_AT_BOUND:
        return False
    return n_rows >= len(x) / len(np.unique(x)) / 2
