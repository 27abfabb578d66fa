"""Mixtures of isotropic Gaussians, as kernels or as components of a generator."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from skebm.utils import normal_like, pick

LOG_2_PI = math.log(2 * math.pi)
LOG_TINY = -40.0  # smaller weights are cut: denormal numbers are slow


def log_kernels(x: Tensor, means: Tensor, scales: Tensor) -> Tensor:
    r"""Return log N(x; mu_i, s_i^2 I) for every x and i, shape (n, m)."""
    precision = scales.square().reciprocal()
    kernels = x.square().sum(1, keepdim=True) * precision
    kernels = kernels - 2 * x @ (means * precision.unsqueeze(1)).T
    kernels = -0.5 * (kernels + means.square().sum(1) * precision)
    return kernels - x.shape[1] * (scales.log() + 0.5 * LOG_2_PI)


@dataclass(frozen=True, eq=False)
class RoundMixture:
    r"""A mixture of isotropic Gaussians.

    .. math:: m(x) = \sum_i e^{a_i} N(x; \mu_i, s_i^2 I)

    Attributes
    ----------
    means : Tensor of shape (m, n_features)
    scales : Tensor of shape (m,)
    log_shares : Tensor of shape (m,)
        a; the shares of a part of a larger mixture sum to less than one.

    Examples
    --------
    >>> rows = torch.tensor([[0.0, 0.0], [3.0, 0.0]])
    >>> kernels = RoundMixture.about(rows, 0.1)
    >>> kernels.log_density(rows).exp().round(decimals=2)
    tensor([7.9600, 7.9600])
    """

    means: Tensor
    scales: Tensor
    log_shares: Tensor

    @classmethod
    def about(
        cls, means: Tensor, scale: float | Tensor, weight: Tensor | None = None
    ) -> RoundMixture:
        """Return kernels centred on rows, of equal or given weights."""
        scale = torch.as_tensor(scale, dtype=means.dtype, device=means.device)
        scales = scale.expand(len(means))
        weight = torch.ones_like(scales) if weight is None else weight
        return cls(means, scales, (weight / weight.sum()).log())

    def part(self, share: float) -> RoundMixture:
        """Return the mixture scaled by its share in a larger one."""
        log_shares = self.log_shares + math.log(share)
        return RoundMixture(self.means, self.scales, log_shares)

    @classmethod
    def join(cls, parts: list[RoundMixture]) -> RoundMixture:
        """Return the mixture of all components."""
        return cls(
            torch.cat([part.means for part in parts]),
            torch.cat([part.scales for part in parts]),
            torch.cat([part.log_shares for part in parts]),
        )

    def log_density(self, x: Tensor) -> Tensor:
        """Return log m(x), shape (n,)."""
        kernels, top = self._kernels(x)
        return kernels.sum(1).log() + top

    def pick(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Draw the component of each x from its posterior, shape (n,)."""
        return pick(self._kernels(x)[0], generator)

    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Draw rows, shape (n_samples, n_features)."""
        shares = self.log_shares.exp()
        drawn = torch.multinomial(shares, n_samples, True, generator=generator)
        means = self.means[drawn]
        return means + self.scales[drawn, None] * normal_like(means, generator)

    def _kernels(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return m(x)'s terms over the largest, and the log of the largest."""
        kernels = log_kernels(x, self.means, self.scales) + self.log_shares
        top = kernels.amax(1, keepdim=True)
        return (kernels - top).clamp_(min=LOG_TINY).exp_(), top[:, 0]
