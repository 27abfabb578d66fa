"""The up-down algorithm: contrastive wake-sleep of a deep belief net."""

from __future__ import annotations

import torch
from torch import Tensor

from skebm.networks import DeepBeliefNet


class UpDown:
    r"""Contrastive wake-sleep.

    .. math:: J = \left\langle \log p(v, h_1, \dots \mid h_k) - F(h_k)
        \right\rangle_{h \sim q(h \mid v)} + \left\langle F(h'_k)
        + \log q(h'_1, \dots, h'_k \mid v') \right\rangle_{(v', h') \sim \mathrm{down}}

    Wake phase: states drawn upwards by q from data train the layers of p. Contrastive
    divergence: Gibbs steps of the top RBM lead from h_k to h'_k. Sleep phase: states
    drawn downwards by p from h'_k train q. The gradient is that of J on fixed draws.

    Parameters
    ----------
    n_gibbs_steps : int
        Steps of the top RBM between the wake phase and the sleep phase.

    References
    ----------
    G. E. Hinton, S. Osindero and Y.-W. Teh, "A fast learning algorithm for deep belief
    nets", Neural Computation 18 (2006), appendix B.
    """

    def __init__(self, n_gibbs_steps: int = 3) -> None:
        self.n_gibbs_steps = n_gibbs_steps

    @torch.no_grad()
    def draw(
        self, net: DeepBeliefNet, v: Tensor, generator: torch.Generator
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return the states of the wake and the sleep phase, each with v first."""
        awake = net.sample_up(v, net.noise(len(v), generator))
        h = awake[-1]
        for _ in range(self.n_gibbs_steps):
            h = net.top.sample_blocks(h, generator)
        return awake, net.sample_down(h, generator)

    def loss(
        self, net: DeepBeliefNet, awake: list[Tensor], asleep: list[Tensor]
    ) -> Tensor:
        """Return -J of these draws."""
        learnt = net.log_prob_unnormalized(awake).mean() + net.top(asleep[-1]).mean()
        return -learnt - net.recognition_log_prob(asleep).mean()
