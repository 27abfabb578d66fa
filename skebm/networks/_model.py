"""The model: a net that tilts a reference density."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn


class ReferenceDensity(Protocol):
    """What the model asks of its reference density q0."""

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log q0(x), shape (n,)."""
        ...

    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Return draws of shape (n_samples, n_features)."""
        ...


class EnergyModel(nn.Module):
    r"""A net whose output tilts a reference density.

    .. math:: c(x) = \log \sum_y e^{g_y(x)}, \qquad E(x) = -c(x) / \lambda, \qquad
              \log p(x) = \log q_0(x) - E(x) - \log Z

    With one output, c is that output.

    Parameters
    ----------
    network : nn.Module
        Maps (n, n_features) to (n, n_outputs), the logits g.
    reference : ReferenceDensity
        q0; no part of what is trained.
    entropy_weight : float, default=1.0
        :math:`\lambda`, by which the critic c is divided (see `VERA`).

    Examples
    --------
    >>> import torch
    >>> from skebm.networks import MLP
    >>> from skebm.references import UniformBox
    >>> box = UniformBox(torch.zeros(2), torch.ones(2))
    >>> EnergyModel(MLP(2, 1), box).energy(torch.zeros(3, 2)).shape
    torch.Size([3])
    """

    def __init__(
        self,
        network: nn.Module,
        reference: ReferenceDensity,
        entropy_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.network = network
        self.reference = reference
        self.entropy_weight = entropy_weight

    def logits(self, x: Tensor) -> Tensor:
        """Return g(x), shape (n, n_outputs)."""
        return self.network(x)

    def critic(self, x: Tensor) -> Tensor:
        """Return c(x), shape (n,)."""
        return self.critic_of(self.network(x))

    @staticmethod
    def critic_of(logits: Tensor) -> Tensor:
        """Return c from logits already at hand, shape (n,)."""
        if logits.shape[1] == 1:
            return logits[:, 0]
        return torch.logsumexp(logits, dim=1)

    def energy(self, x: Tensor) -> Tensor:
        """Return E(x) in nats, shape (n,)."""
        return -self.critic(x) / self.entropy_weight

    def log_prob_unnormalized(self, x: Tensor) -> Tensor:
        """Return log q0(x) - E(x), shape (n,)."""
        return self.reference.log_prob(x) - self.energy(x)
