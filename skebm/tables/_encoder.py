"""Encodes the rows of a table as standardised rows, and decodes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, TypeVar

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from skebm.tables._category_indices import CategoryIndices
from skebm.tables._cells import Cells, Intervals
from skebm.tables._checks import CHUNK_ROWS
from skebm.tables._constants import Constants
from skebm.tables._determined import Determined
from skebm.tables._diffusion import CategoryDiffusion
from skebm.tables._kinds import Array, ColumnKind, Columns, Table
from skebm.tables._moments import Moments
from skebm.tables._numbers import Numbers
from skebm.tables._point_masses import PointMasses
from skebm.tables._sentinels import (
    sentinels_of,
    warn_of_sentinels,
    warn_of_strays,
    without_codes,
)
from skebm.tables._tails import wild_columns
from skebm.tables._value_sets import ValueSets
from skebm.utils import InvalidParameterError, phase

#: Rows as an array or a tensor.
Rows = TypeVar("Rows", NDArray[Any], Tensor)
#: The kinds of columns by name; they claim columns in the order of their `precedence`.
COLUMN_KINDS: dict[str, type[ColumnKind]] = {
    "categories": CategoryIndices,
    "constants": Constants,
    "point_masses": PointMasses,
    "numbers": Numbers,
}
#: Largest standardised value: squares of larger ones overflow and scores become NaN.
MAX_STANDARDIZED = 1e15
#: Least share of the weight that the rows have together beside the two heaviest.
MIN_OTHER_WEIGHT = 1e-6


class TableEncoder:
    r"""Encodes the rows x of a table as standardised rows z, and decodes them.

    .. math:: z_j = (t_j(x_j) - m_j) / s_j, \qquad
              \log p(x) = \log p(z) + \sum_j \log t_j'(x_j) - \log s_j

    The kind of a column defines the map t from its values to points of a line, and the
    line's location m and scale s. Columns whose values have probabilities have
    quantization cells: there an encoded row is at the midpoints of its cell. Missing
    entries stay NaN.

    Parameters
    ----------
    kinds : sequence of ColumnKind
        Fitted kinds that hold all columns together.
    codes : mapping of int to list of float, default={}
        By column, values that stand for missing entries.
    values : ValueSets or None, default=None
        The values that drawn columns take; None where they take any.
    determined : Determined or None, default=None
        The columns that another one determines; None where there are none.

    Attributes
    ----------
    kinds, codes, values, determined
        The same.
    location, scale : ndarray of shape (n_features,)
        m and s.
    cells : Cells or None
        The quantization cells; None where no column has intervals.
    """

    def __init__(
        self,
        kinds: Sequence[ColumnKind],
        codes: Mapping[int, list[float]] | None = None,
        values: ValueSets | None = None,
        determined: Determined | None = None,
    ) -> None:
        self.kinds, self.codes = list(kinds), dict(codes or {})
        self.values, self.determined = values, determined or Determined()
        n_features = sum(len(kind.columns) for kind in kinds)
        self.location, self.scale = np.empty(n_features), np.empty(n_features)
        for kind in self.kinds:
            self.location[kind.columns] = kind.origin
            self.scale[kind.columns] = kind.scale
        columns: list[int] = []
        intervals: list[Intervals] = []
        #: The places of the kinds' columns in the cells; empty without intervals.
        self._places: list[slice] = []
        for kind in self.kinds:
            start, of_kind = len(intervals), kind.intervals()
            columns.extend(kind.columns.tolist() if of_kind else [])
            intervals.extend(of_kind)
            self._places.append(slice(start, len(intervals)))
        known = {j: k for kind in self.kinds for j, k in kind.category_kinds().items()}
        diffusion = CategoryDiffusion.of(columns, intervals, known)
        self.cells = Cells(columns, intervals, diffusion) if columns else None

    @classmethod
    def fit(
        cls,
        X: Array,
        weight: Array | None = None,
        *,
        categories: Sequence[tuple[int, int] | tuple[int, int, str]] = (),
        find_atoms: bool = False,
        range_share: float = 0.0,
        sentinels: str = "warn",
        linear: bool = False,
        takes_atoms: bool = True,
        numbers_determine: bool = True,
        names: Any = None,
    ) -> Self:
        """Learn the kinds of the columns of X, their locations and scales.

        Parameters
        ----------
        X : ndarray of shape (n, n_features)
            Numbers and category indices; NaN where missing.
        weight : ndarray of shape (n,) or None
            Weights of the rows.
        categories : sequence of (column, size) or (column, size, kind)
            Columns of category indices, and their numbers of categories; the kind is
            "nominal", "ordinal" or "cyclic".
        find_atoms : bool, default=False
            Whether columns of numbers may have values with a probability of their own.
        range_share : float, default=0
            Least scale of a column of numbers, as a share of its range.
        sentinels : {"warn", "atom", "missing"}, default="warn"
            How to treat a sentinel, a value such as -9999 that repeats far away from
            the others of its column. "atom" gives it a probability of its own,
            "missing" takes it as a missing entry. "warn" names it in a warning, and
            treats it as `find_atoms` says.
        linear : bool, default=False
            Whether columns of numbers are only shifted and scaled, wild values and all.
        takes_atoms : bool, default=True
            Whether that warning names "atom" as a remedy.
        numbers_determine : bool, default=True
            Whether a category may be coded by its difference to the one that a number
            says. Not where classes are learnt: the number has no order of its own.
        names : array-like or None
            Names of the columns, for messages.

        Raises
        ------
        ValueError
            Where a column's variance overflows float64, or one row or two have all
            but a millionth of the weight; with `linear`, where sentinels="atom".

        Warns
        -----
        skebm.exceptions.DataWarning
            With sentinels="warn", by column, value and share; and always of single
            values that are surely none of their column's.
        """
        _check_weight(weight)
        kinds_named = {one[0]: one[2] for one in categories if len(one) == 3}
        sizes = {one[0]: one[1] for one in categories}
        _check_linear(linear, sentinels)
        X, weight = _observed_rows(X, weight)
        moments = Moments.of(X, weight, names)
        numbers = np.setdiff1d(np.flatnonzero(moments.varies), list(sizes))
        wild = wild_columns(X, weight, numbers)
        codes = sentinels_of(wild) if sentinels == "missing" else {}
        if sentinels == "warn":
            warn_of_sentinels(wild, names, takes_atoms)
        elif codes:
            X, weight = _observed_rows(without_codes(X, codes), weight)
            moments = Moments.of(X, weight, names)
            wild = wild_columns(X, weight, numbers)
        warn_of_strays(wild, names)
        wild = {} if linear else wild
        values = ValueSets.learn(X, sizes, with_atoms=not find_atoms)
        determined = Determined.find(X, sizes, numbers_determine)
        if determined.pairs:
            moments = Moments.of(X := determined.recode(X), weight, names)
        moments = moments.without_wild(wild)
        recoded = {pair.column for pair in determined.pairs}
        table = Table(
            X,
            weight,
            moments,
            sizes,
            find_atoms,
            range_share,
            sentinels,
            wild,
            determined.pseudo_rows(),
            # The codes of determined columns are in no order.
            {j: k for j, k in kinds_named.items() if j not in recoded},
        )
        kinds = _claim(table)
        moments = _moments_on_the_line(kinds, table, names)
        for kind in kinds:
            kind.standardize(X, moments.of_columns(kind.columns))
        return cls(kinds, codes, values, determined)

    def log_widths(self, X: Array) -> NDArray[np.float64]:
        """Return what turns densities at filled numbers into probabilities, (n,)."""
        return self.determined.log_widths(self.without_codes(X))

    def log_jacobian(self, z: Tensor) -> Tensor:
        """Return the log of the Jacobian determinant of z in x at rows z, (n,).

        That of the observed columns: missing entries are marginalised.
        """
        missing = z.isnan()
        log_scale = np.log(self.scale)
        jacobian = z.new_full((len(z),), -log_scale.sum(), dtype=torch.float64)
        if missing.any():
            scales = torch.from_numpy(log_scale).to(z.device)
            jacobian = -torch.where(missing, 0.0, scales).sum(dim=1)
        for kind in self.kinds:
            if kind.bends:
                location, scale = (
                    torch.from_numpy(table).to(z.device)
                    for table in (kind.location, kind.scale)
                )
                points = location + scale * z[:, kind.columns].double()
                jacobian = jacobian + kind.log_slope(points).nansum(dim=1)
        return jacobian

    def apart(self) -> NDArray[np.float64]:
        """Return bounds of z beyond which values stand apart, (2, n_features).

        Wild values that are far from all others of their column; infinite elsewhere.
        """
        bounds = np.empty((2, len(self.scale)))
        for kind in self.kinds:
            bounds[:, kind.columns] = (kind.apart() - kind.location) / kind.scale
        return bounds

    def inner_edges(self) -> list[NDArray[np.float64] | None]:
        """Return the edges between the cells of each column; None without cells."""
        intervals = [self.intervals_of(j) for j in range(len(self.scale))]
        return [None if one is None else one.start[1:-1] for one in intervals]

    @property
    def summarizes_by_mode(self) -> NDArray[np.bool_]:
        """Whether each column is imputed by the mode of its draws, (n_features,)."""
        by_mode = np.zeros(len(self.scale), dtype=bool)
        for kind in self.kinds:
            by_mode[kind.columns] = kind.by_mode
        return by_mode

    def encode(self, X: Array, dtype: DTypeLike = np.float32) -> Array:
        """Return the rows of X standardised, at the midpoints of their cells."""
        X = self.without_codes(X)
        z = np.empty(X.shape, dtype=dtype)
        with phase("standardising rows", len(X)) as told:
            for start in range(0, len(X), CHUNK_ROWS):
                chunk = slice(start, start + CHUNK_ROWS)
                z[chunk] = self._encode(X[chunk], dtype)
                told.done(start + CHUNK_ROWS)
        return z

    def encode_tensor(self, x: Tensor) -> Tensor:
        """Return rows (n, n_features) standardised, as torch can differentiate them.

        Where an interval stands for a value, the derivative is that of the line.
        """
        values = x.detach()
        z = torch.from_numpy(self.encode(values.cpu().numpy())).to(x.device)
        slope = torch.from_numpy(1 / self.scale).to(x.device).expand(x.shape).clone()
        for kind in self.kinds:
            if kind.bends:
                points = z[:, kind.columns].cpu().double().numpy()
                t = torch.from_numpy(kind.location + kind.scale * points)
                slope[:, kind.columns] *= kind.log_slope(t).exp().to(x.device)
        return z + ((x - values) * slope).to(z.dtype)

    def hold_constants(self, z: Rows) -> Rows:
        """Return rows, arrays or tensors, as if no constant had moved; NaN stays."""
        columns = [kind.columns for kind in self.kinds if not kind.varies]
        if not columns:
            return z
        factor = np.ones(z.shape[1], dtype=np.float32)
        factor[np.concatenate(columns)] = 0
        if isinstance(z, Tensor):
            return z * torch.from_numpy(factor).to(z)
        return z * factor.astype(z.dtype)

    def without_codes(self, X: Array) -> Array:
        """Return X, with NaN in place of the values that stand for missing entries."""
        return without_codes(X, self.codes)

    def _encode(self, X: Array, dtype: DTypeLike) -> Array:
        X = self.determined.recode(X)
        z = np.empty(X.shape, dtype=dtype)
        for kind in self.kinds:
            t = kind.to_line(_columns_of(X, kind.columns))
            with np.errstate(over="ignore"):
                standardized = (t - kind.location) / kind.scale
            np.clip(standardized, -MAX_STANDARDIZED, MAX_STANDARDIZED, out=standardized)
            z[:, kind.columns] = standardized
        if self.cells is None:
            return z
        return self.cells.midpoints(z, self._interval_indices(X))

    def _interval_indices(self, X: Array) -> NDArray[np.int64]:
        """Return the interval indices of the columns with cells, (n, n_columns)."""
        indices = [
            kind.interval_indices(_columns_of(X, kind.columns))
            for kind, place in zip(self.kinds, self._places, strict=True)
            if place.start < place.stop
        ]
        return np.concatenate(indices, axis=1)

    def decode(self, z: Array) -> NDArray[np.float64]:
        """Return the rows of the table that standardised rows z stand for."""
        X = self.location + self.scale * np.asarray(z, dtype=np.float64)
        indices = np.empty((len(X), 0), dtype=np.int64)
        if self.cells is not None:
            indices = self.cells.indices(z)
        for kind, place in zip(self.kinds, self._places, strict=True):
            line = X[:, kind.columns]
            X[:, kind.columns] = kind.from_line(line, indices[:, place])
        return self.determined.undo(X)

    def draws(self, z: Array) -> NDArray[np.float64]:
        """Return `decode` (z) in the nearest values that the columns can take."""
        return self.nearest_values(self.decode(z))

    def encode_incomplete(self, X: Array) -> NDArray[np.float32]:
        """Encode rows whose missing entries are to be drawn given the others.

        Beyond the values seen, where no row says which category goes with a number, a
        row that misses a category is taken at the nearest value seen.
        """
        z = self.encode(X)
        if self.values is None or not self.summarizes_by_mode.any():
            return z
        lacks = np.isnan(z[:, self.summarizes_by_mode]).any(axis=1)
        z[lacks] = self.encode(self.values.within_range(X[lacks]))
        return z

    def fills(self, values: Array, missing: NDArray[np.bool_]) -> Array:
        """Return summaries of a row's missing entries as values that go together."""
        row = np.full((1, len(missing)), np.nan)
        row[0, missing] = values
        self.determined.reconcile(row, missing)
        return self.nearest_values(row)[0, missing]

    def seeing(self, X: Array) -> Self:
        """Return the encoder whose columns can take the values of rows X, too."""
        if self.values is None:
            return self
        values = self.values.merged(self.without_codes(X))
        return type(self)(self.kinds, self.codes, values, self.determined)

    def nearest_values(self, X: Array) -> Array:
        """Return the values nearest to X that the columns can take; NaN stays NaN."""
        return X if self.values is None else self.values.nearest(X)

    def intervals_of(self, column: int) -> Intervals | None:
        """Return the intervals of a column; None where it has none."""
        for kind in self.kinds:
            intervals = kind.intervals() if column in kind.columns else []
            if intervals:
                return intervals[kind.columns.tolist().index(column)]
        return None

    @property
    def category_columns(self) -> tuple[int, ...]:
        """The columns of categories."""
        kinds = (kind for kind in self.kinds if isinstance(kind, CategoryIndices))
        return tuple(sorted(j for kind in kinds for j in kind.columns.tolist()))

    def centred(self, z: Tensor) -> Tensor:
        """Move standardised rows to the midpoints of their cells, as `encode` does."""
        return z if self.cells is None else self.cells.centred(z)

    def log_mass(
        self,
        log_density: Callable[[Tensor], Tensor],
        n_nodes: int | None = None,
    ) -> Callable[[Tensor], Tensor]:
        """Return the function that integrates exp(log_density) over a row's cell."""
        if self.cells is None:
            return log_density
        return self.cells.log_mass(log_density, n_nodes)

    def to_arrays(self) -> dict[str, Any]:
        """Return the kinds' arrays by the names of the kinds in `COLUMN_KINDS`."""
        names = {kind: name for name, kind in COLUMN_KINDS.items()}
        arrays: dict[str, Any] = {
            names[type(kind)]: kind.to_arrays() for kind in self.kinds
        }
        if self.codes:
            arrays["codes"] = {str(j): values for j, values in self.codes.items()}
        if self.values is not None:
            arrays["values"] = self.values.to_arrays()
        return arrays | {"determined": self.determined.to_arrays()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """Return the encoder that `to_arrays` described."""
        kinds = [
            COLUMN_KINDS[name].from_arrays(part)
            for name, part in arrays.items()
            if name in COLUMN_KINDS
        ]
        codes = {int(j): values for j, values in arrays.get("codes", {}).items()}
        # States of format 1 may lack the rest.
        values = arrays.get("values")
        values = None if values is None else ValueSets.from_arrays(values)
        determined = Determined.from_arrays(arrays.get("determined", []))
        return cls(kinds, codes, values, determined)


def _check_linear(linear: bool, sentinels: str) -> None:
    """Raise ValueError where linear columns should give a value a probability."""
    if linear and sentinels == "atom":
        raise ValueError(
            "sentinels='atom' does not go with a 'reference' in the units of X, or a "
            "network for images: no value has a probability there. Take "
            "sentinels='missing'."
        )


def _claim(table: Table) -> list[ColumnKind]:
    """Return the kinds that hold the columns of a table."""
    free, kinds = np.arange(table.X.shape[1]), []
    for candidate in sorted(COLUMN_KINDS.values(), key=lambda k: k.precedence):
        kind = candidate.claim(table, free)
        if kind is not None:
            kinds.append(kind)
            free = np.setdiff1d(free, kind.columns)
    return kinds


def _moments_on_the_line(
    kinds: Sequence[ColumnKind], table: Table, names: Any
) -> Moments:
    """Return the moments of the points of values, wild ones left out.

    Where most values are wild, as those of one atom may be, all count.
    """
    moving = [kind for kind in kinds if kind.moves or kind.bends]
    if not moving:
        return table.moments
    wild = {j: column for j, column in table.wild.items() if column.share >= 0.5}

    def to_line(rows: Array) -> Array:
        line = rows.astype(np.float64)
        for kind in moving:
            line[:, kind.columns] = kind.to_line(line[:, kind.columns])
        for j, column in wild.items():
            line[~column.holds(rows[:, j]), j] = np.nan
        return line

    # Moments of all columns at once: rounding depends on the table's shape.
    return Moments.of(table.X, table.weight, names, to_line, leaves_out=bool(wild))


def _columns_of(X: Array, columns: Columns) -> Array:
    """Return some columns of X, without a copy where they are all columns."""
    return X if len(columns) == X.shape[1] else X[:, columns]


def _check_weight(weight: Array | None) -> None:
    """Raise ValueError where the weights leave a row or two of more."""
    if weight is None:
        return
    ordered = np.sort(weight)
    for heaviest in range(1, min(3, len(weight))):
        others = ordered[:-heaviest].sum()
        if others < MIN_OTHER_WEIGHT * ordered.sum():
            rows = "one row" if heaviest == 1 else "two rows"
            raise InvalidParameterError(
                f"The 'sample_weight' parameter gives {rows}, of a weight of up to "
                f"{ordered[-1]:g}, all but a millionth of the total: the spread of the "
                f"columns can't be learnt of {rows}. Take smaller weights."
            )


def _observed_rows(X: Array, weight: Array | None) -> tuple[Array, Array | None]:
    """Return X and weights without the rows whose entries are all missing."""
    rows = ~np.isnan(X).all(axis=1)
    if rows.all() or not rows.any():
        return X, weight
    return X[rows], None if weight is None else weight[rows]
