"""Parallel tempering."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Self

import torch
from sklearn.base import clone
from torch import Tensor

from skebm.samplers._base import AbstractSampler, SamplerState, make_sampler
from skebm.samplers._point import Energy, Point
from skebm.utils import check_range, is_positive, uniform_like


@dataclass(frozen=True)
class TemperingState(SamplerState):
    """State of chains at every temperature; `point` is of those at temperature 1.

    Attributes
    ----------
    replicas : tuple of SamplerState
        One a temperature, from cold to hot, with tempered energies and gradients.
    swap_acceptance : Tensor of shape ()
        Mean acceptance rate of the last step's swaps; 1 before the first.
    """

    replicas: tuple[SamplerState, ...]
    swap_acceptance: Tensor


class ParallelTempering(AbstractSampler):
    r"""Parallel tempering: chains at several temperatures, with swaps between them.

    .. math::
        p_k(x) \propto \exp(-E(x) / T_k), \qquad 1 = T_1 < \dots < T_K, \qquad
        r = (1/T_k - 1/T_{k+1}) \, (E(x_k) - E(x_{k+1}))

    Each chain has K replicas. A step moves every replica by `sampler`, then lets
    neighbours, from the hottest pair to the coldest, swap with probability min(1,
    exp(r)). Hot replicas cross the gaps between modes that cold ones can't; the product
    of all p_k is left invariant wherever `sampler` leaves each p_k so. A step costs K
    of `sampler`'s.

    Parameters
    ----------
    sampler : {"hmc", "mala", "langevin"} or AbstractSampler, default="hmc"
        What moves the replicas; its step size, and with it its noise, is multiplied by
        the square root of the temperature, then adapted at each temperature alone where
        `sampler` adapts.
    temperatures : sequence of float, default=(1, 2, 4, 8, 16)
        From 1 upwards. The hottest should make the barriers, in nats, a few times its
        own size at most; neighbours should swap in at least a fifth of the steps, so
        that more columns ask for smaller ratios, 1 + (2 / d)^(1/2).

    Notes
    -----
    The diagnostics hold "swap_acceptance" besides those of every sampler.

    References
    ----------
    C. J. Geyer, "Markov chain Monte Carlo maximum likelihood", Computing Science and
    Statistics 23 (1991). D. J. Earl and M. W. Deem, "Parallel tempering: theory,
    applications, and new perspectives", PCCP 7 (2005).

    Examples
    --------
    >>> import torch
    >>> from skebm.samplers import HMC, ParallelTempering
    >>> x, _ = ParallelTempering(HMC(step_size=0.3)).run(
    ...     lambda x: 6 * (x.square().sum(1) - 1).square(),  # two wells, 6 nats deep
    ...     torch.ones(200, 1),
    ...     n_steps=100,
    ...     generator=torch.Generator().manual_seed(0),
    ... )
    >>> bool(0.4 < (x > 0).float().mean() < 0.6)
    True
    """

    def __init__(
        self,
        sampler: str | AbstractSampler = "hmc",
        temperatures: Sequence[float] = (1.0, 2.0, 4.0, 8.0, 16.0),
    ) -> None:
        self.sampler = sampler
        self.temperatures = temperatures

    @property
    def temperature(self) -> float:
        """T of the density proportional to exp(-E / T) that the chains explore."""
        return make_sampler(self.sampler).temperature

    @property
    def step_size(self) -> float:  # type: ignore[override]
        """Step size of the coldest replicas, before any adaptation."""
        return float(make_sampler(self.sampler).get_params()["step_size"])

    @property
    def target_acceptance(self) -> float | None:  # type: ignore[override]
        """Acceptance rate that `sampler` aims at, or None."""
        return make_sampler(self.sampler).target_acceptance

    def check_settings(self) -> None:
        """Raise ValueError naming a setting that is out of its range."""
        ladder = self.temperatures if isinstance(self.temperatures, Sequence) else ()
        known = len(ladder) >= 2 and all(map(is_positive, ladder)) and ladder[0] == 1
        known = known and all(a < b for a, b in pairwise(ladder))
        check_range(self, "temperatures", known, "at least two that grow from 1")
        inner = make_sampler(self.sampler)
        inner.check_settings()
        if "step_size" not in inner.get_params(deep=False):
            raise ValueError(
                f"ParallelTempering and sampler {type(inner).__name__} don't go "
                "together: it needs one with a step_size, hmc, mala or langevin."
            )

    def check_energy(self, energy: Energy) -> None:
        """Raise ValueError naming both where `sampler` can't explore this energy."""
        make_sampler(self.sampler).check_energy(energy)

    def for_run(self, n_steps: int) -> Self:
        """Return the sampler with the settings of a `run` of so many steps."""
        sampler = copy.copy(self)
        sampler.sampler = make_sampler(self.sampler).for_run(n_steps)
        return sampler

    def n_warm_up(self) -> int:
        """Return the steps at the beginning of a run that adapt."""
        return make_sampler(self.sampler).n_warm_up()

    def init(self, energy: Energy, x0: Tensor) -> TemperingState:
        """Return the state of chains that start at `x0`, shape (n, d)."""
        inner = make_sampler(self.sampler)
        replicas = [
            clone(inner)
            .set_params(step_size=inner.step_size * temperature**0.5)
            .init(_tempered(energy, temperature), x0)
            for temperature in self.temperatures
        ]
        return _gathered(replicas, x0.new_ones(()))

    def step(
        self, energy: Energy, state: SamplerState, generator: torch.Generator
    ) -> TemperingState:
        """Move every replica, then swap neighbours at random.

        Where the state's own step size was changed, all others change in proportion.
        """
        assert isinstance(state, TemperingState)
        inner = make_sampler(self.sampler)
        factor = state.step_size / state.replicas[0].step_size
        replicas = [
            inner.step(
                _tempered(energy, temperature),
                replace(replica, step_size=factor * replica.step_size),
                generator,
            )
            for temperature, replica in zip(
                self.temperatures, state.replicas, strict=True
            )
        ]
        pairs = reversed(range(len(replicas) - 1))
        rates = [self._swap(replicas, k, generator) for k in pairs]
        return _gathered(replicas, torch.stack(rates).mean())

    def figures(self, state: SamplerState) -> dict[str, Tensor]:
        """Return metrics of the last step, shape (); their means are diagnostics."""
        assert isinstance(state, TemperingState)
        return super().figures(state) | {"swap_acceptance": state.swap_acceptance}

    def _swap(
        self, replicas: list[SamplerState], k: int, generator: torch.Generator
    ) -> Tensor:
        """Swap the replicas k and k + 1 of chains; return the mean acceptance rate."""
        cold, hot = replicas[k].point, replicas[k + 1].point
        ratio = self.temperatures[k + 1] / self.temperatures[k]
        log_ratio = self._log_ratio(cold, hot, ratio) / self.temperature
        probability = log_ratio.clamp(max=0.0).exp()
        probability = probability.nan_to_num(0.0)  # two impossible points stay
        swapped = uniform_like(probability, generator) < probability
        to_cold = hot.scaled(ratio).where(swapped, cold)
        to_hot = cold.scaled(1 / ratio).where(swapped, hot)
        replicas[k] = replace(replicas[k], point=to_cold)
        replicas[k + 1] = replace(replicas[k + 1], point=to_hot)
        return probability.mean()

    @staticmethod
    def _log_ratio(cold: Point, hot: Point, ratio: float) -> Tensor:
        """Return r, shape (n,), given points with E / T; `ratio` is hot T by cold T."""
        return (1 - 1 / ratio) * (cold.energy - ratio * hot.energy)


def _tempered(energy: Energy, temperature: float) -> Energy:
    return lambda x: energy(x) / temperature


def _gathered(replicas: list[SamplerState], swap_acceptance: Tensor) -> TemperingState:
    cold = replicas[0]
    return TemperingState(
        cold.point, cold.step_size, cold.acceptance, tuple(replicas), swap_acceptance
    )
