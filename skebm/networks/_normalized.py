"""Base of the normalised networks: nets that are a log density."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from skebm.references import Density


class NormalizedNetwork(nn.Module, ABC):
    r"""A net whose output is an exact log density, in nats.

    .. math:: f(x) = \log p(x), \qquad \int e^{f(x)} dx = 1

    `EnergyModel` tilts any reference to exactly this density, so that log Z = 0, and
    draws come from `sample`.

    Parameters
    ----------
    n_features : int
        Columns in.
    n_outputs : int, default=1
        Values out; a density has one.

    Raises
    ------
    ValueError
        Where n_outputs is not one.
    """

    #: Declares the capability; any net with this attribute and `sample` is accepted.
    is_normalized: ClassVar[bool] = True

    def __init__(self, n_features: int, n_outputs: int = 1) -> None:
        super().__init__()
        name = type(self).__name__
        if n_outputs != 1:
            raise ValueError(
                f"{name} is a normalised density with one output. Got n_outputs="
                f"{n_outputs}; where there are classes, take a net such as 'mlp'."
            )
        self.n_features = n_features

    def forward(self, x: Tensor) -> Tensor:
        """Return log p(x), shape (n, 1)."""
        return self.log_prob(x).unsqueeze(1)

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x) in nats, shape (n,)."""

    @abstractmethod
    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Return independent draws from p, of shape (n_samples, n_features)."""

    def closed_form(self) -> Density | None:
        """Return the density as one of closed conditionals, or None if it has none."""
        return None

    def _randn(self, *shape: int, generator: torch.Generator) -> Tensor:
        """Return standard normal draws of the parameters' dtype, on their device."""
        like = next(self.parameters())
        return torch.randn(
            shape, generator=generator, device=like.device, dtype=like.dtype
        )


def standard_normal_log_prob(x: Tensor) -> Tensor:
    """Return log N(x; 0, I) over the last dimension."""
    constant = 0.5 * x.shape[-1] * math.log(2 * math.pi)
    return -0.5 * x.square().sum(dim=-1) - constant
