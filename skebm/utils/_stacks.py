"""Products of stacked matrices and vectors, rounded as those of one matrix are."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

#: Trials by which two ways to multiply are held to be rounded alike.
N_TRIALS = 8


def stacked_products(m: Tensor, x: Tensor, start: Tensor | None = None) -> Tensor:
    """Return M x, or start - M x, for each matrix and vector of a stack.

    To the last bit what `torch.mv` and `torch.addmv` return for one of them. A product
    of whole stacks is several times as quick, and used where it is rounded alike, which
    depends on the shape and on the library that torch was built with.

    Parameters
    ----------
    m : Tensor of float32 of shape (k, n, d)
        The matrices, each contiguous or the transpose of one.
    x : Tensor of shape (k, d)
        The vectors.
    start : Tensor of shape (k, n) or (n,), or None
        What is subtracted from.
    """
    n, d = m.shape[1:]
    if _is_rounded_alike(n, d, m.stride(2) == 1, start is not None):
        return _as_stack(m, x, start)
    return _one_by_one(m, x, start)


def _as_stack(m: Tensor, x: Tensor, start: Tensor | None) -> Tensor:
    if start is None:
        return torch.bmm(x[:, None], m.mT)[:, 0]
    start = start.expand(len(m), -1)[:, None]
    return torch.baddbmm(start, x[:, None], m.mT, alpha=-1)[:, 0]


def _one_by_one(m: Tensor, x: Tensor, start: Tensor | None) -> Tensor:
    out = m.new_empty(m.shape[:2])
    if start is None:
        for matrix, vector, place in zip(m, x, out, strict=True):
            torch.mv(matrix, vector, out=place)
        return out
    starts = start.expand(len(m), -1)
    for matrix, vector, first, place in zip(m, x, starts, out, strict=True):
        torch.addmv(first, matrix, vector, alpha=-1, out=place)
    return out


@lru_cache(maxsize=1024)
def _is_rounded_alike(n: int, d: int, by_rows: bool, has_start: bool) -> bool:
    """Tell whether the two ways give the same bits for matrices of a shape."""
    generator = torch.Generator().manual_seed(0)
    shape = (N_TRIALS, n, d) if by_rows else (N_TRIALS, d, n)
    m = torch.randn(shape, generator=generator)
    m = m if by_rows else m.mT
    x = torch.randn(N_TRIALS, d, generator=generator)
    start = torch.randn(N_TRIALS, n, generator=generator) if has_start else None
    return torch.equal(_as_stack(m, x, start), _one_by_one(m, x, start))
