"""Markov chains of a training step: the kernel that moves them, its step size."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from sklearn.base import clone
from torch import Tensor, nn

from skebm.networks import EnergyModel
from skebm.networks._capabilities import as_image_network
from skebm.objectives._base import Objective, check_range
from skebm.references._base import keeps_up
from skebm.samplers import SAMPLERS, AbstractSampler, make_sampler
from skebm.samplers._base import SamplerState
from skebm.samplers._point import Energy
from skebm.utils import value_and_gradient

GAIN = 0.1


class AdaptiveStep(nn.Module):
    r"""A step size that is tuned to a target acceptance rate from one run to the next.

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
        """Run chains from x0; return their states at the start and after each step."""
        start = sampler.init(energy, x0)
        states = [replace(start, step_size=self.log_size.exp().to(x0.dtype))]
        for _ in range(n_steps):
            states.append(sampler.step(energy, states[-1], generator))
        target = sampler.target_acceptance
        if target is not None and n_steps:
            self.log_size += GAIN * (mean_acceptance(states) - target)
        return states


def mean_acceptance(states: list[SamplerState]) -> Tensor:
    """Return the mean acceptance rate of the steps, 1 where there are none."""
    return torch.stack([state.acceptance for state in states[1:] or states]).mean()


class ChainKernel(nn.Module):
    r"""Kernel of chains on the model: a jump from the reference, steps of a sampler.

    The jump compares each chain with N draws of the reference and takes one of the
    N + 1,

    .. math:: P(x' = x_j) \propto e^{-E(x_j)}, \qquad x_1, \dots, x_N \sim q_0,

    which leaves :math:`p \propto q_0 e^{-E}` invariant (iterated sampling importance
    resampling). Jumps correct the masses of modes that no local step connects. Where
    the reference is far from the model, in many columns, jumps are rejected and cost a
    little time.

    The step size of a sampler with a ``target_acceptance`` is a buffer and follows the
    acceptance from one training step to the next. Chains are reflected into a bounded
    support of the reference.

    Parameters
    ----------
    sampler : AbstractSampler
        Sampler of the steps; its ``n_adapt`` is ignored.
    n_reference_tries : int
        N; 0 for no jumps.

    References
    ----------
    Andrieu, Lee, Vihola. Uniform ergodicity of the iterated conditional SMC and
    geometric ergodicity of particle Gibbs samplers. Bernoulli, 2018. Samsonov et al.
    Local-global MCMC kernels: the best of both worlds. NeurIPS 2022.
    """

    def __init__(self, sampler: AbstractSampler, n_reference_tries: int) -> None:
        super().__init__()
        self.sampler = clone(sampler)
        names = [name for name in sampler.get_params() if name.endswith("n_adapt")]
        self.sampler.set_params(**dict.fromkeys(names, 0))
        self.n_reference_tries = n_reference_tries
        self.adaptive_step = AdaptiveStep(sampler.step_size)

    def move(
        self, model: EnergyModel, x: Tensor, n_steps: int, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Move chains by a jump and n steps; return their positions and metrics.

        Raises
        ------
        skebm.exceptions.NonFiniteChainError
            Where a chain reaches a point at which the energy is not finite.
        """
        metrics = {}
        x = x.detach()
        if self.n_reference_tries:
            x, metrics["jumps"] = jump(model, x, self.n_reference_tries, generator)
        if n_steps == 0:
            return x, metrics
        states = self.adaptive_step.run(
            on_pixels(self.sampler, model), Potential(model), x, n_steps, generator
        )
        end = states[-1]
        metrics["acceptance"] = mean_acceptance(states)
        metrics["step_size"] = end.step_size
        self.sampler.check_lost(states[0], end)
        return model.reference.reflect(end.point.x), metrics


def on_pixels(sampler: AbstractSampler, model: EnergyModel) -> AbstractSampler:
    """Return the sampler; where the net sees images, its transitions do so too."""
    images = as_image_network(model.network)
    return (
        sampler if images is None else sampler.in_units(images.location, images.scale)
    )


class Potential:
    r"""The potential of the chains' rows, reflected into the support of q0.

    .. math:: U(x) = E(x) - \log q_0(x)

    Parameters
    ----------
    model : EnergyModel
        E and q0.
    """

    def __init__(self, model: EnergyModel) -> None:
        self.model, self.reference = model, model.reference
        kind = type(self.reference)
        self._knows_gradient = (
            model.knows_gradient
            and keeps_up(kind, "reflected", "reflect")
            and keeps_up(kind, "log_prob_with_gradient", "log_prob")
        )

    def __call__(self, x: Tensor) -> Tensor:
        x = self.reference.reflect(x)
        return self.model.energy(x) - self.reference.log_prob(x)

    @torch.no_grad()
    def with_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return U(x), shape (n,), and its gradients (n, d), without a graph."""
        if not self._knows_gradient:
            return value_and_gradient(self, x)
        rows, turned = self.reference.reflected(x)
        energy, gradient = self.model.energy_with_gradient(rows)
        log_prob, slope = self.reference.log_prob_with_gradient(rows)
        gradient = gradient - slope
        return energy - log_prob, gradient if turned is None else turned * gradient


@torch.no_grad()
def jump(
    model: EnergyModel, x: Tensor, n_tries: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Let each chain jump to a reference draw or stay; return the share that jumped."""
    draws = model.reference.sample(n_tries * len(x), generator)
    rows = torch.cat([x, draws]).unflatten(0, (n_tries + 1, len(x)))
    log_weight = -model.energy(rows.flatten(0, 1)).unflatten(0, rows.shape[:2])
    uniform = torch.rand(
        log_weight.shape, generator=generator, device=x.device, dtype=x.dtype
    )
    # The index of the largest log weight plus Gumbel noise is a draw by the weights.
    chosen = (log_weight - (-uniform.log()).log()).argmax(0)
    return rows[chosen, torch.arange(len(x), device=x.device)], (chosen > 0).to(
        x.dtype
    ).mean()


def check_sampler(objective: Objective, sampler: str | AbstractSampler) -> None:
    """Raise ValueError unless the option is a sampler of rows with sound settings."""
    named = isinstance(sampler, str) and sampler in SAMPLERS
    known = named or isinstance(sampler, AbstractSampler)
    names = f"one of {sorted(SAMPLERS)} or an AbstractSampler"
    check_range(objective, "sampler", known, names)
    sampler = make_sampler(sampler)
    sampler.check_settings()
    if not sampler.explores_rows:
        raise ValueError(
            f"objective {type(objective).__name__} and sampler "
            f"{type(sampler).__name__} don't go together: it moves latents, and the "
            'chains of training are rows. Take "mala", "hmc" or "langevin".'
        )


def check_explores(
    objective: Objective, sampler: str | AbstractSampler, model: EnergyModel
) -> None:
    """Raise ValueError naming both where the sampler can't explore the model."""
    sampler = make_sampler(sampler)
    sampler.check_energy(model.energy)
    scale = model.reference.narrowest_scale
    largest = sampler.largest_stable_step(scale)
    if sampler.step_size >= largest:
        raise ValueError(
            f"{sampler!r}, the sampler of {type(objective).__name__}, and reference "
            f"{type(model.reference).__name__} don't go together: steps of "
            f"step_size={sampler.step_size:.3g} diverge where the reference has a "
            f"standard deviation of {scale:.2g}. Take reference=None, a step_size "
            f"below {largest:.2g}, or sampler='mala'."
        )
