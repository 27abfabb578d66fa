"""Rows and labels of a step, divided among the members of an ensemble."""

from __future__ import annotations

import torch
from torch import Tensor

from skebm.objectives._base import Batch
from skebm.utils import uniform_like


def own_version(values: Tensor, which: slice) -> Tensor:
    """Return for each member the values of its version, shape (m, n, ...).

    Parameters
    ----------
    values : Tensor of shape (m, n, V, ...)
        Values of m members in all V versions.
    which : slice
        Indices of those members; member i has version i modulo V.
    """
    member = torch.arange(which.start, which.stop)
    return values[member - which.start, :, member % values.shape[2]]


def deal(rows: Tensor, n_members: int) -> Tensor:
    """Divide rows (n, d) among the members: (n_members, n // n_members, d).

    If there are fewer rows than members, each member gets all of them.
    """
    n_rows = len(rows) // n_members
    if n_rows == 0:
        return rows.expand(n_members, *rows.shape)
    return rows[: n_members * n_rows].unflatten(0, (n_members, n_rows))


def mix_with_neighbors(batch: Batch, generator: torch.Generator) -> Batch:
    """Return random mixtures of rows and neighbours, their labels mixed alike."""
    near = batch.neighbors
    assert near is not None and near.soft_labels is not None
    assert batch.soft_labels is not None and batch.confidence is not None
    assert near.confidence is not None
    share = uniform_like(batch.x[:, :1], generator)
    return Batch(
        torch.lerp(batch.x, near.x, share),
        soft_labels=torch.lerp(batch.soft_labels, near.soft_labels, share[:, :, None]),
        confidence=torch.lerp(batch.confidence, near.confidence, share),
    )
