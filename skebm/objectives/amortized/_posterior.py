"""Chains on the posterior of a generator's latents."""

from __future__ import annotations

import torch
from torch import Tensor

from skebm.networks import GeneratorMLP
from skebm.objectives._chain import AdaptiveStep, mean_acceptance
from skebm.samplers import AbstractSampler
from skebm.samplers._point import Energy, chunk_rows


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
