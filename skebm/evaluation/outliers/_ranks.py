"""Ranks of values among the training rows, column by column, and normal scores."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Counts:
    """How many rows lie below and above values, each of shape (m, n_features).

    Attributes
    ----------
    below, up_to : Tensor
        Numbers of rows that are less than the value, and at most the value.
    n_rows : Tensor of shape (m, 1)
        Numbers of rows that were compared.
    excess : Tensor
        By how much the value lies beyond all rows, negative below them.
    """

    below: Tensor
    up_to: Tensor
    n_rows: Tensor
    excess: Tensor


class ColumnRanks(nn.Module):
    """Ranks among rows in each column.

    Parameters
    ----------
    rows : Tensor of shape (n, n_features)
        The rows.
    """

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.rows: Tensor
        self.ordered: Tensor
        self.register_buffer("rows", rows, persistent=False)
        ordered = rows.T.contiguous().sort(dim=1).values
        self.register_buffer("ordered", ordered, persistent=False)

    def counts(self, x: Tensor, own: Tensor) -> Counts:
        """Count the rows below and above; ``own`` is a row left out, or -1."""
        values = x.T.contiguous()
        below = torch.searchsorted(self.ordered, values).T
        up_to = torch.searchsorted(self.ordered, values, right=True).T
        low, high = self.ordered[:, 0], self.ordered[:, -1]
        n_rows = torch.full((len(x), 1), len(self.rows), device=x.device)
        hides = (own >= 0)[:, None]
        if hides.any() and len(self.rows) > 1:
            out = self.rows[own.clamp(min=0)]
            below = below - (hides & (out < x)).long()
            up_to = up_to - (hides & (out <= x)).long()
            n_rows = n_rows - hides.long()
            low = torch.where(hides & (out == low), self.ordered[:, 1], low)
            high = torch.where(hides & (out == high), self.ordered[:, -2], high)
        excess = (x - high).clamp(min=0) - (low - x).clamp(min=0)
        return Counts(below, up_to, n_rows, excess)

    def normal_scores(self, x: Tensor, own: Tensor) -> Tensor:
        r"""Return the normal quantiles of the values' ranks, shape (m, n_features).

        .. math:: \Phi^{-1}\left(\frac{\#\{x_i < x\} + \#\{x_i \le x\} + 1}
                  {2 n + 2}\right)

        Beyond all rows by e, e is added, so that far values stay far.
        """
        found = self.counts(x, own)
        share = (found.below + found.up_to + 1).double() / (2 * found.n_rows + 2)
        return torch.special.ndtri(share).to(x.dtype) + found.excess
