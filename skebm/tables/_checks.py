"""Checks of tables for numeric and finite values, with errors that name columns."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, time, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

#: Rows of a chunk: large tables are processed in chunks, so that no copy is made.
CHUNK_ROWS = 8192
#: Most columns that a message names.
MAX_LISTED = 5
#: Advice on missing entries, for messages.
IMPUTE = "Impute or drop these rows first."
#: Advice on columns that are no numbers, for messages.
AS_CODES = (
    "EBMDensityEstimator and JEMClassifier take categories (in a data frame, or where "
    "categorical_features names them), and SoftmaxRBM takes each column as one. Other "
    "estimators need numbers: encode it first, for example by "
    "sklearn.preprocessing.OrdinalEncoder or OneHotEncoder."
)
#: The same where the columns are known.
AS_IN_FIT = "in fit, the column held numbers."
AS_DAYS = (
    "give times as numbers in a unit of your choice, for example in days: dates by "
    "(x - np.datetime64('2020-01-01')) / np.timedelta64(1, 'D'), durations by "
    "x / np.timedelta64(1, 'D'); in polars by (pl.col('x') - pl.datetime(2020, 1, 1))"
    ".dt.total_seconds() / 86400 and pl.col('x').dt.total_seconds() / 86400."
)
AS_PARTS = "Complex data not supported; give real and imaginary parts as two columns."
#: Python's and NumPy's types of dates and durations.
TIMES = (date, time, timedelta, np.datetime64, np.timedelta64, pd.Period)


def check_numbers(X: Any, advice: str = AS_CODES) -> None:
    """Raise ValueError or TypeError naming a column that does not hold numbers.

    ``advice`` ends the message on words.
    """
    if isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype.kind in "OUSmM":
        X = pd.DataFrame(X, dtype=object if X.dtype.kind in "OUS" else None)
    if not isinstance(X, pd.DataFrame):
        return
    for j, (name, dtype) in enumerate(X.dtypes.items()):
        is_complex = pd.api.types.is_complex_dtype(dtype)
        if pd.api.types.is_numeric_dtype(dtype) and not is_complex:
            continue
        if isinstance(dtype, pd.ArrowDtype) and pd.api.types.is_bool_dtype(dtype):
            continue  # which pandas does not count among the numbers
        problem = f"X must hold numbers. Got column {name!r} ({dtype})"
        if holds_times(X.iloc[:, j]):
            raise ValueError(f"{problem}: {AS_DAYS}")
        if is_complex:
            raise ValueError(f"{problem}: {AS_PARTS}")
        if not pd.api.types.is_object_dtype(dtype):
            known = X.iloc[:, j].dropna()
            example = f" of values such as {known.iloc[0]!r:.40}" if len(known) else ""
            raise ValueError(f"{problem}{example}: {advice}")
        try:
            X.iloc[:, j].to_numpy(dtype=np.float64, na_value=np.nan)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{problem}: {error}; {advice}") from error
        except OverflowError as error:
            raise ValueError(f"{problem}: {error}; rescale it.") from error


def holds_times(column: pd.Series) -> bool:
    """Return whether a column holds dates, times or durations."""
    dtype = column.dtype
    if not pd.api.types.is_object_dtype(dtype):
        return str(dtype).startswith(("date", "time", "duration", "period"))
    known = column.notna().to_numpy()
    return bool(known.any()) and isinstance(column.iloc[known.argmax()], TIMES)


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
                f"Input X contains {kind} in {columns_text(names, bad)}; "
                f"{type(estimator).__name__} accepts {accepted} only. {advice}"
            )


def columns_text(names: Any, mask: NDArray[np.bool_]) -> str:
    """Return columns as text: "column 'a'" or "columns 0, 1 and 2"; at most 5."""
    shown = [column_name(names, j) for j in np.flatnonzero(mask).tolist()]
    return f"column{'s' if len(shown) > 1 else ''} {listed(shown)}"


def column_name(names: Any, index: int) -> str:
    """Return the name of a column as text, or its index where there are no names."""
    return str(index) if names is None else repr(names[index])


def listed(texts: Sequence[str]) -> str:
    """Return texts as one, such as "a, b and c"; of more than 5 the first."""
    if len(texts) > MAX_LISTED:
        more = len(texts) - MAX_LISTED
        return f"{', '.join(texts[:MAX_LISTED])} and {more} more"
    return " and ".join([*filter(None, [", ".join(texts[:-1])]), *texts[-1:]])
