"""What every sampler is: a state, a step, a run; and what Metropolis samplers share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from skebm.samplers._adaptation import DualAveraging
from skebm.samplers._point import Energy, Point, evaluate, uniform_like

Diagnostics = dict[str, float]


@dataclass(frozen=True)
class SamplerState:
    """Everything a chain needs to go on.

    Attributes
    ----------
    point : Point
        Positions, energies, gradients of the n chains.
    step_size : Tensor of shape ()
        Step size of the next step.
    acceptance : Tensor of shape ()
        Mean acceptance rate of the last step; 1 before the first.
    adaptation : DualAveraging
        Memory of the step size's adaptation.
    """

    point: Point
    step_size: Tensor
    acceptance: Tensor
    adaptation: DualAveraging


class AbstractSampler(BaseEstimator, ABC):
    """A Markov chain for p(x) proportional to exp(-energy(x)): state in, state out.

    A sampler stores its settings only; all that moves lives in its `SamplerState`. To
    add one, implement `init` and `step`, or, where a Metropolis test decides, inherit
    `AbstractMetropolisSampler` and implement `propose`.
    """

    @abstractmethod
    def init(self, energy: Energy, x0: Tensor) -> SamplerState:
        """Return the state of chains that start at `x0`, shape (n, d)."""

    @abstractmethod
    def step(
        self, energy: Energy, state: SamplerState, generator: torch.Generator
    ) -> SamplerState:
        """Make one step with every chain."""

    def run(
        self, energy: Energy, x0: Tensor, *, n_steps: int, generator: torch.Generator
    ) -> tuple[Tensor, Diagnostics]:
        """Run all chains for `n_steps` steps.

        Parameters
        ----------
        energy : callable, (n, d) -> (n,)
            In nats, low is likely, differentiable; +inf where x is impossible.
        x0 : Tensor of shape (n, d)
            Where the n chains start; left unchanged.
        n_steps : int
            Steps of each chain.
        generator : torch.Generator
            The only source of randomness.

        Returns
        -------
        x : Tensor of shape (n, d)
            Where the chains end, without graph.
        diagnostics : dict
            "acceptance": mean acceptance rate of the steps after adaptation (of the
            last step when there are none); "step_size": the final step size.

        Raises
        ------
        ValueError
            Where x0 is not two-dimensional, the energy has not shape (n,), n_steps is
            negative or a setting of the sampler is out of range.
        """
        if x0.ndim != 2:
            raise ValueError(f"x0 must have shape (n, d), got {tuple(x0.shape)}.")
        if n_steps < 0:
            raise ValueError(f"n_steps must be at least 0, got {n_steps}.")
        state = self.init(energy, x0)
        rates = [state.acceptance]
        for _ in range(n_steps):
            state = self.step(energy, state, generator)
            rates.append(state.acceptance)
        n_adapt = int(getattr(self, "n_adapt", 0))
        settled = torch.stack(rates[min(n_adapt + 1, n_steps) :])
        return state.point.x, {
            "acceptance": float(settled.mean()),
            "step_size": float(state.step_size),
        }


class AbstractMetropolisSampler(AbstractSampler):
    r"""A sampler that proposes x', then accepts it with probability min(1, exp(r)).

    r = energy(x) - energy(x') + log q(x | x') - log q(x' | x) for each chain alone; a
    proposal of non-finite energy or r is rejected. During the first `n_adapt` steps the
    step size follows dual averaging towards `target_acceptance`; only later steps leave
    the density invariant.
    """

    step_size: float
    n_adapt: int
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

    def init(self, energy: Energy, x0: Tensor) -> SamplerState:
        """Return the state of chains that start at `x0`, shape (n, d)."""
        _check_positive("step_size", self.step_size)
        if not 0 < self.target_acceptance < 1:
            raise ValueError(
                "target_acceptance must lie between 0 and 1, "
                f"got {self.target_acceptance}."
            )
        step_size = x0.new_tensor(self.step_size)
        return SamplerState(
            evaluate(energy, x0.detach()),
            step_size,
            x0.new_ones(()),
            DualAveraging.start(step_size, self.target_acceptance),
        )

    def step(
        self, energy: Energy, state: SamplerState, generator: torch.Generator
    ) -> SamplerState:
        """Propose, accept or reject chain by chain, adapt the step size."""
        proposal, log_ratio = self.propose(
            energy, state.point, state.step_size, generator
        )
        possible = proposal.energy.isfinite() & ~log_ratio.isnan()
        probability = torch.where(possible, log_ratio.clamp(max=0.0).exp(), 0.0)
        accepted = uniform_like(probability, generator) < probability
        acceptance = probability.mean()
        adaptation, step_size = state.adaptation, state.step_size
        if adaptation.count < self.n_adapt:
            adaptation = adaptation.update(acceptance)
            done = adaptation.count == self.n_adapt
            step_size = (adaptation.log_average if done else adaptation.log_step).exp()
        return SamplerState(
            proposal.where(accepted, state.point), step_size, acceptance, adaptation
        )


def _check_positive(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name} must be positive, got {value}.")
