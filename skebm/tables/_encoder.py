"""Tables of numbers, categories and atoms, brought to one scale and back."""

from __future__ import annotations

import numpy as np

from skebm.tables._cells import PSEUDO_ROWS, Cells, Pieces
from skebm.tables._standardizer import Standardizer

#: An atom is a value of a column of numbers with at least this share of the rows, ...
ATOM_SHARE = 0.1
#: ... and this many times as frequent as any value that is none.
ATOM_RATIO = 5
#: A column with fewer other values is a grid, and has no atoms.
MIN_OTHER_VALUES = 20


class MixedStandardizer(Standardizer):
    r"""`Standardizer` of a table that holds codes of categories, and atoms.

    A category has a cell of its share of the standard normal,

    .. math:: C_k = [\Phi^{-1}(F_{k-1}), \Phi^{-1}(F_k)), \qquad
              F_k = \sum_{l \le k} f_l

    and standard normal noise in it, so that the points of a column are standard normal.
    At an atom a the line of a column is cut and a gap opened, one standard deviation
    wide, which is the atom's cell:

    .. math:: t(x) = x \;(x < a), \quad t(a) \in [a, a + w), \quad t(x) = x + w
              \;(x > a)

    Entries that are NaN are left out, and stay NaN.

    Parameters
    ----------
    range_share : float
        As in `Standardizer`.
    code_columns : ndarray of int
        Numbers of the columns of codes.
    sizes : list of int
        Their numbers of categories.
    find_atoms : bool
        Whether other columns may have atoms.

    Attributes
    ----------
    atoms_ : dict of int to ndarray
        The atoms of columns that have some.
    """

    def __init__(self, range_share, code_columns, sizes, find_atoms):
        super().__init__(range_share)
        self.code_columns, self.sizes = code_columns, sizes
        self.find_atoms = find_atoms

    def fit(self, X, sample_weight=None, names=None):
        """Learn moments and cells from X."""
        self.atoms_, self._widths = {}, {}
        if self.find_atoms:
            numbers = np.setdiff1d(np.arange(X.shape[1]), self.code_columns)
            found = {int(j): find_atoms(X[:, j], sample_weight) for j in numbers}
            self.atoms_ = {j: atoms for j, atoms in found.items() if len(atoms)}
        super().fit(X, sample_weight, names)
        if self.atoms_:
            self._widths = {j: self.scale_[j] for j in self.atoms_}
            super().fit(self._open_gaps(X), sample_weight, names)
        self.mean_[self.code_columns], self.scale_[self.code_columns] = 0.0, 1.0
        pieces = dict(
            zip(self.code_columns, self._categories(X, sample_weight), strict=True)
        )
        for j, atoms in self.atoms_.items():
            scale, width = self.scale_[j], self._widths[j]
            low = (atoms + width * np.arange(len(atoms)) - self.mean_[j]) / scale
            pieces[j] = Pieces.of_atoms(low, width / scale, scale)
        if pieces:
            self.cells = Cells(list(pieces), list(pieces.values()))
        return self

    def _categories(self, X, weight):
        """Yield the pieces of each column of codes."""
        for j, size in zip(self.code_columns, self.sizes, strict=True):
            codes, some = _observed(X[:, j], weight)
            counts = np.bincount(codes.astype(np.int64), some, size) + PSEUDO_ROWS
            yield Pieces.of_categories(counts / counts.sum())

    def _open_gaps(self, X):
        """Return X with the values of columns moved apart where they have atoms."""
        X = X.astype(np.float64)
        for j in self.atoms_:
            X[:, j] += self._widths[j] * self._passed(X, j) / 2
        return X

    def _numbers(self, X):
        """Return the number of the piece that stands for each value with cells."""
        numbers = np.empty((len(X), len(self.cells.columns)), dtype=np.int64)
        for k, j in enumerate(self.cells.columns):
            codes = self._passed(X, j) if j in self.atoms_ else X[:, j]
            numbers[:, k] = np.where(np.isnan(X[:, j]), 0, codes)
        return numbers

    def _passed(self, X, j):
        """Return how many ends of gaps lie below each value: odd at atoms."""
        sides = (np.searchsorted(self.atoms_[j], X[:, j], s) for s in ("left", "right"))
        return sum(sides)

    def transform(self, X):
        """Return standardised rows, in the middle of their cells; NaN stays NaN."""
        if self.cells is None:
            return super().transform(X)
        Z = super().transform(self._open_gaps(X))
        return self.cells.middles(Z, self._numbers(X))

    def inverse_transform(self, Z):
        """Return rows in the units of X, codes where X has codes."""
        X = super().inverse_transform(Z)
        if self.cells is None:
            return X
        for j, number in zip(self.cells.columns, self.cells.numbers(Z).T, strict=True):
            if j not in self.atoms_:
                X[:, j] = number
                continue
            X[:, j] -= self._widths[j] * (number // 2)
            is_atom = number % 2 == 1
            X[is_atom, j] = self.atoms_[j][number[is_atom] // 2]
        return X

    def log_mass(self, log_density):
        """Return the function of points that integrates exp(log_density) over cells."""
        if self.cells is None:
            return log_density
        return self.cells.log_mass(log_density)


def find_atoms(x, weight=None):
    """Return the values of a column that are far more frequent than the others."""
    x, weight = _observed(x, weight)
    values, place = np.unique(x, return_inverse=True)
    if len(values) <= MIN_OTHER_VALUES:
        return values[:0]
    counts = np.bincount(place, weight)
    share = counts / counts.sum()
    atoms = share >= ATOM_SHARE
    if not atoms.any() or share[atoms].min() < ATOM_RATIO * share[~atoms].max():
        return values[:0]
    return values[atoms].astype(np.float64)


def _observed(x, weight):
    """Return the entries of a column that are not NaN, and their weights or None."""
    observed = ~np.isnan(x)
    return x[observed], None if weight is None else weight[observed]
