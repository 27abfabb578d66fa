"""Rows that a table repeats often."""

from __future__ import annotations

from torch import Tensor

#: The least share, and number, of the other rows that are copies of a usual row.
USUAL_SHARE, USUAL_ROWS = 0.01, 5


def usual_rows(rows: Tensor) -> Tensor:
    """Return the rows, each once, that have copies in 1 % of a table, at least five."""
    found, counts = rows.unique(dim=0, return_counts=True)
    return found[counts > max(USUAL_ROWS, USUAL_SHARE * len(rows))]


def are_among(x: Tensor, rows: Tensor) -> Tensor:
    """Tell which rows of x equal one of ``rows``, which are few."""
    return (x[:, None] == rows).all(dim=2).any(dim=1)
