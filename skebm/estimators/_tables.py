"""Tables X of users: what they may be, read as arrays of numbers or pandas frames."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from sklearn.utils.validation import check_array, validate_data

from skebm.estimators import _arrow_frames, _narwhals_frames, _pandas_frames
from skebm.estimators._frames import ARRAYS, TableFormat
from skebm.tables._checks import (
    AS_CODES,
    AS_IN_FIT,
    check_finite,
    check_numbers,
    columns_text,
)

#: Advice on sparse tables, for messages.
DENSE = (
    "Sparse data was passed for X, but dense data is required. In a pipeline, set "
    "sparse_output=False in OneHotEncoder (or leave it out: a data frame may hold "
    "categories), or put FunctionTransformer(operator.methodcaller('toarray'), "
    "accept_sparse=True) before this step; elsewhere use X.toarray()."
)


@dataclass(frozen=True, eq=False)
class SeenTable:
    """A table that a user passed, held by NumPy, SciPy or pandas.

    Attributes
    ----------
    values : ndarray, sparse matrix or DataFrame
        The same table: each data frame is a pandas frame here.
    format : TableFormat
        How the table came.
    """

    values: Any
    format: TableFormat

    @property
    def is_frame(self) -> bool:
        """Whether the table came as a data frame."""
        return isinstance(self.values, pd.DataFrame)


def see(X: Any) -> SeenTable:
    """Return a table as NumPy, SciPy or pandas holds it.

    Raises
    ------
    ValueError, TypeError
        Where X is no table of two dimensions, or has two columns of one name.
    """
    if isinstance(X, SeenTable):
        return X
    if sparse.issparse(X):
        return SeenTable(X, ARRAYS)
    if isinstance(X, pd.DataFrame):
        return _see_frame(_pandas_frames.plain(X), TableFormat.of_pandas(X))
    if (table := _arrow_frames.as_arrow(X)) is not None:
        return _see_frame(_arrow_frames.view(table), TableFormat.of_arrow(table))
    if (frame := _narwhals_frames.as_narwhals(X)) is not None:
        view = _narwhals_frames.view(frame)
        return _see_frame(view, TableFormat.of_narwhals(frame))
    X = _as_array(X)
    if X.ndim != 2:
        raise ValueError(_not_2d(X))
    return SeenTable(X, ARRAYS)


def read_numbers(
    estimator, X, *, reset, min_rows=1, allow_nan=False, accept_sparse=False
):
    """Return X as a 2-D float array, float32 where it came so, else float64.

    Integer, boolean and nullable columns are taken as numbers; objects where they are
    numbers. Sets or checks ``n_features_in_`` and ``feature_names_in_``. Where sparse
    tables are accepted, they stay sparse.

    Raises
    ------
    ValueError, TypeError
        Where X is sparse, empty, not numeric, not finite, or of other columns than in
        `fit`; the message names the columns.
    """
    X = see(X).values
    checks = {
        "dtype": [np.float64, np.float32],
        "ensure_all_finite": False,
        "ensure_min_samples": min_rows,
    }
    if sparse.issparse(X):
        if not accept_sparse:
            raise TypeError(DENSE)
        checks |= {"accept_sparse": "csr", "ensure_all_finite": "allow-nan"}
        return validate_data(estimator, X, reset=reset, **checks)
    check_numbers(X, AS_CODES if reset else AS_IN_FIT)
    if isinstance(X, pd.DataFrame):
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        X = check_array(_frame_of_numbers(X), estimator=estimator, **checks)
    else:
        if X.dtype == object:  # NumPy takes no pd.NA
            X = np.where(pd.isna(X), np.nan, X)
        X = validate_data(estimator, X, reset=reset, **checks)
    check_finite(estimator, X, allow_nan)
    return X


def numbers_of(X: SeenTable) -> np.ndarray:
    """Return a table of numbers as an array of floats."""
    X = X.values
    if not isinstance(X, pd.DataFrame):
        return np.where(pd.isna(X), np.nan, X).astype(np.float64)
    return _frame_of_numbers(X)


def _frame_of_numbers(X):
    """Return a frame of numbers as an array of floats."""
    dtypes = list(X.dtypes)
    dtype = np.dtype(np.float64)
    if dtypes and all(isinstance(d, np.dtype) and d.kind in "fiub" for d in dtypes):
        if np.result_type(*dtypes) == np.float32:
            dtype = np.dtype(np.float32)
        return X.to_numpy(dtype=dtype)
    table = np.empty(X.shape)
    for j in range(X.shape[1]):
        table[:, j] = X.iloc[:, j].to_numpy(dtype=dtype, na_value=np.nan)
    return table


def read_frame(estimator, X, *, reset, allow_nan, min_rows=1, advice=""):
    """Return X as a pandas frame.

    Sets or checks ``n_features_in_`` and ``feature_names_in_``. ``advice`` ends the
    message on NaN.

    Raises
    ------
    ValueError, TypeError
        Where X is sparse, of a wrong shape, empty, or holds infinity.
    """
    X = see(X).values
    if sparse.issparse(X):
        raise TypeError(DENSE)
    if isinstance(X, pd.DataFrame):
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        # raises the usual errors on empty tables
        check_array(np.zeros(X.shape), ensure_min_samples=min_rows)
    else:
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
        where = columns_text(names, infinite)
        raise ValueError(f"Input X contains infinity in {where}.")
    missing = X.isna().to_numpy().any(axis=0)
    if missing.any() and not allow_nan:
        where = columns_text(names, missing)
        raise ValueError(f"Input X contains NaN in {where}. {advice}".strip())
    return X


def _holds_infinity(column):
    """Return whether a column of floats holds an infinite value."""
    is_float = isinstance(column.dtype, np.dtype) and column.dtype.kind == "f"
    return bool(is_float and np.isinf(column.to_numpy()).any())


def _see_frame(values, table_format):
    """Return a frame seen, unless it has two columns of one name."""
    twice = values.columns[values.columns.duplicated()]
    if len(twice):
        name = twice.tolist()[0]
        raise ValueError(
            f"X has more than one column named {name!r}; make them differ."
        )
    return SeenTable(values, table_format)


def _as_array(X: Any) -> np.ndarray:
    """Return an array-like as an array, of objects where it holds words or times."""
    if isinstance(X, torch.Tensor):
        X = X.detach().cpu()
        return X.numpy() if X.dtype != torch.bfloat16 else X.float().numpy()
    if isinstance(X, np.ma.MaskedArray):  # masked is missing
        return X.astype(np.float64).filled(np.nan)
    _refuse_other_types(X)
    if not isinstance(X, np.ndarray) and not hasattr(X, "__array__"):
        return _of_lists(list(X))
    array = np.asarray(X)
    if array.dtype.names is not None:
        raise TypeError(
            "X must be an array of two dimensions or a data frame. Got a structured "
            "array; pass pd.DataFrame(X)."
        )
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:  # pandas knows none
        array = array.astype(np.float64)
    return X if isinstance(X, np.matrix) else array


def _of_lists(X: list) -> np.ndarray:
    """Return lists as an array."""
    if X and all(isinstance(row, Mapping) for row in X):
        raise TypeError(
            "X must be an array or a data frame. Got a list of dicts; pass "
            "pd.DataFrame(X)."
        )
    try:
        array = np.asarray(X)
        if array.dtype.kind in "USmM":  # numbers and NaN beside words became words
            array = np.array(X, dtype=object)
    except ValueError as error:
        problem = f"X must be a table, with rows of one length: {error}"
        raise ValueError(problem) from None
    return array


def _refuse_other_types(X: Any) -> None:
    """Raise TypeError where X is neither an array nor a sequence, with advice."""
    found = f"X must be an array or a data frame. Got {_named(X)}"
    if isinstance(X, (torch.utils.data.Dataset, torch.utils.data.DataLoader)):
        raise TypeError(
            f"{found}; pass its rows as one array, or train batch by batch with "
            "partial_fit."
        )
    if isinstance(X, Mapping):
        raise TypeError(f"{found}; pass pd.DataFrame(X).")
    if type(X).__name__ == "LazyFrame":
        raise TypeError(f"{found}; pass X.collect().")
    if hasattr(X, "__array__"):
        return
    is_sequence = hasattr(X, "__len__") and hasattr(X, "__getitem__")
    if isinstance(X, (str, bytes, Set)) or not is_sequence:
        raise TypeError(f"{found}.")


def _named(X: Any) -> str:
    """Return the type of X as words."""
    return "None" if X is None else f"an object of type {type(X).__name__}"


def _not_2d(X: np.ndarray) -> str:
    """Return the message on an array of another number of dimensions than two."""
    if not X.size:
        return f"X must have rows and columns. Got an array of shape {X.shape}."
    if X.ndim == 0:
        return f"X must be an array or a data frame. Got the one value {X.item()!r}."
    problem = (
        f"Expected 2D array, got {X.ndim}D array instead: X must have shape "
        f"(n_samples, n_features). Got shape {X.shape}."
    )
    if X.ndim == 1:
        return (
            f"{problem} Reshape your data: X.reshape(-1, 1) if it is one column, "
            "X.reshape(1, -1) if it is one row."
        )
    return f"{problem} Reshape your data: X.reshape(len(X), -1) makes rows of it."
