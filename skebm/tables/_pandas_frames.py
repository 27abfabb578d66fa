"""Frames of pandas: read as plain columns, written with the dtypes of others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from skebm.tables import _arrow_frames


def plain(X: pd.DataFrame) -> pd.DataFrame:
    """Return a pandas frame with categories in place of Arrow's dictionaries."""
    for j, dtype in enumerate(X.dtypes):
        if str(dtype).startswith("dictionary"):
            X = X.copy(deep=False)
            X.isetitem(j, X.iloc[:, j].array.__arrow_array__().to_pandas().array)
    return X


def write(X: pd.DataFrame, names: Any, dtypes: Any, labels: Any) -> pd.DataFrame:
    """Return a frame of these names, dtypes where they hold the values, and labels.

    Where X has more rows than there are labels, each label stands for as many rows that
    follow each other.
    """
    pairs = enumerate(dtypes)
    written = pd.DataFrame({j: _cast(X.iloc[:, j], dtype) for j, dtype in pairs})
    written.columns = names
    if labels is not None:
        written.index = labels.repeat(len(X) // max(len(labels), 1))
    return written


def _cast(column: pd.Series, dtype: Any) -> pd.Series:
    """Return a pandas column of this dtype where that holds the values, or the next."""
    wider: list[Any] = [dtype]
    if str(dtype).endswith("[pyarrow]"):
        wider.append("double[pyarrow]")
    elif pd.api.types.is_extension_array_dtype(dtype) and _is_number(dtype):
        wider.append("Float64")
    for candidate in wider:
        if (cast := _try_cast(column, candidate)) is not None:
            return cast
    return column


def _is_number(dtype: Any) -> bool:
    return pd.api.types.is_numeric_dtype(dtype)


def _try_cast(column: pd.Series, dtype: Any) -> pd.Series | None:
    """Return a pandas column of this dtype; None where that doesn't hold its values."""
    if dtype is None or (column.dtype == dtype and str(column.dtype) == str(dtype)):
        return column
    if str(dtype).startswith("dictionary"):
        return _as_dictionary(column, dtype)
    if isinstance(dtype, pd.CategoricalDtype):
        return column.astype(dtype) if set(column) <= set(dtype.categories) else None
    is_bool = pd.api.types.is_bool_dtype(column.dtype)
    from_numbers = _is_number(column.dtype) and not is_bool
    if from_numbers and pd.api.types.is_object_dtype(dtype):
        return column
    try:
        with np.errstate(invalid="ignore", over="ignore"):
            cast = column.astype(dtype)
        same = cast.notna().to_numpy() == column.notna().to_numpy()
        if from_numbers and not pd.api.types.is_float_dtype(dtype):
            back = cast.to_numpy(dtype=np.float64, na_value=np.nan)
            same &= (back == column.to_numpy(np.float64)) | np.isnan(back)
    except (TypeError, ValueError, OverflowError, NotImplementedError):
        return None
    return cast if same.all() else None


def _as_dictionary(column: pd.Series, dtype: Any) -> pd.Series | None:
    """Return a pandas column of categories as one of Arrow's dictionaries."""
    if isinstance(dtype, str):  # of a stored state
        dtype = pd.ArrowDtype(_arrow_frames.type_of(dtype.removesuffix("[pyarrow]")))
    try:
        return column.astype(dtype)
    except (TypeError, ValueError, NotImplementedError):
        return None
