"""Rows of NumPy arrays or CSR matrices, a chunk at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from skebm.utils import in_padded_batches

Array = NDArray[Any]

CHUNK_ROWS = 1024
#: Recent rows kept for reverse chains and thresholds.
MAX_KEPT_ROWS = 1000


def dense(rows: Any) -> Array:
    """Return an array for an array or a sparse matrix."""
    return rows.toarray() if sparse.issparse(rows) else rows


def some_rows(v: Any, rng: np.random.RandomState) -> Array:
    """Return up to `MAX_KEPT_ROWS` rows, drawn at random, as float32."""
    if v.shape[0] > MAX_KEPT_ROWS:
        v = v[rng.choice(v.shape[0], MAX_KEPT_ROWS, replace=False)]
    return dense(v).astype(np.float32)


def chunks(v: Any) -> Iterator[Array]:
    """Yield dense chunks of rows."""
    for start in range(0, v.shape[0], CHUNK_ROWS):
        yield dense(v[start : start + CHUNK_ROWS])


def to_tensor(rows: Any, dtype: Any, device: torch.device | str = "cpu") -> Tensor:
    """Return rows as a tensor of this NumPy dtype.

    Read-only and reversed ones are copied.
    """
    rows = np.asarray(rows, dtype=dtype)
    if not rows.flags.writeable or min(rows.strides) < 0:
        rows = rows.copy()
    return torch.from_numpy(rows).to(device)


def on_chunk(
    function: Callable[[Tensor], Tensor],
    rows: Array,
    dtype: Any,
    device: torch.device,
    complete: Callable[[Tensor], Tensor] | None = None,
) -> Array:
    """Apply a function of tensors to a chunk; rows with NaN go to `complete`."""

    def prepare(part: Array) -> Tensor:
        return to_tensor(part, dtype, device)

    is_incomplete: Any = np.zeros(len(rows), dtype=bool)
    if complete is not None:
        is_incomplete = np.isnan(rows).any(axis=1)
    filled = np.where(np.isnan(rows), 0, rows) if is_incomplete.any() else rows
    with torch.no_grad():
        result = in_padded_batches(function, filled, prepare, CHUNK_ROWS)
        if complete is not None and is_incomplete.any():
            result[is_incomplete] = complete(prepare(rows[is_incomplete])).cpu().numpy()
    return result


def column_means(v: Any) -> tuple[Array, Array]:
    """Return the means of the columns' observed entries, and how many there are."""
    n = np.full(v.shape[1], float(v.shape[0]))
    if sparse.issparse(v) or not np.isnan(v.min()):
        return np.asarray(v.mean(axis=0, dtype=np.float64)).ravel(), n
    n = (~np.isnan(v)).sum(axis=0).astype(np.float64)
    return np.nansum(v, axis=0, dtype=np.float64) / np.maximum(n, 1), n


def total_deviation(v: Any) -> float:
    """Return the square root of the columns' summed variances, over some rows."""
    rows = dense(v[:CHUNK_ROWS]).astype(np.float64)
    mean, _ = column_means(rows)
    return float(np.sqrt(np.nansum((rows - mean) ** 2) / len(rows)))
