"""Rows drawn from batches, of tables that don't fit in memory."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch.utils.data import DataLoader, Dataset

from skebm.utils import InvalidParameterError, is_count
from skebm.utils._random import private_random_state

#: Rows that are drawn where nothing else is asked for.
MAX_ROWS = 1_000_000
#: Rows of a batch of a `torch.utils.data.Dataset`.
DATASET_BATCH = 8192
#: Rows that may wait, as a share of those to be drawn, until some are dropped.
SLACK = 0.25


def sample_rows(
    batches: Any,
    max_rows: int = MAX_ROWS,
    random_state: int | np.random.RandomState | None = None,
) -> Any:
    """Draw rows of a table that comes in batches: all, or a random sample of them.

    Each row has the same chance, whatever the order of the rows, and none is drawn
    twice. One pass is made, in which up to about 2.5 times ``max_rows`` rows are in
    memory.

    Parameters
    ----------
    batches : iterable
        Yields tables: arrays, tensors or data frames of the same columns; or tuples
        (or lists) of them and of labels or weights of the rows. Also a
        `torch.utils.data.DataLoader` or `Dataset`, a `pyarrow.RecordBatchReader`, a
        `pyarrow.dataset.Dataset` or a `pyarrow.parquet.ParquetFile`.
    max_rows : int, default=1_000_000
        Rows that are drawn, where there are more.
    random_state : int, RandomState or None, default=None
        Seed of the draw.

    Returns
    -------
    X : array or data frame of shape (n_rows, n_features)
        The rows in the order in which they came. A data frame of the library of the
        batches; a tuple of as many parts as the batches have, where they have several.

    Raises
    ------
    ValueError
        Where no row comes, a batch has other columns than the first, or its parts
        don't have the same number of rows.

    Examples
    --------
    >>> import numpy as np
    >>> from skebm.datasets import sample_rows
    >>> batches = ((np.full((100, 2), k), np.arange(100)) for k in range(50))
    >>> X, y = sample_rows(batches, max_rows=1000, random_state=0)
    >>> X.shape, y.shape
    ((1000, 2), (1000,))
    """
    if not is_count(max_rows, 1):
        raise InvalidParameterError(
            f"The 'max_rows' parameter must be an int of at least 1. Got {max_rows!r}."
        )
    rng = private_random_state(random_state)
    drawn = _Drawn(max_rows)
    with torch.random.fork_rng(devices=[]):  # a DataLoader draws a seed
        for batch in _batches_of(batches):
            parts = batch if isinstance(batch, tuple | list) else [batch]
            drawn.add([_plain(part) for part in parts], rng)
    rows = drawn.rows()
    return rows[0] if len(rows) == 1 else tuple(rows)


def is_stream(X: Any) -> bool:
    """Return whether X is no table but brings one in batches."""
    if isinstance(X, Iterator | DataLoader | Dataset):
        return True
    if any(hasattr(X, name) for name in ("read_next_batch", "iter_batches")):
        return True
    return hasattr(X, "to_batches") and hasattr(X, "scanner")


def _batches_of(X: Any) -> Iterable[Any]:
    """Return an iterable of batches."""
    if isinstance(X, Dataset):
        return DataLoader(X, batch_size=DATASET_BATCH)
    if hasattr(X, "iter_batches"):
        batches: Iterable[Any] = X.iter_batches()
        return batches
    if hasattr(X, "to_batches") and hasattr(X, "scanner"):
        return X.to_batches()
    if isinstance(X, str | bytes) or not isinstance(X, Iterable):
        raise InvalidParameterError(
            "The 'batches' parameter must be an iterable of tables. Got an object of "
            f"type {type(X).__name__}."
        )
    return X


class _Drawn:
    """Rows of the smallest random keys so far, at most some more than asked for."""

    def __init__(self, max_rows: int) -> None:
        self.max_rows, self.threshold = max_rows, np.inf
        self.keys: list[NDArray[np.float64]] = []
        self.parts: list[list[Any]] = []
        self.columns: list[Any] = []

    def add(self, parts: Sequence[Any], rng: np.random.RandomState) -> None:
        """Draw from the rows of a batch."""
        self._check(parts)
        keys = rng.random_sample(_length(parts[0]))
        self._keep(keys, parts)
        if sum(map(len, self.keys)) > (1 + SLACK) * self.max_rows:
            self._drop()

    def rows(self) -> list[Any]:
        """Return the parts of the rows that are drawn."""
        if not sum(map(len, self.keys)):
            raise ValueError("The batches hold no row.")
        self._drop()
        return [_joined(column) for column in zip(*self.parts, strict=True)]

    def _keep(self, keys: NDArray[np.float64], parts: Sequence[Any]) -> None:
        kept = np.flatnonzero(keys <= self.threshold)
        self.keys.append(keys[kept])
        self.parts.append([_taken(part, kept) for part in parts])

    def _drop(self) -> None:
        """Keep as many rows as are asked for, of the smallest keys."""
        keys, parts = self.keys, self.parts
        together = np.concatenate(keys)
        if len(together) <= self.max_rows:
            return
        last = self.max_rows - 1
        self.threshold = float(np.partition(together, last)[last])
        self.keys, self.parts = [], []
        for of_chunk, chunk in zip(keys, parts, strict=True):
            self._keep(of_chunk, chunk)
        self.keys = [np.concatenate(self.keys)]
        self.parts = [[_joined(c) for c in zip(*self.parts, strict=True)]]

    def _check(self, parts: Sequence[Any]) -> None:
        """Raise ValueError where a batch does not match the first."""
        if len(getattr(parts[0], "shape", ())) != 2:
            raise ValueError(
                "Each batch must be a table of two dimensions. Got an object of type "
                f"{type(parts[0]).__name__} of shape {getattr(parts[0], 'shape', ())}."
            )
        lengths = [_length(part) for part in parts]
        if len(set(lengths)) > 1:
            raise ValueError(
                "The parts of a batch must have the same number of rows. Got "
                f"{lengths}."
            )
        columns = [_columns(part) for part in parts]
        self.columns = self.columns or columns
        if len(columns) != len(self.columns):
            raise ValueError(
                f"All batches must have as many parts as the first, "
                f"{len(self.columns)}. Got {len(columns)}."
            )
        if columns != self.columns:
            raise ValueError(
                f"All batches must have the columns of the first, {self.columns}. Got "
                f"{columns}."
            )


def _library(part: Any) -> str:
    return type(part).__module__.partition(".")[0]


def _plain(part: Any) -> Any:
    """Return a part as an array, a sparse matrix or a data frame."""
    if isinstance(part, torch.Tensor):
        part = part.detach().cpu()
        return (part.float() if part.dtype == torch.bfloat16 else part).numpy()
    if type(part).__name__ == "RecordBatch":
        return sys.modules["pyarrow"].Table.from_batches([part])
    if sparse.issparse(part):
        return part.tocsr()
    known = _library(part) in ("pandas", "polars", "pyarrow", "numpy")
    return part if known else np.asarray(part)


def _length(part: Any) -> int:
    return int(part.shape[0]) if hasattr(part, "shape") else len(part)


def _columns(part: Any) -> Any:
    """Return what must be the same in all batches: names, or the shape of a row."""
    if isinstance(part, pd.DataFrame):
        return list(part.columns)
    for name in ("column_names", "columns"):
        if hasattr(part, name):
            return list(getattr(part, name))
    return getattr(part, "shape", (0,))[1:]


def _taken(part: Any, rows: NDArray[np.int64]) -> Any:
    """Return some rows of a part, a copy unless they are all."""
    if len(rows) == _length(part):
        return part
    if isinstance(part, pd.DataFrame | pd.Series):
        return part.iloc[rows]
    return part.take(rows) if _library(part) == "pyarrow" else part[rows]


def _joined(parts: Sequence[Any]) -> Any:
    """Return parts of one kind as one."""
    if len(parts) == 1:
        return parts[0]
    return _JOIN.get(_library(parts[0]), np.concatenate)(parts)


def _join_pandas(parts: Sequence[Any]) -> Any:
    """Return frames or series as one; categories are those of all of them."""
    if isinstance(parts[0], pd.Series):
        return _of_one_dtype(parts)
    joined = pd.concat(parts)
    for j, dtype in enumerate(parts[0].dtypes):
        if isinstance(dtype, pd.CategoricalDtype) and joined.dtypes.iloc[j] != dtype:
            column = _of_one_dtype([part.iloc[:, j] for part in parts])
            joined.isetitem(j, column)
    return joined


def _of_one_dtype(parts: Sequence[pd.Series]) -> pd.Series:
    if not all(isinstance(part.dtype, pd.CategoricalDtype) for part in parts):
        return pd.concat(parts)
    words = pd.api.types.union_categoricals(parts)
    return pd.Series(words, index=np.concatenate([part.index for part in parts]))


def _join_arrow(parts: Sequence[Any]) -> Any:
    arrow = sys.modules["pyarrow"]
    if not isinstance(parts[0], arrow.Table):
        return np.concatenate([np.asarray(part) for part in parts])
    return arrow.concat_tables(parts).unify_dictionaries()


def _join_polars(parts: Sequence[Any]) -> Any:
    return sys.modules["polars"].concat(parts)


_JOIN: dict[str, Callable[[Sequence[Any]], Any]] = {
    "pandas": _join_pandas,
    "pyarrow": _join_arrow,
    "polars": _join_polars,
    "scipy": sparse.vstack,
}
