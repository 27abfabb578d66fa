"""The rows of two tables as one array that does not say whose they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from skebm.tables import categorical_mask
from skebm.tables._checks import check_numbers, columns_text
from skebm.tables._seen import see
from skebm.utils import InvalidParameterError

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

#: Advice on words among numbers, for messages.
AS_CATEGORIES = "name it in categorical_features."


@dataclass(frozen=True, eq=False)
class Pool:
    """The rows of two tables, those of the old one first.

    Attributes
    ----------
    values : ndarray of shape (n, n_features)
        Numbers and category indices; NaN where an entry is missing.
    categories : dict of int to list
        The categories of each column that has some.
    names : list
        Names of the columns, or their numbers.
    n_old : int
        Rows of the old table.
    """

    values: Array
    categories: Mapping[int, list[Any]]
    names: list[Any]
    n_old: int

    @classmethod
    def of(cls, X_old: Any, X_new: Any, categorical_features: Any) -> Self:
        """Read both tables; columns of two data frames go together by their names.

        Raises
        ------
        ValueError, TypeError
            Where one is no table, has no row, holds infinity, or has other columns.
        """
        old, new = read("X_old", X_old), read("X_new", X_new)
        new = like(old, new)
        names = list(old.columns)
        of_old, of_new = (categorical_mask(X, categorical_features) for X in (old, new))
        for j in np.flatnonzero(of_old != of_new).tolist():
            sides = [("X_old", old), ("X_new", new)]
            _check_words(names[j], j, *(sides if of_new[j] else sides[::-1]))
        mask = of_old | of_new
        both = pd.concat([old, new], ignore_index=True)
        values = np.empty(both.shape)
        categories: dict[int, list[Any]] = {}
        for j in np.flatnonzero(mask).tolist():
            column = pd.concat([old.iloc[:, j].astype(object), new.iloc[:, j]])
            indices, found = _factorized(names[j], column)
            # By name: the order of appearance would know whose rows are whose.
            order = sorted(range(len(found)), key=lambda k: _name(found[k]))
            place = np.argsort(order) if order else np.empty(0, dtype=int)
            known = indices >= 0
            values[:, j] = np.nan
            values[known, j] = place[indices[known]]
            categories[j] = [found[k] for k in order]
        for name, X, rows in (
            ("X_old", old, slice(len(old))),
            ("X_new", new, slice(len(old), None)),
        ):
            values[rows, ~mask] = _numbers(name, X.iloc[:, ~mask])
        return cls(values, categories, names, len(old))

    @property
    def n_new(self) -> int:
        """Rows of the new table."""
        return len(self.values) - self.n_old

    @property
    def n_columns(self) -> int:
        """Columns of both tables."""
        return self.values.shape[1]

    @property
    def is_new(self) -> NDArray[np.bool_]:
        """Whether each row is one of the new table, (n,)."""
        return np.arange(len(self.values)) >= self.n_old

    def draw(self, max_rows: int, rng: np.random.RandomState) -> Indices:
        """Return rows drawn at random, at most so many of each table, in order."""
        parts = []
        for start, n in ((0, self.n_old), (self.n_old, self.n_new)):
            drawn = np.arange(n) if n <= max_rows else rng.permutation(n)[:max_rows]
            parts.append(start + np.sort(drawn))
        return np.concatenate(parts)

    def take(self, rows: Indices) -> Self:
        """Return the pool of some rows, in order."""
        n_old = int(np.sum(rows < self.n_old))
        return replace(self, values=self.values[rows], n_old=n_old)


def _check_words(column: Any, j: int, plain: Any, wordy: Any) -> None:
    """Raise ValueError where a column holds words in one table, none in the other.

    Each table comes as its name and its frame.
    """
    known = wordy[1].iloc[:, j].dropna()
    word = next((value for value in known if isinstance(value, str)), None)
    if word is not None and plain[1].iloc[:, j].notna().any():
        raise ValueError(
            f"Column {column!r} holds words in {wordy[0]}, such as {word!r:.40}, and "
            f"none in {plain[0]}. Make it the same in both."
        )


def _factorized(name: Any, column: pd.Series) -> tuple[NDArray[np.int64], Any]:
    """Return indices of categories and these, -1 where missing."""
    try:
        return pd.factorize(column.to_numpy(dtype=object))
    except TypeError as error:
        raise TypeError(
            f"Column {name!r} must hold words or numbers: {error}."
        ) from error


def _name(value: Any) -> tuple[str, str]:
    return type(value).__name__, repr(value)


def read(name: str, X: Any) -> pd.DataFrame:
    """Return a table as a pandas frame."""
    try:
        values = see(X).values
    except (TypeError, ValueError) as error:
        raise InvalidParameterError(
            f"The {name!r} parameter is no table: {error}"
        ) from error
    if sparse.issparse(values):
        values = values.toarray()
    frame = values if isinstance(values, pd.DataFrame) else pd.DataFrame(values)
    if not frame.shape[0] or not frame.shape[1]:
        raise InvalidParameterError(
            f"The {name!r} parameter must have rows and columns. Got shape "
            f"{frame.shape}."
        )
    return frame


def like(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Return the new frame with the columns of the old one, in their order."""
    has_names = not any(isinstance(X.columns, pd.RangeIndex) for X in (old, new))
    lacking = []
    if has_names:
        for name, has, other in (("X_old", old, new), ("X_new", new, old)):
            rest = [column for column in other.columns if column not in has.columns]
            lacking += [f" {name} has no {', '.join(map(repr, rest[:5]))}."] * bool(
                rest
            )
    if lacking or old.shape[1] != new.shape[1]:
        raise ValueError(
            "X_old and X_new must have the same columns. Got "
            f"{old.shape[1]} and {new.shape[1]}.{''.join(lacking)}"
        )
    return new[list(old.columns)] if has_names else new.set_axis(old.columns, axis=1)


def _numbers(name: str, X: pd.DataFrame) -> Array:
    """Return a frame of numbers as an array."""
    try:
        check_numbers(X, AS_CATEGORIES)
    except (TypeError, ValueError) as error:
        problem = str(error).removeprefix("X ")
        raise InvalidParameterError(f"{name} {problem}") from error
    table = np.empty(X.shape)
    for j in range(X.shape[1]):
        table[:, j] = X.iloc[:, j].to_numpy(dtype=np.float64, na_value=np.nan)
    infinite = np.asarray(np.isinf(table).any(axis=0))
    if infinite.any():
        where = columns_text(list(X.columns), infinite)
        raise ValueError(f"{name} contains infinity in {where}.")
    return table
