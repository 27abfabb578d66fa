"""Frames of polars and others that narwhals knows: read as pandas frames, written.

scikit-learn brings narwhals along from 1.9 on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

#: Modules whose objects are no data frames: narwhals is not asked about them.
NO_FRAMES = {"builtins", "numpy", "scipy", "torch", "pandas", "sklearn", "collections"}


def as_narwhals(X: Any) -> Any:
    """Return X as a narwhals data frame; None where it is none.

    Raises
    ------
    ImportError
        Where narwhals is missing and X is a frame of polars.
    """
    library = type(X).__module__.partition(".")[0]
    if library in NO_FRAMES:
        return None
    try:
        import narwhals as nw
    except ImportError:
        if library != "polars":
            return None
        raise ImportError(
            f"X is a {type(X).__name__} of polars, which skebm reads through narwhals: "
            "pip install narwhals, or pass X.to_pandas()."
        ) from None
    frame = nw.from_native(X, pass_through=True)
    return frame if isinstance(frame, nw.DataFrame) else None


def view(frame: Any) -> pd.DataFrame:
    """Return a narwhals frame as a pandas frame."""
    columns = {j: _column(series) for j, series in enumerate(frame.iter_columns())}
    X = pd.DataFrame(columns)
    X.columns = frame.columns
    return X


def _column(series: Any) -> Any:
    """Return a narwhals series as a pandas series or array."""
    import narwhals as nw

    dtype = series.dtype
    if dtype == nw.Decimal:
        values = [None if v is None else float(v) for v in series.to_list()]
        return np.array(values, dtype=np.float64)
    if dtype.is_numeric():
        is_huge = dtype in (nw.Int128, nw.UInt128)  # NumPy has no such integers
        return (series.cast(nw.Float64) if is_huge else series).to_numpy()
    values = series.to_list()
    if dtype == nw.Boolean:
        return pd.array(values, dtype="boolean" if None in values else "bool")
    if dtype == nw.String:
        return pd.array(values, dtype="string")
    if dtype == nw.Enum:
        return pd.Categorical(values, categories=list(dtype.categories))
    if dtype == nw.Categorical:  # polars shares a list of categories among columns
        return pd.Categorical(values)
    if dtype.is_temporal() and dtype != nw.Time:
        return pd.Series(series.to_numpy())
    if dtype == nw.Unknown and all(value is None for value in values):
        return np.full(len(values), np.nan)
    if dtype.is_nested() or dtype == nw.Binary:
        raise TypeError(
            f"X must hold numbers or categories. Got column {series.name!r} ({dtype})."
        )
    return pd.Series(values, dtype=object)


def word(dtype: Any) -> str:
    """Return a dtype as a word that `write` knows."""
    return (dtype if isinstance(dtype, type) else type(dtype)).__name__


def write(library: Any, X: pd.DataFrame, names: Any, dtypes: Any) -> Any:
    """Return a frame of a library that narwhals knows, with the values of X.

    Its columns have these dtypes, or words for them, where they hold the values.
    """
    import narwhals as nw

    data = {}
    for j, (name, dtype) in enumerate(zip(names, dtypes, strict=True)):
        if isinstance(dtype, str):
            dtype = getattr(nw, dtype, None)
        values, dtype = _narwhals_values(nw, X.iloc[:, j], dtype)
        data[name] = nw.new_series(name, values, dtype, backend=library)
    return nw.from_dict(data).to_native()


def _narwhals_values(nw: Any, column: pd.Series, dtype: Any) -> tuple[list, Any]:
    """Return values and their narwhals dtype: the given one where it holds them."""
    known = column.dropna()
    values = column.astype(object).where(column.notna(), None).tolist()
    if isinstance(column.dtype, pd.CategoricalDtype):
        known = known.astype(column.cat.categories.dtype)
    if not pd.api.types.is_numeric_dtype(known.dtype):
        listed = list(dict.fromkeys(known))
        if dtype == nw.Enum:
            own = None if isinstance(dtype, type) else dtype.categories
            if own is None and isinstance(column.dtype, pd.CategoricalDtype):
                own = column.cat.categories
            if own is not None and set(listed) <= set(own):
                return values, nw.Enum(list(own))
        if dtype == nw.Date:  # pandas has them as times of a day
            return [None if v is None else v.date() for v in values], nw.Date
        as_words = all(isinstance(value, str) for value in listed)
        fits = as_words and dtype in (nw.String, nw.Categorical)
        return values, dtype if fits else (nw.String if as_words else None)
    numbers = known.to_numpy(np.float64)
    if dtype is None or dtype.is_float() or dtype.is_decimal():
        return values, nw.Float32 if dtype == nw.Float32 else nw.Float64
    whole = bool((numbers == np.floor(numbers)).all())
    if dtype.is_integer() and whole and _within(dtype, numbers):
        return [None if v is None else int(v) for v in values], dtype
    if dtype == nw.Boolean and np.isin(numbers, (0.0, 1.0)).all():
        return [None if v is None else bool(v) for v in values], dtype
    return values, nw.Float64


def _within(dtype: Any, numbers: np.ndarray) -> bool:
    """Return whether a dtype of integers holds all numbers."""
    name = (dtype if isinstance(dtype, type) else type(dtype)).__name__.lower()
    if name.endswith("128"):
        return True
    bounds = np.iinfo(name)
    return bool(((numbers >= bounds.min) & (numbers <= bounds.max)).all())
