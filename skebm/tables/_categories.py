"""Columns of categories: which they are, their values, and the values' numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.utils.validation import check_array, validate_data

from skebm.tables._standardizer import column_names

MAX_SHOWN = 5
NAME_THEM = "Name them by categories=, or set handle_unknown='missing'."


class CategoryTable:
    """Codes of categorical columns and back.

    Parameters
    ----------
    X : DataFrame
        What categories are learnt from.
    categories : "auto" or list of array-like
        "auto" takes all categories of pandas ``category`` columns and the sorted values
        of others.

    Attributes
    ----------
    values : list of Index
        The categories of each column.
    """

    def __init__(self, X, categories="auto"):
        self.names = list(X.columns)
        given = [None] * X.shape[1] if isinstance(categories, str) else categories
        if len(given) != X.shape[1]:
            raise ValueError(
                f"categories must be 'auto' or a list of one array a column. X has "
                f"{X.shape[1]} columns, the list {len(given)}."
            )
        columns = [X.iloc[:, j] for j in range(X.shape[1])]
        pairs = zip(columns, given, strict=True)
        self.values = [self._values(*pair) for pair in pairs]

    @staticmethod
    def _values(column, given):
        if given is not None:
            values = pd.Index(given)
            if not values.is_unique or values.hasnans:
                raise ValueError(
                    f"categories of column {column.name!r} hold a value twice, or NaN."
                )
            return values
        if isinstance(column.dtype, pd.CategoricalDtype):
            return pd.CategoricalIndex(column.cat.categories, dtype=column.dtype)
        values = pd.Index(column.dropna().unique())
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

    def sizes(self):
        """Return the number of categories of each column."""
        return [len(values) for values in self.values]

    def encode(self, X, handle_unknown="error", advice=NAME_THEM):
        """Return codes, float64 with NaN where a value is missing.

        ``advice`` ends the message on unknown values.

        Raises
        ------
        ValueError
            Where a value is no category of its column, unless ``handle_unknown`` is
            "missing".
        """
        codes = np.full(X.shape, np.nan)
        for j, values in enumerate(self.values):
            column = X.iloc[:, j]
            known = pd.Index(np.asarray(values))
            numbers = known.get_indexer(pd.Index(np.asarray(column)))
            unknown = (numbers < 0) & ~column.isna().to_numpy()
            if unknown.any() and handle_unknown == "error":
                found = np.asarray(column, dtype=object)[unknown]
                found = [repr(v) for v in pd.unique(found).tolist()]
                more = ", ..." if len(found) > MAX_SHOWN else ""
                raise ValueError(
                    f"Found unknown categories {', '.join(found[:MAX_SHOWN])}{more} in "
                    f"column {self.names[j]!r}, which has {len(known)} in fit. "
                    f"{advice}"
                )
            codes[:, j] = np.where(numbers < 0, np.nan, numbers)
        return codes

    def decode(self, codes):
        """Return a data frame of the categories of integer codes."""
        pairs = zip(self.values, codes.T, strict=True)
        columns = [pd.Series(values.take(column)) for values, column in pairs]
        X = pd.concat(columns, axis=1)
        X.columns = self.names
        return X


def as_frame(estimator, X, *, reset, allow_nan, min_rows=1, advice=""):
    """Return X as a data frame; set or check its columns' number and names.

    ``advice`` ends the message on NaN.

    Raises
    ------
    ValueError, TypeError
        Where X is sparse, of a wrong shape, empty, or holds infinity.
    """
    if sparse.issparse(X):
        raise TypeError(
            "Sparse data was passed for X, but dense data is required. "
            "Use X.toarray() to convert it."
        )
    if isinstance(X, pd.DataFrame):
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        # for its messages on empty tables
        check_array(np.zeros(X.shape), ensure_min_samples=min_rows)
    else:
        if isinstance(X, list) and np.asarray(X).dtype.kind == "U":
            X = np.array(X, dtype=object)  # else NaN beside words becomes a word
        X = validate_data(
            estimator,
            X,
            reset=reset,
            dtype=None,
            ensure_all_finite=False,
            ensure_min_samples=min_rows,
        )
        X = pd.DataFrame(X)
    names = getattr(estimator, "feature_names_in_", None)
    infinite = np.array([_holds_infinity(X.iloc[:, j]) for j in range(X.shape[1])])
    if infinite.any():
        where = column_names(names, infinite)
        raise ValueError(f"Input X contains infinity in column {where}.")
    missing = X.isna().to_numpy().any(axis=0)
    if missing.any() and not allow_nan:
        where = column_names(names, missing)
        raise ValueError(f"Input X contains NaN in column {where}. {advice}".strip())
    return X


def _holds_infinity(column):
    is_float = isinstance(column.dtype, np.dtype) and column.dtype.kind == "f"
    return bool(is_float and np.isinf(column.to_numpy()).any())
