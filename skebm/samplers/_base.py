"""Bases of the samplers: chains as states and steps, with or without rejection."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from skebm.exceptions import NonFiniteChainError
from skebm.samplers._adaptation import DualAveraging
from skebm.samplers._diagnostics import ChainMoments
from skebm.samplers._point import Energy, Point, evaluate
from skebm.utils import check_range, is_count, is_positive, normal_like, uniform_like

Diagnostics = dict[str, float]

#: A name for each sampler that needs no argument; filled by the package.
SAMPLERS: dict[str, type[AbstractSampler]] = {}


@dataclass(frozen=True)
class SamplerState:
    """State of n chains: all that the next step depends on.

    Attributes
    ----------
    point : Point
        Positions, energies, gradients of the n chains.
    step_size : Tensor of shape ()
        Step size of the next step.
    acceptance : Tensor of shape ()
        Mean acceptance rate of the last step; 1 before the first, and always where
        nothing is rejected.
    """

    point: Point
    step_size: Tensor
    acceptance: Tensor


@dataclass(frozen=True)
class AdaptiveState(SamplerState):
    """State of chains whose step size is being adapted."""

    adaptation: DualAveraging


class AbstractSampler(BaseEstimator, ABC):
    """Base of samplers: Markov chains for p(x) proportional to exp(-energy(x)).

    A sampler stores its settings only; all that changes is in a `SamplerState`. To
    add one, implement `init` and `step`, or, where a Metropolis test decides, inherit
    `AbstractMetropolisSampler` and implement `propose`.
    """

    #: Whether the states of chains are rows of the energy, not latents of such rows.
    explores_rows: ClassVar[bool] = True
    #: Step size of the first step; unused by samplers without steps of a size.
    step_size: float = 1.0
    #: Acceptance rate that an adapted step size aims at; None for none.
    target_acceptance: float | None = None

    @property
    def temperature(self) -> float:
        """T of the density proportional to exp(-E / T) that the chains explore."""
        return 1.0

    def check_settings(self) -> None:
        """Raise ValueError naming a setting that is out of its range."""

    def check_energy(self, energy: Energy) -> None:
        """Raise ValueError naming both where the sampler can't explore this energy."""

    @abstractmethod
    def init(self, energy: Energy, x0: Tensor) -> SamplerState:
        """Return the state of chains that start at `x0`, shape (n, d)."""

    @abstractmethod
    def step(
        self, energy: Energy, state: SamplerState, generator: torch.Generator
    ) -> SamplerState:
        """Make one step with every chain."""

    def for_run(self, n_steps: int) -> Self:
        """Return the sampler with the settings of a `run` of so many steps."""
        del n_steps
        return self

    def in_units(self, location: Tensor, scale: Tensor) -> Self:
        """Return the sampler, its transitions being of rows location + scale * x."""
        del location, scale
        return self

    def n_warm_up(self) -> int:
        """Return the steps at the beginning of a run that adapt."""
        return 0

    def largest_stable_step(self, scale: float) -> float:
        """Return the step size from which on chains diverge; inf where none do.

        Parameters
        ----------
        scale : float
            Standard deviation of the Gaussian that the chains explore.
        """
        del scale
        return math.inf

    def move(
        self, x: Tensor, gradient: Tensor, step_size: Tensor, generator: torch.Generator
    ) -> Tensor:
        r"""Return the Langevin step that training differentiates for this sampler.

        .. math:: x' = x - \tfrac{s^2}{2} \nabla E(x) + s\,\xi, \qquad \xi \sim N(0, I)

        No Metropolis test follows it. Shape (n, d), differentiable in x and the
        gradient.
        """
        noise = step_size * normal_like(x, generator)
        return x - step_size.square() / 2 * gradient + noise

    def figures(self, state: SamplerState) -> dict[str, Tensor]:
        """Return metrics of the last step, shape (); their means are diagnostics."""
        return {"acceptance": state.acceptance, "step_size": state.step_size}

    def run(
        self, energy: Energy, x0: Tensor, *, n_steps: int, generator: torch.Generator
    ) -> tuple[Tensor, Diagnostics]:
        """Run all chains for `n_steps` steps.

        Parameters
        ----------
        energy : callable, (n, d) -> (n,)
            In nats, low is likely, differentiable; +inf where x is impossible.
        x0 : Tensor of shape (n, d)
            Where the n chains start, of a floating dtype; left unchanged.
        n_steps : int
            Steps of each chain.
        generator : torch.Generator
            The only source of randomness.

        Returns
        -------
        x : Tensor of shape (n, d)
            Where the chains end, without graph.
        diagnostics : dict
            Over the steps after adaptation (of the last step when there are none):
            "acceptance", the mean acceptance rate; "step_size"; "r_hat", the worst
            split R-hat over the columns of x, the distance from the centre and the
            energy, 1 for converged chains; "effective_sample_size", the smallest of
            the same, of all chains together. The last two are NaN for less than four
            steps.

        Raises
        ------
        ValueError
            Where an argument is not as described, the energy has not shape (n,), a
            setting of the sampler is out of range or the sampler can't explore this
            energy.
        NonFiniteChainError
            Where the energy of a chain is NaN or -inf at the end, or where it is +inf,
            the energy of what is impossible, but was finite at the start.
        """
        _check_arguments(x0, n_steps, generator)
        self.check_settings()
        self.check_energy(energy)
        return self.for_run(n_steps)._run(energy, x0, n_steps, generator)

    def _run(
        self, energy: Energy, x0: Tensor, n_steps: int, generator: torch.Generator
    ) -> tuple[Tensor, Diagnostics]:
        """Run chains with the settings of a run."""
        n_warm_up = self.n_warm_up()
        start = state = self.init(energy, x0)
        moments = ChainMoments(n_steps - n_warm_up)
        metrics = [self.figures(state)]
        for i in range(n_steps):
            state = self.step(energy, state, generator)
            metrics.append(self.figures(state))
            if i >= n_warm_up:
                moments.add(state.point)
        settled = metrics[min(n_warm_up + 1, n_steps) :]
        self.check_lost(start, state)
        means = {k: torch.stack([f[k] for f in settled]).mean() for k in settled[0]}
        means |= moments.metrics()
        # One transfer from the device for all of them.
        values = torch.stack([v.to(x0.device).double() for v in means.values()])
        return state.point.x, dict(zip(means, values.tolist(), strict=True))

    def check_lost(self, start: SamplerState, end: SamplerState) -> None:
        """Raise NonFiniteChainError where chains ended at an energy that is not finite.

        One of +inf is allowed to those that started there: they wait for a way in.
        """
        was_finite, energy = start.point.energy.isfinite(), end.point.energy
        lost = torch.where(was_finite, ~energy.isfinite(), energy.isnan())
        n_lost, n_before = torch.stack([lost, lost & ~was_finite]).sum(1).tolist()
        if n_lost:
            raise NonFiniteChainError(
                f"{type(self).__name__}: {n_lost} of {len(lost)} chains are where the "
                f"energy is not finite, {n_before} of them from the start, with "
                f"step_size={float(end.step_size):.3g}",
                "Check energy and start of those; for others take a smaller step_size "
                "or a sampler that rejects such steps: MALA or HMC.",
            )


def make_sampler(sampler: str | AbstractSampler) -> AbstractSampler:
    """Return the sampler of that name; return an instance unchanged.

    Raises
    ------
    ValueError
        Where the name is unknown, or it is neither.
    """
    if isinstance(sampler, AbstractSampler):
        return sampler
    if isinstance(sampler, str) and sampler in SAMPLERS:
        return SAMPLERS[sampler]()
    raise ValueError(
        f"sampler must be one of {sorted(SAMPLERS)} or an instance of AbstractSampler, "
        f"got {sampler!r}."
    )


def _check_arguments(x0: Tensor, n_steps: int, generator: torch.Generator) -> None:
    """Raise ValueError naming an argument of `run` that is not as described."""
    if x0.ndim != 2 or 0 in x0.shape or not x0.is_floating_point():
        raise ValueError(
            "x0 must have shape (n, d), neither of them 0, and a floating dtype, got "
            f"shape {tuple(x0.shape)} and {x0.dtype}."
        )
    if not is_count(n_steps):
        raise ValueError(f"n_steps must be an integer of at least 0, got {n_steps!r}.")
    if not isinstance(generator, torch.Generator):
        raise ValueError(f"generator must be a torch.Generator, got {generator!r}.")


class AbstractMetropolisSampler(AbstractSampler):
    r"""Base of Metropolis samplers: a proposal is accepted by min(1, exp(r)).

    r = energy(x) - energy(x') + log q(x | x') - log q(x' | x) for each chain; a
    proposal of non-finite energy or r is rejected. During the first `n_adapt` steps the
    step size follows dual averaging towards `target_acceptance`; only later steps leave
    the density invariant. "auto" adapts in the first half of a `run`, and not at all
    where steps are taken one by one, as in training.
    """

    step_size: float
    n_adapt: int | str
    target_acceptance: float

    @abstractmethod
    def propose(
        self,
        energy: Energy,
        point: Point,
        step_size: Tensor,
        generator: torch.Generator,
    ) -> tuple[Point, Tensor]:
        """Return the proposal and r, shape (n,)."""

    def check_settings(self) -> None:
        """Raise ValueError naming a setting that is out of its range."""
        check_range(self, "step_size", is_positive(self.step_size), "positive")
        known = self._is_auto() or is_count(self.n_adapt)
        check_range(self, "n_adapt", known, "'auto' or an integer, at least 0")
        between = is_positive(self.target_acceptance) and self.target_acceptance < 1
        check_range(self, "target_acceptance", between, "between 0 and 1")

    def _is_auto(self) -> bool:
        return isinstance(self.n_adapt, str) and self.n_adapt == "auto"

    def for_run(self, n_steps: int) -> Self:
        """Return the sampler with the number of steps that adapt."""
        if not self._is_auto():
            return self
        sampler = copy.copy(self)
        sampler.n_adapt = n_steps // 2
        return sampler

    def n_warm_up(self) -> int:
        """Return the steps at the beginning of a run that adapt."""
        return 0 if self._is_auto() else int(self.n_adapt)

    def init(self, energy: Energy, x0: Tensor) -> AdaptiveState:
        """Return the state of chains that start at `x0`, shape (n, d)."""
        step_size = x0.new_tensor(self.step_size)
        return AdaptiveState(
            evaluate(energy, x0.detach()),
            step_size,
            x0.new_ones(()),
            DualAveraging.start(step_size, self.target_acceptance),
        )

    def step(
        self, energy: Energy, state: SamplerState, generator: torch.Generator
    ) -> AdaptiveState:
        """Propose, accept or reject chain by chain, adapt the step size."""
        assert isinstance(state, AdaptiveState)
        proposal, log_ratio = self.propose(
            energy, state.point, state.step_size, generator
        )
        possible = proposal.energy.isfinite() & ~log_ratio.isnan()
        probability = torch.where(possible, log_ratio.clamp(max=0.0).exp(), 0.0)
        accepted = uniform_like(probability, generator) < probability
        acceptance = probability.mean()
        adaptation, step_size = state.adaptation, state.step_size
        n_adapt = self.n_warm_up()
        if adaptation.count < n_adapt:
            adaptation = adaptation.update(acceptance)
            done = adaptation.count == n_adapt
            step_size = (adaptation.log_average if done else adaptation.log_step).exp()
        return AdaptiveState(
            proposal.where(accepted, state.point), step_size, acceptance, adaptation
        )
