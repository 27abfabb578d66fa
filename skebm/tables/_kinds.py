"""The interface of column kinds, which map values to points of a line."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skebm.tables._cells import Intervals
from skebm.tables._moments import Moments
from skebm.tables._wild_column import WildColumn

Array = NDArray[Any]
Columns = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Table:
    """A table, and the options by which kinds recognise their columns.

    Attributes
    ----------
    X : ndarray of shape (n, n_features)
        Numbers and category indices; NaN where missing.
    weight : ndarray of shape (n,) or None
        Weights of the rows.
    moments : Moments
        Means and standard deviations of all columns, without wild values.
    categories : mapping of int to int
        Columns of category indices, and their numbers of categories.
    find_atoms : bool
        Whether columns of numbers may have values with a probability of their own.
    range_share : float
        Least scale of a column of numbers, as a share of its range.
    sentinels : {"warn", "atom", "missing"}
        "atom" where values that repeat far away have a probability of their own,
        whether or not `find_atoms` is set.
    wild : mapping of int to WildColumn
        The columns that have wild values.
    pseudo_rows : mapping of int to float
        Rows added to each category, by column, where they are not `PSEUDO_ROWS`.
    category_kinds : mapping of int to str
        "ordinal" or "cyclic", by category column that is not nominal.
    """

    X: Array
    weight: Array | None
    moments: Moments
    categories: Mapping[int, int]
    find_atoms: bool = False
    range_share: float = 0.0
    sentinels: str = "warn"
    wild: Mapping[int, WildColumn] = field(default_factory=dict)
    pseudo_rows: Mapping[int, float] = field(default_factory=dict)
    category_kinds: Mapping[int, str] = field(default_factory=dict)


class ColumnKind(ABC):
    """The columns of one kind: a map of their values to points of a line, and back.

    The value x is at t = `to_line` (x), standardised z = (t - location) / scale. Where
    a value has a probability, an interval of z stands for it: see `intervals`. Where
    values have a density, t(x) has slope one, or `log_slope` tells its slope.

    A new kind is one subclass in a file of its own and one row of `COLUMN_KINDS`.

    Attributes
    ----------
    columns : ndarray of int of shape (n_columns,)
        Indices of the columns.
    location, scale : ndarray of shape (n_columns,)
        m and s of the line, set by `standardize`.
    """

    #: Kinds of lower precedence claim columns first: 0 the user named them, 1 they are
    #: recognised by their values, 2 all others.
    precedence: ClassVar[int] = 1
    #: Whether `to_line` moves values, so that moments are computed again.
    moves: ClassVar[bool] = False
    #: Whether values differed in `fit`, so that classes may be told by them.
    varies: ClassVar[bool] = True
    #: Whether a missing entry is imputed by its mode, not by its mean or median.
    by_mode: ClassVar[bool] = False

    columns: Columns
    location: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    @abstractmethod
    def claim(cls, table: Table, free: Columns) -> Self | None:
        """Return the kind with its columns among the free ones; None without any.

        Parameters
        ----------
        table : Table
            All columns, and the options.
        free : ndarray of int
            Indices of the columns that no kind has claimed yet.
        """

    @abstractmethod
    def standardize(self, X: Array, moments: Moments) -> None:
        """Set location and scale.

        Parameters
        ----------
        X : ndarray of shape (n, n_features)
            All columns.
        moments : Moments
            Means and standard deviations of the points `to_line` (x) of the kind's
            columns.
        """

    @property
    def origin(self) -> NDArray[np.float64]:
        """The values x at z = 0, where columns are only shifted and scaled."""
        return self.location

    def to_line(self, x: Array) -> Array:
        """Return the points t of values (n, n_columns); NaN stays NaN."""
        return x

    def from_line(self, t: Array, indices: Array) -> Array:
        """Return the values of points t, which lie in the intervals of ``indices``.

        Without intervals ``indices`` has no columns.
        """
        del indices
        return t

    def category_kinds(self) -> dict[int, str]:
        """Return "nominal", "ordinal" or "cyclic", by category column."""
        return {}

    @property
    def bends(self) -> bool:
        """Whether `log_slope` is not zero everywhere."""
        return False

    def log_slope(self, t: Tensor) -> Tensor:
        """Return log dt/dx at points t, (n, n_columns): 0 where x has a probability."""
        return torch.zeros_like(t)

    def apart(self) -> NDArray[np.float64]:
        """Return bounds of points t beyond which values stand apart, (2, n_columns)."""
        return np.outer([-np.inf, np.inf], np.ones(len(self.columns)))

    def intervals(self) -> list[Intervals]:
        """Return the intervals of z of each column; an empty list without any."""
        return []

    def interval_indices(self, x: Array) -> NDArray[np.int64]:
        """Return the index of the interval that stands for each value; 0 for NaN."""
        raise NotImplementedError(f"{type(self).__name__} has no intervals.")

    @abstractmethod
    def to_arrays(self) -> dict[str, Any]:
        """Return the fitted state as arrays, numbers and lists of arrays."""

    @classmethod
    @abstractmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """Return the kind that `to_arrays` described."""


def observed(x: Array, weight: Array | None) -> tuple[Array, Array | None]:
    """Return the entries of a column that are not NaN, and their weights or None."""
    is_observed = ~np.isnan(x)
    return x[is_observed], None if weight is None else weight[is_observed]
