"""Reads and checks the tables, weights and options that users pass to estimators."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Self

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.utils import _safe_indexing, check_random_state
from sklearn.utils.validation import (
    _check_sample_weight,
    check_array,
    validate_data,
)

from skebm.tables import CategoricalColumns, categorical_mask
from skebm.tables._checks import IMPUTE, check_finite, check_numbers, column_names


@dataclass(frozen=True)
class TableReader:
    """Reads tables with the columns of `fit` as arrays, and writes arrays as tables.

    Attributes
    ----------
    columns : CategoricalColumns or None
        Translates category columns; None where all columns are numbers.
    is_categorical : ndarray of bool of shape (n_features,) or None
        Whether each column holds categories; None where none does.
    as_float64 : bool
        Whether float32 numbers are read as float64, so that imputed atoms are exact.
    has_names : bool
        Whether the table of `fit` had column names.
    """

    columns: CategoricalColumns | None
    is_categorical: np.ndarray | None
    as_float64: bool
    has_names: bool

    @classmethod
    def learn(
        cls,
        estimator,
        X,
        *,
        categorical_features=None,
        as_float64=False,
        min_rows=1,
        allow_nan=False,
    ) -> tuple[Self, np.ndarray]:
        """Return the reader of tables like X, and X as an array.

        Sets ``n_features_in_`` and ``feature_names_in_`` of the estimator.

        Parameters
        ----------
        estimator : estimator
            A copy of the estimator that is being fitted.
        X : array-like of shape (n, n_features)
            A table.
        categorical_features : "from_dtype", None or array-like
            See `skebm.tables.categorical_mask`.
        as_float64 : bool
            Whether numbers are read as float64.
        min_rows : int
            Least number of rows.
        allow_nan : bool
            Whether entries may be missing.
        """
        mask = categorical_mask(X, categorical_features)
        options = {"reset": True, "min_rows": min_rows, "allow_nan": allow_nan}
        columns = None
        if mask.any():
            frame = as_frame(estimator, X, advice=IMPUTE, **options)
            columns = CategoricalColumns(frame, mask)
            table = _encode(estimator, columns, frame, allow_nan)
        else:
            table = _as_numbers(check_table(estimator, X, **options), as_float64)
        has_names = hasattr(estimator, "feature_names_in_")
        mask = mask if mask.any() else None
        return cls(columns, mask, as_float64, has_names), table

    def to_arrays(self):
        """Return the reader as arrays, lists and dicts."""
        columns = None if self.columns is None else self.columns.to_arrays()
        return {
            "columns": columns,
            "is_categorical": self.is_categorical,
            "as_float64": self.as_float64,
            "has_names": self.has_names,
        }

    @classmethod
    def from_arrays(cls, arrays):
        """Return the reader that `to_arrays` described."""
        columns = arrays["columns"]
        if columns is not None:
            columns = CategoricalColumns.from_arrays(columns)
        return cls(**{**arrays, "columns": columns})

    @property
    def categories(self) -> tuple[tuple[int, int], ...]:
        """Category columns with their numbers of categories, as (column, size)."""
        if self.columns is None:
            return ()
        sizes = self.columns.sizes()
        return tuple(zip(self.columns.columns.tolist(), sizes, strict=True))

    def read(
        self, estimator, X, *, min_rows=1, allow_nan=False, handle_unknown="error"
    ):
        """Return X as an array of numbers and category indices.

        Categories that `fit` did not see are missing entries where ``handle_unknown``
        is "missing".

        Raises
        ------
        ValueError, TypeError
            Where X has other columns than in `fit`, or values that are not allowed.
        """
        options = {"reset": False, "min_rows": min_rows, "allow_nan": allow_nan}
        if self.columns is None:
            return _as_numbers(check_table(estimator, X, **options), self.as_float64)
        frame = as_frame(estimator, X, advice=IMPUTE, **options)
        return _encode(estimator, self.columns, frame, allow_nan, handle_unknown)

    def write(self, table):
        """Return the frame or array, as in `fit`, of numbers and category indices."""
        if self.columns is None:
            return table
        X = self.columns.decode(table)
        return X if self.has_names else X.infer_objects().to_numpy()


def _encode(estimator, columns, frame, allow_nan, handle_unknown="error"):
    """Return the array of a frame with category columns, checked for NaN."""
    table = columns.encode(frame, handle_unknown)
    check_finite(estimator, table, allow_nan)
    return table


def _as_numbers(table, as_float64):
    """Return the table, converted to float64 where asked for."""
    return table.astype(np.float64, copy=False) if as_float64 else table


def check_table(estimator, X, *, reset, min_rows=1, allow_nan=False):
    """Return X as a 2-D float array, float32 where it came so, else float64.

    Integer, boolean and nullable columns are taken as numbers; objects where they are
    numbers. Sets or checks ``n_features_in_`` and ``feature_names_in_``.

    Raises
    ------
    ValueError, TypeError
        Where X is sparse, empty, not numeric, not finite, or of other columns than in
        `fit`; the message names the columns.
    """
    if sparse.issparse(X):
        raise TypeError(
            "Sparse data was passed for X, but dense data is required. "
            "Use X.toarray() to convert it."
        )
    check_numbers(X)
    # NumPy takes no pd.NA among objects.
    if isinstance(X, pd.DataFrame) and len(X.select_dtypes(object).columns):
        X = X.where(X.notna(), np.nan)
    elif isinstance(X, np.ndarray) and X.dtype == object:
        X = np.where(pd.isna(X), np.nan, X)
    X = validate_data(
        estimator,
        X,
        reset=reset,
        dtype=[np.float64, np.float32],
        ensure_all_finite=False,
        ensure_min_samples=min_rows,
    )
    check_finite(estimator, X, allow_nan)
    return X


def keep_weighted(X, y, sample_weight, min_rows=2):
    """Return X, y and weights of the rows whose weight is above zero.

    Rows of weight zero then affect neither scaling nor reference nor graph.
    """
    if sample_weight is None:
        return X, y, None
    weight = _check_sample_weight(
        sample_weight, X, dtype=np.float64, ensure_non_negative=True
    )
    if weight.all():
        return X, y, weight
    rows = np.flatnonzero(weight)
    if len(rows) < min_rows:
        raise ValueError(
            f"The 'sample_weight' parameter must hold at least {min_rows} weights above"
            f" zero. Got {len(rows)} of {len(weight)}."
        )
    y = None if y is None else _safe_indexing(y, rows)
    return X[rows], y, weight[rows]


def as_frame(estimator, X, *, reset, allow_nan, min_rows=1, advice=""):
    """Return X as a data frame.

    Sets or checks ``n_features_in_`` and ``feature_names_in_``. ``advice`` ends the
    message on NaN.

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
        # raises the usual errors on empty tables
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
    """Return whether a column of floats holds an infinite value."""
    is_float = isinstance(column.dtype, np.dtype) and column.dtype.kind == "f"
    return bool(is_float and np.isinf(column.to_numpy()).any())


def keep_observed(X, sample_weight, names, min_rows):
    """Return X and weights without the rows whose entries are all missing.

    Raises
    ------
    ValueError
        Where all entries of a column are missing, or too few rows are left.
    """
    missing = np.isnan(X)
    if not missing.any():
        return X, sample_weight
    if min_rows > 1 and (empty := missing.all(axis=0)).any():
        raise ValueError(
            f"Input X contains NaN only in column {column_names(names, empty)}. Drop "
            "it: nothing can be learnt of it."
        )
    rows = np.flatnonzero(~missing.all(axis=1))
    if len(rows) < min_rows:
        raise ValueError(
            f"X must hold at least {min_rows} rows with an entry that is not NaN. Got "
            f"{len(rows)} of {len(X)}."
        )
    return X[rows], None if sample_weight is None else sample_weight[rows]


def refuse_missing(estimator, X):
    """Raise ValueError naming the columns where entries of X are missing."""
    if sparse.issparse(X) or not X.size or not np.isnan(X.min()):
        return
    names = getattr(estimator, "feature_names_in_", None)
    where = column_names(names, np.isnan(X).any(axis=0))
    remedy = "its impute" if hasattr(estimator, "impute") else "BernoulliRBM.impute"
    raise ValueError(
        f"Input X contains NaN in column {where}, where {type(estimator).__name__} "
        f"needs whole rows. Fill it in first, for example by {remedy}."
    )


def private_random_state(random_state):
    """Return a NumPy random state; for None one that the operating system seeds.

    Not the global one, whose state must not change.
    """
    if random_state is None:
        return np.random.RandomState()
    return check_random_state(random_state)


def check_n_samples(n_samples):
    """Raise ValueError unless n_samples is a positive integer."""
    if not isinstance(n_samples, Integral) or n_samples < 1:
        raise ValueError(
            f"The 'n_samples' parameter must be an int of at least 1. Got {n_samples!r}"
            " instead."
        )


def check_n_steps(n_steps):
    """Raise ValueError unless n_steps is a positive integer."""
    if not isinstance(n_steps, Integral) or n_steps < 1:
        raise ValueError(f"n_steps must be an int of at least 1. Got {n_steps!r}.")
