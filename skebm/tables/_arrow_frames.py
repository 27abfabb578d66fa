"""Tables of pyarrow: read as pandas frames, and written."""

from __future__ import annotations

import re
import sys
from typing import Any

import numpy as np
import pandas as pd

#: How pyarrow writes a type of a dictionary.
DICTIONARY = re.compile(r"dictionary<values=(\w+), indices=(\w+), ordered=([01])>")


def as_arrow(X: Any) -> Any:
    """Return X as a pyarrow table; None where it is neither a table nor a batch."""
    pa = sys.modules.get("pyarrow")
    if pa is None:
        return None
    if isinstance(X, pa.RecordBatch):
        return pa.Table.from_batches([X])
    return X if isinstance(X, pa.Table) else None


def view(X: Any) -> pd.DataFrame:
    """Return a pyarrow table as a pandas frame."""
    return X.to_pandas(ignore_metadata=True)


def type_of(word: str) -> Any:
    """Return pyarrow's type of a word, a dictionary too.

    Raises
    ------
    ValueError
        Where there is none.
    """
    import pyarrow as pa

    parts = DICTIONARY.fullmatch(word)
    if parts is None:
        return pa.type_for_alias(word)
    values, indices, ordered = parts.groups()
    known = pa.type_for_alias(indices), pa.type_for_alias(values)
    return pa.dictionary(*known, ordered=ordered == "1")


def write(X: pd.DataFrame, names: Any, dtypes: Any) -> Any:
    """Return a pyarrow table of these names, and dtypes where they hold the values.

    A dtype may be a word, or None where it doesn't matter.
    """
    import pyarrow as pa

    columns = [X.iloc[:, j] for j in range(X.shape[1])]
    pairs = zip(columns, dtypes, strict=True)
    return pa.table([_cast(pa, *pair) for pair in pairs], names=list(names))


def _cast(pa: Any, column: pd.Series, dtype: Any) -> Any:
    """Return a column as an array of this dtype where that holds the values."""
    array = pa.array(column, from_pandas=True)
    try:
        wanted = type_of(dtype) if isinstance(dtype, str) else dtype
        if wanted is None or wanted == array.type:
            return array
        if pa.types.is_floating(array.type) and not _holds(pa, wanted, column):
            return array
        if pa.types.is_dictionary(array.type) and pa.types.is_dictionary(wanted):
            words = array.cast(wanted.value_type).to_pandas()
            known = pd.CategoricalDtype(column.cat.categories, bool(wanted.ordered))
            array = pa.array(pd.Series(words).astype(known))
        return array.cast(wanted)
    except (ValueError, NotImplementedError):  # pyarrow's own errors are kinds of these
        return array


def _holds(pa: Any, dtype: Any, numbers: pd.Series) -> bool:
    """Return whether a dtype may hold numbers; casts tell the rest."""
    if pa.types.is_boolean(dtype):
        return bool(np.isin(numbers.dropna().to_numpy(), (0.0, 1.0)).all())
    kinds = (pa.types.is_integer, pa.types.is_floating)
    return any(is_kind(dtype) for is_kind in kinds)
