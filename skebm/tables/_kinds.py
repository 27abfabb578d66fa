"""The protocol of a kind of columns: how its values lie on a line."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from skebm.tables._cells import Intervals
from skebm.tables._moments import Moments

Array = NDArray[Any]
Columns = NDArray[np.int64]


@dataclass(frozen=True)
class Table:
    """A table whose columns are to be told apart.

    Attributes
    ----------
    X : ndarray of shape (n, n_features)
        Numbers, category indices, NaN where missing.
    weight : ndarray of shape (n,) or None
        Of the rows.
    moments : Moments
        Of all columns.
    categories : mapping of int to int
        Columns of category indices, and their numbers of categories.
    find_atoms : bool
        Whether columns of numbers may have values with a probability of their own.
    range_share : float
        Least scale of a column of numbers, as a share of its range.
    """

    X: Array
    weight: Array | None
    moments: Moments
    categories: Mapping[int, int]
    find_atoms: bool = False
    range_share: float = 0.0


class ColumnKind(ABC):
    """Some columns of one kind: their values on a line, and back.

    A value x lies at t = `to_line` (x), and standardised at z = (t - location) / scale.
    Where intervals of z stand for single values, `intervals` tells them.

    A new kind is one subclass in a file of its own and one row of `COLUMN_KINDS`.

    Attributes
    ----------
    columns : ndarray of int of shape (n_columns,)
        Indices of the columns.
    location, scale : ndarray of shape (n_columns,)
        Set by `standardize`.
    """

    #: Whether `to_line` moves values, so that moments are taken again.
    moves: ClassVar[bool] = False
    #: Whether an entry is summarised by its mode; else by its mean or median.
    by_mode: ClassVar[bool] = False

    columns: Columns
    location: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    @abstractmethod
    def claim(cls, table: Table, free: Columns) -> Self | None:
        """Return the kind with those of the free columns that are of it; None if none.

        Parameters
        ----------
        table : Table
            All columns, and what the user said of them.
        free : ndarray of int
            Indices of the columns that no earlier kind claimed.
        """

    @abstractmethod
    def standardize(self, x: Array, moments: Moments) -> None:
        """Set location and scale from the kind's columns and their moments on the line.

        Parameters
        ----------
        x : ndarray of shape (n, n_columns)
            The values.
        moments : Moments
            Of `to_line` (x).
        """

    def to_line(self, x: Array) -> Array:
        """Return the points t of values (n, n_columns); NaN stays NaN."""
        return x

    def from_line(self, t: Array, indices: Array) -> Array:
        """Return the values of points t; ``indices`` tell the intervals they lie in."""
        del indices
        return t

    def intervals(self) -> list[Intervals]:
        """Return the intervals of z of each column; empty where there are none."""
        return []

    def interval_indices(self, x: Array) -> NDArray[np.int64]:
        """Return the index of the interval that stands for each value; 0 for NaN."""
        raise NotImplementedError(f"{type(self).__name__} has no intervals.")

    @abstractmethod
    def to_arrays(self) -> dict[str, Any]:
        """Return all that was learnt, as arrays, numbers and lists."""

    @classmethod
    @abstractmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """Return the kind that `to_arrays` described."""


def observed(x: Array, weight: Array | None) -> tuple[Array, Array | None]:
    """Return the entries of a column that are not NaN, and their weights or None."""
    is_observed = ~np.isnan(x)
    return x[is_observed], None if weight is None else weight[is_observed]
