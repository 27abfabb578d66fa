"""Rows of NumPy arrays or CSR matrices, a chunk at a time."""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse

from skebm.utils import in_padded_batches

CHUNK_ROWS = 1024


def dense(rows):
    """Return an array for an array or a sparse matrix."""
    return rows.toarray() if sparse.issparse(rows) else rows


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

    gaps = np.zeros(len(rows), dtype=bool)
    if complete is not None:
        gaps = np.isnan(rows).any(axis=1)
    filled = np.where(np.isnan(rows), 0, rows) if gaps.any() else rows
    with torch.no_grad():
        result = in_padded_batches(function, filled, prepare, CHUNK_ROWS)
        if gaps.any():
            result[gaps] = complete(prepare(rows[gaps])).cpu().numpy()
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
