"""The values that columns of numbers can take, by those that were seen."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from skebm.tables._kinds import Array

#: A column of so many values or fewer, each seen often, takes no other ones.
MAX_CODES = 20
#: Least rows a value, on average, for the values of a column to be codes.
ROWS_A_CODE = 5
#: Least positive number, the bound of a column of positive values.
TINY = float(np.finfo(np.float64).tiny)
#: Rows that are looked at first: most columns of many values show them there.
FIRST_ROWS = 1000
#: Least rows at the least or greatest value for that to be a bound.
ROWS_AT_BOUND = 5


@dataclass(frozen=True, eq=False)
class ValueSets:
    """The values that columns can take.

    A column takes whole numbers where all values seen are whole; one sign where they
    have one; values from 0 to 1 where they lie there; nothing beyond a least or
    greatest value that as many rows share as another value of the column; and, where
    they are few and each is seen often, the values seen.

    Attributes
    ----------
    whole : ndarray of bool of shape (n_features,)
        Whether the column takes whole numbers.
    lower, upper : ndarray of shape (n_features,)
        Bounds; infinite without any.
    least, greatest : ndarray of shape (n_features,)
        The values seen that stand for those beyond the bounds.
    codes : dict of int to ndarray
        Sorted values of the columns that take few, by column.
    """

    whole: NDArray[np.bool_]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    least: NDArray[np.float64]
    greatest: NDArray[np.float64]
    codes: dict[int, NDArray[np.float64]]

    @classmethod
    def learn(cls, X: Array, free: Collection[int] = ()) -> Self:
        """Learn the values of the columns of X.

        Parameters
        ----------
        X : ndarray of shape (n, n_features)
            NaN where missing.
        free : collection of int
            Columns that are left as they are, such as those of category indices.
        """
        n_features = X.shape[1]
        whole = np.zeros(n_features, dtype=bool)
        least, greatest = (np.full(n_features, np.nan) for _ in range(2))
        lower, upper = np.full(n_features, -np.inf), np.full(n_features, np.inf)
        codes = {}
        for j in set(range(n_features)).difference(free):
            x = X[:, j][~np.isnan(X[:, j])]
            if not len(x):
                continue
            whole[j], least[j], greatest[j] = (x == np.rint(x)).all(), x.min(), x.max()
            if len(values := _codes(x)):
                codes[j] = values
            lower[j], upper[j] = _bounds(x)
        return cls(whole, lower, upper, least, greatest, codes)

    def nearest(self, X: Array) -> Array:
        """Return the nearest values that the columns can take; NaN stays NaN."""
        found = np.where(self.whole, np.rint(X), X)
        found = np.where(self.lower > found, self.least, found)
        found = np.where(self.upper < found, self.greatest, found)
        for j, values in self.codes.items():
            place = np.searchsorted((values[1:] + values[:-1]) / 2, X[:, j])
            found[:, j] = np.where(np.isnan(X[:, j]), np.nan, values[place])
        return found

    def to_arrays(self) -> dict[str, Any]:
        """Return the sets as arrays and lists of arrays."""
        bounds = {name: getattr(self, name) for name in ("whole", *BOUNDS)}
        code_columns = np.array(list(self.codes), dtype=np.int64)
        codes = list(self.codes.values())
        return {**bounds, "code_columns": code_columns, "codes": codes}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """Return the sets that `to_arrays` described."""
        bounds = {name: arrays[name] for name in ("whole", *BOUNDS)}
        pairs = zip(arrays["code_columns"].tolist(), arrays["codes"], strict=True)
        return cls(**bounds, codes=dict(pairs))


BOUNDS = ("lower", "upper", "least", "greatest")


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
