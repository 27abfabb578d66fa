"""Tables of users as NumPy, SciPy or pandas hold them, and how they came."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import sparse

from skebm.tables import _arrow_frames, _narwhals_frames, _pandas_frames
from skebm.tables._frames import ARRAYS, TableFormat


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


def _see_frame(values: pd.DataFrame, table_format: TableFormat) -> SeenTable:
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
        return np.ma.filled(X.astype(np.float64), np.nan)
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
    batched = torch.utils.data.Dataset, torch.utils.data.DataLoader, Iterator
    # A reader of Arrow batches is no Iterator by its base classes.
    if isinstance(X, batched) or hasattr(X, "read_next_batch"):
        raise TypeError(
            f"{found}; draw a table from its batches by skebm.datasets.sample_rows, or "
            "train batch by batch with partial_fit."
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
