"""Checks of tables for numeric and finite values, with errors that name columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

#: Rows of a chunk: large tables are processed in chunks, so that no copy is made.
CHUNK_ROWS = 8192
#: Advice on missing entries, for messages.
IMPUTE = "Impute or drop these rows first."


def check_numbers(X: Any) -> None:
    """Raise ValueError or TypeError naming a column that does not hold numbers."""
    if isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype.kind in "OUS":
        X = pd.DataFrame(X, dtype=object)
    if not isinstance(X, pd.DataFrame):
        return
    for j, (name, dtype) in enumerate(X.dtypes.items()):
        if pd.api.types.is_numeric_dtype(dtype):
            continue
        problem = f"X must hold numbers. Got column {name!r} ({dtype})"
        advice = (
            "encode it first, for example by sklearn.preprocessing.OrdinalEncoder or "
            "OneHotEncoder."
        )
        if not pd.api.types.is_object_dtype(dtype):
            raise ValueError(f"{problem}: {advice}")
        try:
            X.iloc[:, j].to_numpy(dtype=np.float64, na_value=np.nan)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{problem}: {error}; {advice}") from error


def check_finite(
    estimator: Any,
    X: NDArray[Any],
    allow_nan: bool = False,
    advice: str = IMPUTE,
) -> None:
    """Raise ValueError naming the columns with NaN, infinity or overflowing values."""
    for kind, is_bad in (("NaN", np.isnan), ("infinity", np.isinf)):
        if allow_nan and kind == "NaN":
            continue
        bad = np.zeros(X.shape[1], dtype=bool)
        for start in range(0, len(X), CHUNK_ROWS):
            bad |= is_bad(X[start : start + CHUNK_ROWS]).any(axis=0)
        if bad.any():
            names = getattr(estimator, "feature_names_in_", None)
            accepted = "finite values and NaN" if allow_nan else "finite values"
            raise ValueError(
                f"Input X contains {kind} in column {column_names(names, bad)}; "
                f"{type(estimator).__name__} accepts {accepted} only. {advice}"
            )


def column_names(names: Any, mask: NDArray[np.bool_]) -> str:
    """Return the names, or else the indices, of columns as text; at most 5."""
    indices = np.flatnonzero(mask)
    shown = [str(j) if names is None else repr(names[j]) for j in indices[:5]]
    return ", ".join([*shown, "..."] if len(indices) > 5 else shown)
