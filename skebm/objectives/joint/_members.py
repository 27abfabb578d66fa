"""Rows and labels of a step, divided among the members of an ensemble."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from skebm.networks._energy_model import Members
from skebm.objectives._base import Batch
from skebm.utils import uniform_like

#: Members of an ensemble, and rows of each: (m, n, n_features).
Part = tuple[slice, Tensor]


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


def log_probs(
    groups: Sequence[Members], counts: Sequence[int], parts: Sequence[Part]
) -> list[Tensor]:
    """Return log p(y | x) of each part's rows by its members, (m, n, n_classes).

    Each group of members takes all its rows in one pass.

    Parameters
    ----------
    groups : sequence of callable
        The groups of members, in their order.
    counts : sequence of int
        How many members each group has.
    parts : sequence of pair of slice and Tensor
        Members, in whole groups, and their rows (m, n, n_features).
    """
    found: list[list[Tensor]] = [[] for _ in parts]
    first = 0
    for group, count in zip(groups, counts, strict=True):
        members = range(first, first + count)
        first = members.stop
        own = [
            (pieces, x[members.start - which.start : members.stop - which.start])
            for pieces, (which, x) in zip(found, parts, strict=True)
            if count and which.start <= members.start and members.stop <= which.stop
        ]
        if not own:
            continue
        log_prob = torch.log_softmax(group(torch.cat([x for _, x in own], 1)), dim=2)
        by_part = log_prob.split([x.shape[1] for _, x in own], dim=1)
        for (pieces, _), piece in zip(own, by_part, strict=True):
            pieces.append(piece)
    return [torch.cat(pieces) for pieces in found]


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
