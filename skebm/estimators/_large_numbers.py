"""Whole numbers that floats round, kept in frames with filled entries."""

from __future__ import annotations

import numpy as np
import pandas as pd

from skebm.tables import _arrow_frames, _narwhals_frames

#: Beyond, float64 does not hold each whole number.
LARGEST_EXACT = 2**53


def keep_large(filled, X):
    """Return a filled frame with the observed whole numbers of X, where large.

    An entry was observed where the filled one is its float: a code or an unknown
    category that was filled is another number.

    Parameters
    ----------
    filled : array or data frame
        X with its missing entries filled, its numbers rounded to floats.
    X : array-like or data frame
        The table with gaps. Only columns of whole numbers of data frames are kept.
    """
    if isinstance(X, pd.DataFrame):
        return _keep_pandas(filled, X)
    if (table := _arrow_frames.as_arrow(X)) is not None:
        return _keep_arrow(filled, table)
    if (frame := _narwhals_frames.as_narwhals(X)) is not None:
        return _keep_narwhals(filled, frame)
    return filled


def _is_large(column):
    """Tell whether a column holds a number beyond those that floats hold exactly."""
    least, greatest = column.min(), column.max()
    if pd.isna(least):
        return False
    return least < -LARGEST_EXACT or greatest > LARGEST_EXACT


def _keep_pandas(filled, X):
    for j, dtype in enumerate(X.dtypes):
        if not pd.api.types.is_integer_dtype(dtype) or filled.dtypes.iloc[j] != dtype:
            continue
        if _is_large(X.iloc[:, j]):
            was = X.iloc[:, j].to_numpy(dtype=float, na_value=np.nan)
            replaced = was != filled.iloc[:, j].to_numpy(dtype=float)
            column = X.iloc[:, j].array.copy()
            column[replaced] = filled.iloc[:, j].array[replaced]
            filled.isetitem(j, column)
    return filled


def _keep_arrow(filled, X):
    import pyarrow as pa
    import pyarrow.compute as pc

    for j, field in enumerate(X.schema):
        same = filled.schema.field(j).type == field.type
        if pa.types.is_integer(field.type) and same:
            bounds = pc.min_max(X.column(j)).as_py()
            if _is_large(pd.Series(list(bounds.values()), dtype=object)):
                was, now = (
                    pc.cast(table.column(j), pa.float64(), safe=False)
                    for table in (X, filled)
                )
                kept = pc.fill_null(pc.equal(was, now), False)
                column = pc.if_else(kept, X.column(j), filled.column(j))
                filled = filled.set_column(j, field.name, column)
    return filled


def _keep_narwhals(filled, X):
    import narwhals as nw

    frame = nw.from_native(filled, eager_only=True)
    for name, dtype in X.schema.items():
        column = X[name]
        if not dtype.is_integer() or frame.schema[name] != dtype:
            continue
        known = column.drop_nulls()
        if len(known) and _is_large(
            pd.Series([known.min(), known.max()], dtype=object)
        ):
            is_same = column.cast(nw.Float64) == frame[name].cast(nw.Float64)
            kept = column.zip_with(is_same.fill_null(False), frame[name])
            frame = frame.with_columns(kept.alias(name))
    return frame.to_native()
