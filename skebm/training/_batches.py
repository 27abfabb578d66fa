"""Rows in, mini-batches out."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from skebm.objectives import Batch


class TableBatches:
    """Shuffled mini-batches of a table, on the device where the table fits there.

    Rows that don't fill a last batch wait for another epoch's shuffle, so that every
    step weighs its phases alike.

    Parameters
    ----------
    x : Tensor of shape (n, n_features)
        Standardised rows, on the CPU.
    y : Tensor of shape (n,) or None
        Class numbers, -1 where unlabelled.
    weight : Tensor of shape (n,) or None
        Row weights, scaled to mean one.
    rows : Tensor of int64
        Numbers of the rows to train on; the others are never drawn, nor copied.
    device : torch.device
        Where the steps run.
    n_labeled : int, default=0
        Labelled rows to draw beside each batch; 0 draws none.
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor | None,
        weight: Tensor | None,
        rows: Tensor,
        *,
        device: torch.device,
        n_labeled: int = 0,
    ) -> None:
        self.device = device
        self.home = device if _fits(x, device) else torch.device("cpu")
        self.x = x.to(self.home)
        self.y = None if y is None else y.to(self.home)
        self.weight = None if weight is None else weight.to(self.home)
        self.rows = rows.to(self.home)
        self.n_labeled = n_labeled
        if n_labeled and y is not None:
            self.labeled = rows[y[rows] >= 0].to(self.home)

    def __len__(self) -> int:
        return len(self.rows)

    def n_steps(self, batch_size: int) -> int:
        """Return the number of batches in an epoch."""
        return max(1, len(self.rows) // batch_size)

    def epoch(self, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
        """Yield the batches of one epoch."""
        permutation = torch.randperm(
            len(self.rows), generator=generator, device=generator.device
        )
        order = self.rows[permutation.to(self.home)]
        for step in range(self.n_steps(batch_size)):
            rows = order[step * batch_size : (step + 1) * batch_size]
            yield self._take(rows, self._draw_labeled(generator))

    def _draw_labeled(self, generator: torch.Generator) -> Batch | None:
        if not self.n_labeled:
            return None
        if len(self.labeled) <= self.n_labeled:
            return self._take(self.labeled, None)
        draw = torch.randint(
            len(self.labeled),
            (self.n_labeled,),
            generator=generator,
            device=generator.device,
        ).to(self.home)
        return self._take(self.labeled[draw], None)

    def _take(self, rows: Tensor, labeled: Batch | None) -> Batch:
        def pick(table: Tensor | None) -> Tensor | None:
            if table is None:
                return None
            return table[rows].to(self.device, non_blocking=True)

        x = pick(self.x)
        assert x is not None
        return Batch(x, pick(self.y), pick(self.weight), labeled)


def _fits(x: Tensor, device: torch.device) -> bool:
    """Tell whether x takes at most half of the device's free memory."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return x.numel() * x.element_size() < free / 2
