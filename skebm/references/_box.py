"""A uniform density on a box, for ``reference=None``."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from skebm.references._base import Conditional, Density, Reference
from skebm.references._mixture import GaussianReference
from skebm.utils import check_number, normal_like, uniform_like

#: Standard deviation of the half normals outside the box, in `extended_log_prob`.
SOFTNESS = 0.1
#: Beyond, single precision can't tell a row from its neighbour in the box.
MAX_MARGIN = 1e6


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

    bounded_support: ClassVar[bool] = True
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
        # The product keeps the result attached to x, for samplers that differentiate.
        return self._log_prob(x) + 0.0 * x.sum(dim=1)

    def log_prob_with_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return log q0(x), shape (n,), and zeros."""
        return self._log_prob(x), torch.zeros_like(x)

    def _log_prob(self, x: Tensor) -> Tensor:
        inside = ((x >= self.low) & (x <= self.high)).all(dim=1)
        constant = -(self.high - self.low).log().sum()
        return torch.where(inside, constant, -math.inf)

    def extended_log_prob(self, x: Tensor) -> Tensor:
        """Return log q0(x), continued outside the box by half normals."""
        excess = (self.low - x).clamp(min=0) + (x - self.high).clamp(min=0)
        return -(self.high - self.low).log().sum() - 50.0 * excess.square().sum(dim=1)

    def partition(self, observed: Tensor) -> tuple[Density, Conditional]:
        """Return the box of the given columns, and that of the others."""
        marginal = UniformBox(self.low[observed].double(), self.high[observed].double())
        rest = UniformBox(self.low[~observed], self.high[~observed])
        return marginal, lambda _: rest

    def reflect(self, x: Tensor) -> Tensor:
        """Return rows, those outside the box reflected into it."""
        reflected: Tensor = _Reflection.apply(x, self.low, self.high)[0]
        return reflected

    def reflected(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return what `reflect` returns, and its slopes, 1 or -1."""
        rows, offset = _reflect(x, self.low, self.high)
        return rows, 1 - 2 * (offset >= 0).to(x.dtype)

    def transition(
        self, x: Tensor, scale: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Return rows after a normal step, reflected into the box."""
        noise = (self.high - self.low) * normal_like(x, generator)
        return self.reflect(x + scale.unsqueeze(1) * noise)

    def outside(self, x: Tensor) -> Tensor:
        """Return a mask of the columns in which any row lies outside the box."""
        low, high = self.low.to(x.device), self.high.to(x.device)
        return ((x < low) | (x > high)).any(dim=0)

    def bounds(self) -> tuple[Tensor, Tensor]:
        """Return the corners a and b."""
        return self.low, self.high

    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Return draws of shape (n_samples, n_features)."""
        corners = self.low.expand(n_samples, -1)
        return corners + (self.high - self.low) * uniform_like(corners, generator)

    def sample_extended(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Return draws that follow `extended_log_prob`.

        A column lies outside the box with the probability of its half normals.
        """
        draws = self.sample(n_samples, generator)
        low, high = self.low, self.high
        margin = SOFTNESS * math.sqrt(math.pi / 2)  # a half normal's mass
        unit = (draws - low) / (high - low)
        draws = low - margin + unit * (high - low + 2 * margin)
        beyond = SOFTNESS * normal_like(draws, generator).abs()
        draws = torch.where(draws < low, low - beyond, draws)
        return torch.where(draws > high, high + beyond, draws)


class BoxReference(Reference):
    r"""A uniform density on the range of the rows, widened on each side.

    Parameters
    ----------
    margin : float, default=0.2
        Width added on each side, as a share of the range. A constant column counts as
        one with a range of 1.
    """

    needs_all_rows: ClassVar[bool] = True

    def __init__(self, margin: float = 0.2) -> None:
        self.margin = margin

    def check_options(self) -> None:
        """Raise ValueError where the margin is out of its range or not a number."""
        check_number(self, "margin", 0, MAX_MARGIN)

    def for_normalized(self) -> GaussianReference:
        """Return a Gaussian reference, whose support is all of space."""
        return GaussianReference()

    def fit(
        self, x: Tensor, *, weight: Tensor | None, generator: torch.Generator
    ) -> UniformBox:
        """Return the box around x, whatever the weights."""
        del weight, generator
        low, high = x.min(dim=0).values, x.max(dim=0).values
        width = high - low
        width = torch.where(width > 0, width, torch.ones_like(width))
        return UniformBox(low - self.margin * width, high + self.margin * width)


def _reflect(x: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows reflected into a box, and a number below 0 where their slope is 1."""
    width = high - low
    offset = torch.remainder(x - low, 2 * width) - width
    # Rounding may carry a row on the boundary past it.
    return (high - offset.abs()).clamp(low, high), offset


class _Reflection(torch.autograd.Function):
    """Reflection into a box; its slope, 1 or -1, is known without its seven steps."""

    generate_vmap_rule = True  # for torch.func

    @staticmethod
    def forward(x: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        return _reflect(x, low, high)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1])

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None, None]:
        slope = slopes[0]
        (offset,) = ctx.saved_tensors
        return torch.where(offset < 0, slope, -slope), None, None
