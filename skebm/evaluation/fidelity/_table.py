"""Tables as pictures and reports see them: named columns, numbers and categories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from skebm.tables import categorical_mask
from skebm.tables._seen import see
from skebm.utils import InvalidParameterError
from skebm.utils._sklearn import HasMethods


@dataclass(frozen=True, eq=False)
class ShownTable:
    """A table with a name for each column.

    Attributes
    ----------
    frame : DataFrame
        The rows.
    names : list of str
        Names of the columns.
    is_frame : bool
        Whether the table came as a data frame.
    is_categorical : ndarray of bool of shape (n_features,)
        Which columns hold categories.
    """

    frame: pd.DataFrame
    names: list[str]
    is_frame: bool
    is_categorical: NDArray[np.bool_]

    @classmethod
    def of(cls, X: Any, estimator: Any = None) -> Self:
        """Return a table; an estimator may tell which of its columns are categories."""
        seen = see(X)
        values = seen.values.toarray() if sparse.issparse(seen.values) else seen.values
        frame = values if seen.is_frame else pd.DataFrame(np.asarray(values))
        names = [str(c) if seen.is_frame else f"column {c}" for c in frame.columns]
        known = getattr(estimator, "is_categorical_", None)
        if known is None:
            known = categorical_mask(frame, "from_dtype" if seen.is_frame else None)
        return cls(frame, names, seen.is_frame, np.asarray(known, dtype=bool))

    def like(self, X: Any) -> ShownTable:
        """Return another table of the same columns."""
        frame = ShownTable.of(X).frame
        if frame.shape[1] != self.n_features:
            raise ValueError(
                f"Tables must have the same columns. Got {frame.shape[1]} of them "
                f"beside {self.n_features}."
            )
        return ShownTable(
            frame.set_axis(self.frame.columns, axis=1),
            self.names,
            self.is_frame,
            self.is_categorical,
        )

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return self.frame.shape[1]

    def index(self, column: Any) -> int:
        """Return the place of a column that is named or numbered.

        Raises
        ------
        ValueError
            Where there is no such column; it lists the names.
        """
        if self.is_frame and column in list(self.frame.columns):
            return list(self.frame.columns).index(column)
        is_number = isinstance(column, int | np.integer)
        if is_number and -self.n_features <= column < self.n_features:
            return int(column) % self.n_features
        raise ValueError(
            f"Columns must be numbers from 0 to {self.n_features - 1} or names of a "
            f"data frame's columns, {', '.join(self.names)}. Got {column!r}."
        )

    def indices(self, columns: Any, most: int, parameter: str) -> list[int]:
        """Return the places of columns; those of all where None, if these are few."""
        if columns is None:
            if self.n_features > most:
                raise InvalidParameterError(
                    f"The '{parameter}' parameter must name some columns where there "
                    f"are more than {most}. Got None, and a table of "
                    f"{self.n_features}."
                )
            return list(range(self.n_features))
        if isinstance(columns, str | int | np.integer):
            columns = [columns]
        found = [self.index(column) for column in columns]
        if not found or len(set(found)) < len(found):
            raise InvalidParameterError(
                f"The '{parameter}' parameter must name columns, each once. Got "
                f"{columns!r}."
            )
        return found

    def some(self, n: int, rng: np.random.RandomState) -> ShownTable:
        """Return at most n rows, chosen at random."""
        chosen = np.sort(rng.permutation(len(self))[:n])
        rows = self.frame.iloc[chosen]
        return ShownTable(rows, self.names, self.is_frame, self.is_categorical)

    def categories(self, j: int) -> NDArray[Any]:
        """Return the categories of a column that rows have, sorted."""
        column = self.frame.iloc[:, j]
        if isinstance(column.dtype, pd.CategoricalDtype):
            seen = column.cat.remove_unused_categories().cat.categories
            return np.asarray(seen, dtype=object)
        values = column.dropna().unique()
        return np.array(sorted(values, key=lambda v: (str(type(v)), v)), dtype=object)

    def numbers(self, j: int) -> NDArray[np.float64]:
        """Return a column of numbers; NaN where missing."""
        column = pd.to_numeric(self.frame.iloc[:, j])
        return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))

    def codes(self, j: int, categories: NDArray[Any]) -> NDArray[np.float64]:
        """Return the place of each row's category among these; NaN for others."""
        place = {category: float(k) for k, category in enumerate(categories)}
        column = self.frame.iloc[:, j].astype(object)
        return np.array(
            [np.nan if pd.isna(v) else place.get(v, np.nan) for v in column],
            dtype=np.float64,
        )

    def as_numbers(self, others: ShownTable | None = None) -> NDArray[np.float64]:
        """Return the table as numbers, with codes for categories.

        The codes are those of this table's categories and, after them, of the others'.
        """
        table = np.empty(self.frame.shape)
        for j in range(self.n_features):
            if self.is_categorical[j]:
                table[:, j] = self.codes(j, all_categories(others or self, self, j))
            else:
                table[:, j] = self.numbers(j)
        return table

    # ------------------------------------------------------------------ asking

    def values(self) -> Any:
        """Return the rows for an estimator: a frame where the table was one."""
        return self.frame if self.is_frame else self.frame.to_numpy()

    def blank(self, n: int) -> pd.DataFrame:
        """Return n rows of these columns whose entries are all missing."""
        columns = [missing(self.frame.iloc[:, j], n) for j in range(self.n_features)]
        blank = pd.concat(columns, axis=1)
        return blank.set_axis(self.frame.columns, axis=1)

    def written(self, n: int, values: Mapping[int, Any]) -> Any:
        """Return n rows with given columns, the other ones missing, for an estimator.

        A frame where the table was one, else an array.
        """
        rows = self.blank(n)
        for j, column in values.items():
            name = self.frame.columns[j]
            dtype = rows.dtypes.iloc[j]
            filled = np.broadcast_to(np.asarray(column, dtype=object), n)
            rows[name] = pd.Series(list(filled), dtype=dtype)
        return rows if self.is_frame else rows.to_numpy()


def all_categories(first: ShownTable, second: ShownTable, j: int) -> NDArray[Any]:
    """Return the categories of a column in two tables, those of the first first."""
    known = list(first.categories(j))
    new = [v for v in second.categories(j) if v not in set(known)]
    return np.array([*known, *new], dtype=object)


def missing(column: pd.Series, n: int) -> pd.Series:
    """Return a column of n missing entries, of a dtype that holds the values too."""
    dtype: Any = column.dtype
    if isinstance(dtype, np.dtype):
        dtype = {"b": "boolean", "i": "float64", "u": "float64"}.get(dtype.kind, dtype)
    return pd.Series([None] * n, dtype=dtype)


def draw(estimator: Any, n: int, random_state: Any) -> Any:
    """Return n draws of an estimator, without the classes that a classifier gives."""
    options = {"random_state": random_state}
    if "random_state" not in signature(estimator.sample).parameters:
        options = {}  # scikit-learn's mixtures have a seed of their own
    drawn = estimator.sample(n, **options)
    return drawn[0] if isinstance(drawn, tuple) else drawn


def draw_table(
    estimator: Any, table: ShownTable, n: int, random_state: Any
) -> ShownTable:
    """Return n draws as a table like that of the rows."""
    if not HasMethods("sample").is_satisfied_by(estimator):
        raise TypeError(
            f"{type(estimator).__name__} has no method sample: there are no draws to "
            "compare with rows."
        )
    return table.like(draw(estimator, n, random_state))


def estimator_name(estimator: Any) -> str:
    """Return the name of an estimator's class."""
    return type(estimator).__name__
