"""Rows of NumPy arrays or CSR matrices, a chunk at a time."""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse

from skebm.utils import in_padded_batches

CHUNK_ROWS = 1024
#: Recent rows kept for reverse chains and thresholds.
MAX_KEPT_ROWS = 1000


def dense(rows):
    """Return an array for an array or a sparse matrix."""
    return rows.toarray() if sparse.issparse(rows) else rows


def some_rows(v, rng):
    """Return up to `MAX_KEPT_ROWS` complete rows, drawn at random, as float32."""
    if v.shape[0] > MAX_KEPT_ROWS:
        v = v[rng.choice(v.shape[0], MAX_KEPT_ROWS, replace=False)]
    v = dense(v)
    if np.isnan(v.min()):
        v = v[~np.isnan(v).any(axis=1)]
    return v.astype(np.float32)


def chunks(v):
    """Yield dense chunks of rows."""
    for start in range(0, v.shape[0], CHUNK_ROWS):
        yield dense(v[start : start + CHUNK_ROWS])


def to_tensor(rows, dtype, device="cpu"):
    """Return rows as a tensor of this NumPy dtype; read-only ones are copied."""
    rows = np.asarray(rows, dtype=dtype)
    rows = rows if rows.flags.writeable else rows.copy()
    return torch.from_numpy(rows).to(device)


def on_chunk(function, rows, dtype, device, complete=None):
    """Apply a function of tensors to a chunk; rows with NaN go to `complete`."""

    def prepare(part):
        return to_tensor(part, dtype, device)

    is_incomplete = np.zeros(len(rows), dtype=bool)
    if complete is not None:
        is_incomplete = np.isnan(rows).any(axis=1)
    filled = np.where(np.isnan(rows), 0, rows) if is_incomplete.any() else rows
    with torch.no_grad():
        result = in_padded_batches(function, filled, prepare, CHUNK_ROWS)
        if is_incomplete.any():
            result[is_incomplete] = complete(prepare(rows[is_incomplete])).cpu().numpy()
    return result


def column_means(v):
    """Return the means of the columns' observed entries, and how many there are."""
    n = np.full(v.shape[1], float(v.shape[0]))
    if sparse.issparse(v) or not np.isnan(v.min()):
        return np.asarray(v.mean(axis=0, dtype=np.float64)).ravel(), n
    n = (~np.isnan(v)).sum(axis=0).astype(np.float64)
    return np.nansum(v, axis=0, dtype=np.float64) / np.maximum(n, 1), n


def total_deviation(v):
    """Return the square root of the columns' summed variances, over some rows."""
    rows = dense(v[:CHUNK_ROWS]).astype(np.float64)
    mean, _ = column_means(rows)
    return float(np.sqrt(np.nansum((rows - mean) ** 2) / len(rows)))
