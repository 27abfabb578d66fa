"""No reference: a uniform density on a box."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from skebm.references._base import Conditional, Density, Reference
from skebm.utils import check_range, is_positive, normal_like, uniform_like


class UniformBox(Density):
    r"""Uniform density on a box, -inf outside of it.

    .. math:: \log q_0(x) = -\sum_j \log(b_j - a_j), \qquad a \le x \le b

    Parameters
    ----------
    low, high : Tensor of shape (n_features,)
        The corners a and b.

    Examples
    --------
    >>> import torch
    >>> box = UniformBox(torch.zeros(2), torch.ones(2))
    >>> box.log_prob(torch.tensor([[0.5, 0.5], [0.5, 1.5]])).tolist()
    [0.0, -inf]
    """

    has_walls: ClassVar[bool] = True
    has_conditionals: ClassVar[bool] = True
    has_transitions: ClassVar[bool] = True

    def __init__(self, low: Tensor, high: Tensor) -> None:
        super().__init__()
        self.low: Tensor
        self.high: Tensor
        self.register_buffer("low", low)
        self.register_buffer("high", high)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log q0(x) in nats, shape (n,); its gradient is zero."""
        inside = ((x >= self.low) & (x <= self.high)).all(dim=1)
        constant = -(self.high - self.low).log().sum()
        # The product keeps the result attached to x, for samplers that differentiate.
        return torch.where(inside, constant, -math.inf) + 0.0 * x.sum(dim=1)

    def extended_log_prob(self, x: Tensor) -> Tensor:
        """Return log q0(x) with quadratic walls, a tenth of a unit soft, outside."""
        excess = (self.low - x).clamp(min=0) + (x - self.high).clamp(min=0)
        return -(self.high - self.low).log().sum() - 50.0 * excess.square().sum(dim=1)

    def partition(self, observed: Tensor) -> tuple[Density, Conditional]:
        """Return the box of the given columns, and that of the others."""
        marginal = UniformBox(self.low[observed].double(), self.high[observed].double())
        rest = UniformBox(self.low[~observed], self.high[~observed])
        return marginal, lambda _: rest

    def inside(self, x: Tensor) -> Tensor:
        """Return x, mirrored at the walls where it lies beyond them."""
        width = self.high - self.low
        folded = (torch.remainder(x - self.low, 2 * width) - width).abs()
        # Rounding may carry a row on a wall past it.
        return torch.minimum(torch.maximum(self.high - folded, self.low), self.high)

    def transition(
        self, x: Tensor, scale: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Return rows after a normal step, as a share of the box, with mirrors."""
        noise = (self.high - self.low) * normal_like(x, generator)
        return self.inside(x + scale.unsqueeze(1) * noise)

    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Return draws of shape (n_samples, n_features)."""
        corners = self.low.expand(n_samples, -1)
        return corners + (self.high - self.low) * uniform_like(corners, generator)


class BoxReference(Reference):
    r"""The range of the training rows, widened on each side.

    Parameters
    ----------
    margin : float, default=0.2
        What is added on each side, as a share of the range. A constant column gets a
        range of one.
    """

    needs_all_rows: ClassVar[bool] = True

    def __init__(self, margin: float = 0.2) -> None:
        self.margin = margin

    def check_options(self) -> None:
        """Raise ValueError where the margin is not a number from 0."""
        right = self.margin == 0 or is_positive(self.margin)
        check_range(self, "margin", right, "a number, at least 0")

    def fit(
        self, x: Tensor, *, weight: Tensor | None, generator: torch.Generator
    ) -> UniformBox:
        """Return the box around x; weights don't count."""
        del weight, generator
        low, high = x.min(dim=0).values, x.max(dim=0).values
        width = high - low
        width = torch.where(width > 0, width, torch.ones_like(width))
        return UniformBox(low - self.margin * width, high + self.margin * width)
