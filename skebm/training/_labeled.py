"""Rows of which some have a class, in batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skebm.objectives import LabeledRows
from skebm.training._batches import _fits


class LabeledBatches:
    """Labelled and unlabelled rows in random order, some of each in every batch.

    An epoch passes once over the more numerous kind; the other is dealt out as often
    as it takes.

    Parameters
    ----------
    x : Tensor of shape (n, d) or scipy CSR matrix
        A sparse one is made dense a batch at a time.
    codes : Tensor of int of shape (n,)
        Classes; negative where unlabelled.
    unlabeled_weight : float
        What an unlabelled row counts beside a labelled one; with 0 it is left out.
    device : torch.device
    """

    def __init__(
        self, x: Any, codes: Tensor, unlabeled_weight: float, device: torch.device
    ) -> None:
        self.device = device
        self.x = x.to(device) if isinstance(x, Tensor) and _fits(x, device) else x
        self.codes = codes.to(device)
        labeled = (codes >= 0).nonzero()[:, 0]
        rest = (codes < 0).nonzero()[:, 0] if unlabeled_weight else labeled[:0]
        self.labeled, self.rest = labeled, rest
        n, m = len(labeled), unlabeled_weight * len(rest)
        self.labeled_share = n / (n + m) if n + m else 0.0

    def n_steps(self, batch_size: int) -> int:
        """Return the number of batches in an epoch."""
        return -(-max(len(self.labeled), len(self.rest)) // batch_size)

    def epoch(
        self, batch_size: int, generator: torch.Generator
    ) -> Iterator[LabeledRows]:
        """Yield the batches of one epoch: up to `batch_size` rows of each kind."""
        n_steps = self.n_steps(batch_size)
        kinds = (
            _dealt(rows, n_steps, batch_size, generator)
            for rows in (self.labeled, self.rest)
        )
        for labeled, rest in zip(*kinds, strict=True):
            v = self._take(torch.cat([labeled, rest]))
            codes = self.codes[labeled.to(self.device)]
            yield LabeledRows(v, codes, self.labeled_share)

    def _take(self, rows: Tensor) -> Tensor:
        if isinstance(self.x, Tensor):
            return self.x.index_select(0, rows.to(self.x.device)).to(self.device)
        dense = self.x[rows.numpy()].toarray().astype(np.float32, copy=False)
        return torch.from_numpy(dense).to(self.device)


def _dealt(
    rows: Tensor, n_steps: int, batch_size: int, generator: torch.Generator
) -> tuple[Tensor, ...]:
    """Return rows of each step: shuffled, all of them, or again and again if few."""
    n = len(rows)
    is_larger_kind = n > (n_steps - 1) * batch_size
    total = n if is_larger_kind else n_steps * min(batch_size, n)
    n_rounds = -(-total // max(n, 1))
    device = generator.device
    orders = [
        torch.randperm(n, generator=generator, device=device) for _ in range(n_rounds)
    ]
    order = torch.cat(orders) if orders else torch.empty(0, device=device).long()
    return rows[order[:total].cpu()].tensor_split(n_steps)
