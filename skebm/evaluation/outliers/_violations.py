"""Rows that are wrong on purpose: what an outlier score should tell from the others."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from skebm.utils import normal_like

#: By what factors rows are moved away from the medians.
FACTORS = (1.2, 2.0)
#: Standard deviation of the jitter, in interquartile ranges.
JITTER = 1.5

Violation = Callable[[Tensor, Tensor, torch.Generator], Tensor]


def extrapolated(x: Tensor, train: Tensor, generator: torch.Generator) -> Tensor:
    """Return rows farther from the medians, by a random factor."""
    center, (low, high) = train.median(dim=0).values, FACTORS
    factor = low + (high - low) * _uniform(x[:, :1], generator)
    return center + factor * (x - center)


def jittered(x: Tensor, train: Tensor, generator: torch.Generator) -> Tensor:
    """Return rows with noise in half of the columns."""
    few = train[:10_000].double()  # more rows need no better quartiles
    quarters = torch.tensor([0.25, 0.75]).to(few)
    low, high = torch.stack([column.quantile(quarters) for column in few.T], dim=1)
    span = high - low
    scale = torch.where(span > 0, span, few.std(dim=0, correction=0)).to(x)
    noise = JITTER * scale * normal_like(x, generator)
    return torch.where(_some(x, generator), x + noise, x)


def shuffled(x: Tensor, train: Tensor, generator: torch.Generator) -> Tensor:
    """Return rows with half of the columns taken from other rows, one from each."""
    numbers = (_uniform(x, generator) * len(train)).long().clamp(max=len(train) - 1)
    return torch.where(_some(x, generator), train.gather(0, numbers), x)


def replaced(x: Tensor, train: Tensor, generator: torch.Generator) -> Tensor:
    """Return rows with half of the columns taken from one other row."""
    numbers = (_uniform(x[:, 0], generator) * len(train)).long()
    others = train[numbers.clamp(max=len(train) - 1)]
    return torch.where(_some(x, generator), others, x)


#: The violations by name.
VIOLATIONS: dict[str, Violation] = {
    "extrapolated": extrapolated,
    "jittered": jittered,
    "shuffled": shuffled,
    "replaced": replaced,
}


def violate(
    make: Violation,
    x: Tensor,
    train: Tensor,
    generator: torch.Generator,
    categories: tuple[int, ...] = (),
) -> Tensor:
    """Return rows made wrong; their categories stay, or change to any other.

    Where a category would be moved along the line, it becomes one of those of the
    rows, all with the same chance.
    """
    wrong = make(x, train, generator)
    if make in (shuffled, replaced):
        return wrong
    for j in categories:
        levels = train[:, j].unique()
        number = (_uniform(x[:, j], generator) * len(levels)).long()
        other = levels[number.clamp(max=len(levels) - 1)]
        moves = (wrong[:, j] != x[:, j]) & (make is jittered)
        wrong[:, j] = torch.where(moves, other, x[:, j])
    return wrong


def _uniform(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(
        like.shape, generator=generator, device=like.device, dtype=like.dtype
    )


def _some(x: Tensor, generator: torch.Generator) -> Tensor:
    """Choose half of the entries of x, at least one of each row."""
    draws = _uniform(x, generator)
    return draws <= draws.min(dim=1, keepdim=True).values.clamp(min=0.5)
