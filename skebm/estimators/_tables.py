"""Tables X of users, read as arrays of numbers or pandas frames."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.utils.validation import check_array, validate_data

from skebm.tables._checks import (
    AS_CODES,
    AS_IN_FIT,
    check_finite,
    check_numbers,
    columns_text,
)
from skebm.tables._seen import SeenTable, see

#: Advice on sparse tables, for messages.
DENSE = (
    "Sparse data was passed for X, but dense data is required. In a pipeline, set "
    "sparse_output=False in OneHotEncoder (or leave it out: a data frame may hold "
    "categories), or put FunctionTransformer(operator.methodcaller('toarray'), "
    "accept_sparse=True) before this step; elsewhere use X.toarray()."
)


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
