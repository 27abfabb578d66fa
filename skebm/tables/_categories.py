"""Finds the category columns of a table, and translates categories to indices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from skebm.tables._checks import AS_IN_FIT, check_numbers
from skebm.tables._diffusion import GRAPHS
from skebm.utils import InvalidParameterError

#: Most categories that a message lists.
MAX_SHOWN = 5
NAME_THEM = "Name them by categories=, or set handle_unknown='missing'."


class CategoryTable:
    """The categories of columns, translated to indices and back.

    Parameters
    ----------
    X : DataFrame
        Rows that the categories are learnt from.
    categories : "auto" or list of array-like
        "auto" takes all categories of pandas ``category`` columns and the sorted values
        of others.

    Attributes
    ----------
    values : list of Index
        The categories of each column.
    """

    def __init__(
        self, X: pd.DataFrame, categories: str | Sequence[ArrayLike] = "auto"
    ) -> None:
        self.names = list(X.columns)
        given: Sequence[Any] = categories
        if isinstance(categories, str):
            given = [None] * X.shape[1]
        if len(given) != X.shape[1]:
            raise ValueError(
                f"categories must be 'auto' or a list of one array a column. X has "
                f"{X.shape[1]} columns, the list {len(given)}."
            )
        columns = [X.iloc[:, j] for j in range(X.shape[1])]
        pairs = zip(columns, given, strict=True)
        self.values = [self._values(*pair) for pair in pairs]

    @staticmethod
    def _values(column: pd.Series, given: ArrayLike | None) -> pd.Index:
        if given is not None:
            values = pd.Index(given)
            if not values.is_unique or values.hasnans:
                raise ValueError(
                    f"categories of column {column.name!r} hold a value twice, or NaN."
                )
            return values
        if isinstance(column.dtype, pd.CategoricalDtype):
            return pd.CategoricalIndex(column.cat.categories, dtype=column.dtype)
        values = pd.Index(_indexed(column).dropna().unique())
        if not len(values):
            raise ValueError(
                f"No value of column {column.name!r} is observed; drop it."
            )
        try:
            return values.sort_values()
        except TypeError as error:
            raise TypeError(
                f"The values of column {column.name!r} can't be sorted: {error}. Make "
                "them of one type, or a pandas category, which has an order."
            ) from error

    def sizes(self) -> list[int]:
        """Return the number of categories of each column."""
        return [len(values) for values in self.values]

    def to_arrays(self) -> dict[str, Any]:
        """Return names and categories as lists and words."""
        return {"names": self.names, "values": [_pack(index) for index in self.values]}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """Return the categories that `to_arrays` described."""
        table = cls.__new__(cls)
        table.names = list(arrays["names"])
        table.values = [_unpack(packed) for packed in arrays["values"]]
        return table

    def encode(
        self, X: pd.DataFrame, handle_unknown: str = "error", advice: str = NAME_THEM
    ) -> NDArray[np.float64]:
        """Return category indices, float64 with NaN where a value is missing.

        ``advice`` ends the message on unknown values.

        Raises
        ------
        ValueError
            Where a value is no category of its column, unless ``handle_unknown`` is
            "missing".
        """
        indices = np.full(X.shape, np.nan)
        for j, values in enumerate(self.values):
            column = _indexed(X.iloc[:, j])
            known = pd.Index(np.asarray(values))
            if known.inferred_type == "boolean":
                column = _as_booleans(column)
            try:
                found_at = known.get_indexer(pd.Index(np.asarray(column)))
            except TypeError as error:
                raise TypeError(
                    f"Column {self.names[j]!r} must hold words or numbers: {error}."
                ) from error
            unknown = (found_at < 0) & ~column.isna().to_numpy()
            if unknown.any() and handle_unknown == "error":
                found = np.asarray(column, dtype=object)[unknown]
                raise ValueError(
                    f"Found unknown categories {_shown(pd.unique(found).tolist())} in "
                    f"column {self.names[j]!r}, which has {len(known)} in fit: "
                    f"{_shown(known.tolist())}. {advice}"
                )
            indices[:, j] = np.where(found_at < 0, np.nan, found_at)
        return indices

    def decode(self, indices: NDArray[np.int64]) -> pd.DataFrame:
        """Return the data frame of the categories of these indices."""
        pairs = zip(self.values, indices.T, strict=True)
        columns = [pd.Series(values.take(column)) for values, column in pairs]
        X = pd.concat(columns, axis=1)
        X.columns = self.names
        return X


def _indexed(column: pd.Series) -> pd.Series:
    """Return a column of a dtype that an index takes: not half precision."""
    return column.astype(np.float32) if column.dtype == np.float16 else column


def _as_booleans(column: pd.Series) -> pd.Series:
    """Return a column of 0 and 1 as booleans; another one as it is."""
    types = pd.api.types
    if types.is_bool_dtype(column) or not types.is_numeric_dtype(column):
        return column
    is_binary = column.dropna().isin([0, 1]).all()
    return column.astype(object).map({0: False, 1: True}) if is_binary else column


def _shown(values: Sequence[Any]) -> str:
    """Return values as text; of many the first ones."""
    more = ", ..." if len(values) > MAX_SHOWN else ""
    return f"{', '.join(map(repr, values[:MAX_SHOWN]))}{more}"


KNOW_THEM = (
    "Fit on pandas category columns that list all values, or replace the unknown ones "
    "by NaN, which counts as missing."
)


class CategoricalColumns:
    """Columns of a data frame of which some are categories, the others numbers.

    Parameters
    ----------
    X : DataFrame
        Rows that the categories are learnt from.
    mask : ndarray of bool of shape (n_features,)
        Which columns are categories.
    """

    def __init__(self, X: pd.DataFrame, mask: NDArray[np.bool_]) -> None:
        self.columns, self.names = np.flatnonzero(mask), list(X.columns)
        self._categories = CategoryTable(X.iloc[:, self.columns])

    def sizes(self) -> list[int]:
        """Return the number of categories of each category column."""
        return self._categories.sizes()

    def to_arrays(self) -> dict[str, Any]:
        """Return columns, names and categories as arrays, lists and dicts."""
        values = self._categories.to_arrays()["values"]
        return {"columns": self.columns, "names": self.names, "values": values}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """Return the columns that `to_arrays` described."""
        columns = cls.__new__(cls)
        columns.columns, columns.names = arrays["columns"], list(arrays["names"])
        of_categories = [columns.names[j] for j in columns.columns]
        packed = {"names": of_categories, "values": arrays["values"]}
        columns._categories = CategoryTable.from_arrays(packed)
        return columns

    def encode(
        self,
        X: pd.DataFrame,
        handle_unknown: str = "error",
        advice: str = AS_IN_FIT,
    ) -> NDArray[np.float64]:
        """Return the frame as numbers, with indices in place of categories.

        float64; NaN where an entry is missing. ``advice`` ends the message on words
        among the numbers.

        Raises
        ------
        ValueError, TypeError
            Where a value is no category of its column, unless ``handle_unknown`` is
            "missing"; or where another column has no numbers.
        """
        rest = np.setdiff1d(np.arange(X.shape[1]), self.columns)
        check_numbers(X.iloc[:, rest], advice)
        table = np.empty(X.shape)
        for j in rest:
            table[:, j] = X.iloc[:, j].to_numpy(dtype=np.float64, na_value=np.nan)
        known = X.iloc[:, self.columns]
        table[:, self.columns] = self._categories.encode(
            known, handle_unknown, advice=KNOW_THEM
        )
        return table

    def decode(self, table: NDArray[Any]) -> pd.DataFrame:
        """Return the data frame of numbers and category indices."""
        X = pd.DataFrame(table, columns=self.names)
        values = self._categories.decode(table[:, self.columns].astype(np.int64))
        for k, j in enumerate(self.columns):
            X.isetitem(j, values.iloc[:, k])
        return X


def categorical_mask(X: Any, features: Any) -> NDArray[np.bool_]:
    """Return which columns of X are categories.

    Parameters
    ----------
    X : array-like
        A table.
    features : "from_dtype", None, array-like or dict
        "from_dtype" takes the columns of a data frame that are pandas categories,
        booleans or words; else a mask, indices or names of columns, or a dict of
        these to kinds (see `category_kinds`).

    Raises
    ------
    ValueError
        Where ``features`` are none of these, or name no column of X.
    """
    n_features = _n_features(X)
    mask = np.zeros(n_features, dtype=bool)
    if features is None:
        return mask
    if isinstance(features, str):
        if isinstance(X, pd.DataFrame):
            mask[:] = [_holds_categories(X.iloc[:, j]) for j in range(n_features)]
        return mask
    if isinstance(features, Mapping):
        _check_kinds(features)
        features = list(features)
    chosen = np.asarray(features)
    if not chosen.size:
        return mask
    if chosen.dtype.kind == "b" and chosen.shape == mask.shape:
        return chosen.copy()
    names = list(getattr(X, "columns", []))
    for feature in chosen.ravel().tolist():
        if chosen.dtype.kind in "iu" and 0 <= feature < n_features:
            mask[feature] = True
        elif chosen.dtype.kind in "OUT" and feature in names:
            mask[names.index(feature)] = True
        else:
            raise InvalidParameterError(
                "The 'categorical_features' parameter must be 'from_dtype', None, a "
                f"mask of {n_features} booleans, or numbers from 0 to "
                f"{n_features - 1} or names of columns of X. Got {feature!r} instead."
            )
    return mask


def category_kinds(X: Any, features: Any) -> dict[int, str]:
    """Return the kinds of category columns that are not nominal, by column.

    Parameters
    ----------
    X : array-like
        A table.
    features : "from_dtype", None, array-like or dict
        As in `categorical_mask`. A dict says the kind of each column: "nominal",
        "ordinal" (in the order of the categories) or "cyclic" (the first follows the
        last). Otherwise ordered pandas categories are ordinal.
    """
    if isinstance(features, Mapping):
        names = list(getattr(X, "columns", []))
        places = [names.index(f) if f in names else int(f) for f in features]
        pairs = zip(places, features.values(), strict=True)
        return {j: kind for j, kind in pairs if kind != "nominal"}
    if not isinstance(X, pd.DataFrame):
        return {}
    mask = categorical_mask(X, features)
    dtypes = {j: X.dtypes.iloc[j] for j in np.flatnonzero(mask).tolist()}
    return {j: "ordinal" for j, dtype in dtypes.items() if getattr(dtype, "ordered", 0)}


def _check_kinds(features: Mapping[Any, Any]) -> None:
    """Raise ValueError where a dict of columns names another kind than the three."""
    for name, kind in features.items():
        if kind not in GRAPHS:
            raise InvalidParameterError(
                f"The 'categorical_features' parameter must say of each column whether "
                f"it is one of {sorted(GRAPHS)}. Got {kind!r} for {name!r} instead."
            )


def _holds_categories(column: pd.Series) -> bool:
    """Return whether a column holds categories, booleans or words."""
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype) or pd.api.types.is_bool_dtype(dtype):
        return True
    if not pd.api.types.is_object_dtype(dtype):
        return pd.api.types.is_string_dtype(dtype)
    observed = column.dropna()
    if not len(observed):
        return False
    if all(isinstance(value, str) for value in observed):  # "1" is a word
        return True
    if len(observed) < len(column):  # pandas makes objects of booleans with NaN
        if all(isinstance(value, (bool, np.bool_)) for value in observed):
            return True
    try:
        observed.to_numpy().astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        return any(isinstance(value, str) for value in observed)
    return False


def _n_features(X: Any) -> int:
    """Return the number of columns; 0 where X is not a table."""
    if not hasattr(X, "shape") and hasattr(X, "__array__"):
        X = np.asarray(X)
    if hasattr(X, "shape"):
        return X.shape[1] if len(X.shape) == 2 else 0
    if not hasattr(X, "__len__"):
        raise TypeError(f"X must be an array or a table. Got {type(X).__name__}.")
    return len(X[0]) if len(X) and np.ndim(X[0]) else 0


def _pack(index: pd.Index) -> dict[str, Any]:
    """Return an index as lists and words."""
    if isinstance(index, pd.CategoricalIndex):
        return {"categories": _pack(index.categories), "ordered": index.ordered}
    if isinstance(index, pd.IntervalIndex):
        ends = {"left": _pack(index.left), "right": _pack(index.right)}
        return {**ends, "closed": index.closed}
    if isinstance(index, (pd.DatetimeIndex, pd.TimedeltaIndex, pd.PeriodIndex)):
        return {"values": index.asi8.tolist(), "dtype": str(index.dtype)}
    return {"values": index.tolist(), "dtype": str(index.dtype)}


def _unpack(packed: Mapping[str, Any]) -> pd.Index:
    """Return the index that `_pack` described."""
    if "categories" in packed:
        categories = _unpack(packed["categories"])
        dtype = pd.CategoricalDtype(categories, ordered=packed["ordered"])
        return pd.CategoricalIndex(categories, dtype=dtype)
    if "closed" in packed:
        ends = (_unpack(packed[side]) for side in ("left", "right"))
        return pd.IntervalIndex.from_arrays(*ends, closed=packed["closed"])
    if packed["dtype"].startswith("period"):
        freq = pd.PeriodDtype.construct_from_string(packed["dtype"]).freq
        return pd.PeriodIndex.from_ordinals(packed["values"], freq=freq)
    return pd.Index(packed["values"], dtype=packed["dtype"])
