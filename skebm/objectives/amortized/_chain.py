"""Chains whose step size is learnt over the steps of training."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from skebm.samplers import AbstractSampler
from skebm.samplers._base import SamplerState
from skebm.samplers._point import Energy

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


def mean_acceptance(states: list[SamplerState]) -> Tensor:
    """Return the mean acceptance rate of the steps after the start."""
    return torch.stack([state.acceptance for state in states[1:]]).mean()
