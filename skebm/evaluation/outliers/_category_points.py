"""Columns of categories as points between which distances count, and their tails."""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: Most categories of a column that have a coordinate of their own; others share one.
MAX_LEVELS = 64
#: Rows of a category that has none.
PSEUDO_ROWS = 0.5


class CategoryPoints(nn.Module):
    r"""Categories as points of chi-square distances, as in correspondence analysis.

    Two rows that differ in a column of K categories are as far apart in it as

    .. math:: d^2(c, c') = \frac{1}{K - 1} \left(\frac{1}{p_c} + \frac{1}{p_{c'}}\right)

    with the shares p of the categories: so a column has variance one, and a rare
    category is far from all others, whatever their order on the line.

    Parameters
    ----------
    rows : Tensor of shape (n, n_features)
        Standardised rows, at the midpoints of their cells.
    columns : sequence of int
        The columns of categories.
    """

    def __init__(self, rows: Tensor, columns: list[int]) -> None:
        super().__init__()
        self.columns, self.n_rows = columns, len(rows)
        others = [j for j in range(rows.shape[1]) if j not in columns]
        self.others = others if columns else None
        for i, j in enumerate(columns):
            levels, counts = rows[:, j].unique(return_counts=True)
            self.register_buffer(f"levels_{i}", levels, persistent=False)
            self.register_buffer(f"counts_{i}", counts, persistent=False)

    def numbers(self, x: Tensor) -> Tensor:
        """Return the columns that hold no categories."""
        return x if self.others is None else x[:, self.others]

    def beside(self, numbers: Tensor, x: Tensor) -> Tensor:
        """Return points: ``numbers``, and coordinates for the categories of rows x."""
        parts = [self._coordinates(x, i) for i in range(len(self.columns))]
        return torch.cat([numbers, *parts], dim=1) if parts else numbers

    def tails(self, x: Tensor, own: Tensor) -> Tensor:
        """Return numbers of rows of categories as rare as those of x, (m, n_columns).

        ``own`` are rows that are left out, one for each of x; NaN for none.
        """
        parts = [self._tail(x, own, i) for i in range(len(self.columns))]
        return torch.stack(parts, dim=1) if parts else x[:, :0].long()

    def _places(self, values: Tensor, i: int) -> Tensor:
        """Return the places of categories among the levels; -1 of one without rows."""
        levels = self.get_buffer(f"levels_{i}")
        values = values.contiguous()
        found = torch.searchsorted(levels, values).clamp(max=len(levels) - 1)
        return torch.where(levels[found] == values, found, -1)

    def _coordinates(self, x: Tensor, i: int) -> Tensor:
        """Return a coordinate for each frequent category, and one for all others."""
        counts = self.get_buffer(f"counts_{i}")
        order = counts.argsort(descending=True, stable=True)
        n_kept = min(len(order), MAX_LEVELS)
        rest = (self.n_rows - counts[order[:n_kept]].sum()).clamp(min=PSEUDO_ROWS)
        share = torch.cat([counts[order[:n_kept]].to(x), rest[None].to(x)])
        share = share / self.n_rows
        coordinate = torch.full((len(counts) + 1,), n_kept, device=x.device)
        coordinate[order[:n_kept]] = torch.arange(n_kept, device=x.device)
        places = coordinate[self._places(x[:, self.columns[i]], i)]
        size = (share * max(1, len(counts) - 1)).rsqrt()
        return torch.eye(n_kept + 1).to(x)[places] * size

    def _tail(self, x: Tensor, own: Tensor, i: int) -> Tensor:
        """Return the number of rows of categories as rare; ``own`` is left out."""
        column, counts = self.columns[i], self.get_buffer(f"counts_{i}")
        places = self._places(x[:, column], i)
        hidden = self._places(own[:, column], i)
        count = torch.where(places < 0, 0, counts[places])
        count = count - ((places == hidden) & (places >= 0)).long()
        ordered = counts.sort().values
        up_to = torch.cat([ordered[:0].new_zeros(1), ordered.cumsum(0)])
        tail = up_to[torch.searchsorted(ordered, count, right=True)]
        # A category that lost a row is counted as it is without the row.
        before = torch.where(hidden < 0, 0, counts[hidden])
        counted = torch.where(before <= count, before, 0)
        without = torch.where(before - 1 <= count, before - 1, 0).clamp(min=0)
        return tail - counted + without
