"""Chains whose step size is learnt over the steps of training."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from skebm.networks import GeneratorMLP
from skebm.samplers import AbstractSampler
from skebm.samplers._base import SamplerState
from skebm.samplers._point import Energy, chunk_rows

GAIN = 0.1


class AdaptiveStep(nn.Module):
    r"""A step size that follows a wanted acceptance rate from one run to the next.

    .. math:: \log h \leftarrow \log h + 0.1 (a - a^*)

    a is the run's mean acceptance rate. A sampler without a target keeps its step.

    Parameters
    ----------
    step_size : float
        First h.
    """

    def __init__(self, step_size: float) -> None:
        super().__init__()
        self.log_size: Tensor
        self.register_buffer("log_size", torch.tensor(math.log(step_size)))

    @torch.no_grad()
    def run(
        self,
        sampler: AbstractSampler,
        energy: Energy,
        x0: Tensor,
        n_steps: int,
        generator: torch.Generator,
    ) -> list[SamplerState]:
        """Return the states of chains from x0, the start and one a step."""
        start = sampler.init(energy, x0)
        states = [replace(start, step_size=self.log_size.exp().to(x0.dtype))]
        for _ in range(n_steps):
            states.append(sampler.step(energy, states[-1], generator))
        target = getattr(sampler, "target_acceptance", None)
        if target is not None and n_steps:
            self.log_size += GAIN * (mean_acceptance(states) - target)
        return states


def posterior_draws(
    generator_net: GeneratorMLP,
    step: AdaptiveStep,
    x: Tensor,
    z0: Tensor,
    sampler: AbstractSampler,
    n_steps: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    r"""Move latents z0 on q(z|x), each row on its own posterior.

    .. math:: U(z) = \frac{|z|^2}{2} + \frac{|x - g(z)|^2}{2 s^2}

    Returns
    -------
    draws : Tensor of shape (n_steps + 1, n, latent_dim)
        z0 and the latents after every move.
    acceptance : Tensor of shape ()
        Mean acceptance rate.
    """
    size = chunk_rows(z0.shape[1])  # samplers ask for so many energies at once
    draws, rates = [], []
    for rows, latents in zip(x.split(size), z0.split(size), strict=True):
        energy = _posterior_energy(generator_net, rows)
        states = step.run(sampler, energy, latents, n_steps, generator)
        draws.append(torch.stack([state.point.x for state in states]))
        rates.append(mean_acceptance(states))
    return torch.cat(draws, 1), torch.stack(rates).mean()


def _posterior_energy(generator_net: GeneratorMLP, x: Tensor) -> Energy:
    inverse_variance = torch.exp(-2 * generator_net.log_noise_scale.detach())

    def energy(z: Tensor) -> Tensor:
        residual = x - generator_net.mean(z)
        return 0.5 * (z.square().sum(1) + inverse_variance * residual.square().sum(1))

    return energy


def mean_acceptance(states: list[SamplerState]) -> Tensor:
    """Return the mean acceptance rate of the steps, 1 where there are none."""
    return torch.stack([state.acceptance for state in states[1:] or states]).mean()
