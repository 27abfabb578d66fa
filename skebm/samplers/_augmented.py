"""Langevin dynamics with random transitions between the steps."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from skebm.samplers._base import SamplerState
from skebm.samplers._langevin import Langevin
from skebm.samplers._point import Energy, evaluate
from skebm.samplers._transitions import (
    InUnits,
    Jitter,
    SwapCoordinates,
    Transition,
)
from skebm.utils import check_range, is_count
from skebm.utils._documented import documented_like


@dataclass(frozen=True)
class AugmentedState(SamplerState):
    """State of chains that count their steps.

    Attributes
    ----------
    count : int
        Steps made.
    """

    count: int = 0


@documented_like(Langevin)
class AugmentedLangevin(Langevin):
    r"""Langevin dynamics with a random transition before each n-th step.

    .. math:: x \leftarrow T_i(x), \quad i \text{ random}, \qquad
              x' = x - \tfrac{s^2}{2} \nabla E(x) + \sigma\,\xi

    The transitions are augmentations that the data are assumed to be invariant to. They
    move chains to places that Langevin steps do not reach. They leave no density
    invariant; the Langevin steps after them must correct for that.

    Parameters
    ----------
    step_size : float, default=0.1
        s, in the units of x.
    transitions : sequence of callables or None, default=None
        Each maps rows (n, d) and a `torch.Generator` to rows (n, d); None takes those
        for tables: `Jitter` and `SwapCoordinates`. For images see `RandomFlip`,
        `RandomCrop`, `RandomShift`, `RandomRescale`, `ColorJitter` and `GaussianBlur`;
        with a network for images these are applied to its pixels, of mean 0 and
        deviation 1.
    interval : int, default=10
        n, the steps from one transition to the next; the first step has one.

    References
    ----------
    Y. Du, S. Li, J. Tenenbaum and I. Mordatch, "Improved contrastive divergence
    training of energy-based models", ICML (2021), section 3.3.

    Examples
    --------
    >>> import torch
    >>> from skebm.samplers import AugmentedLangevin
    >>> generator = torch.Generator().manual_seed(0)
    >>> x, _ = AugmentedLangevin(step_size=0.3).run(
    ...     lambda x: x.square().sum(1) / 2,
    ...     torch.zeros(1000, 2),
    ...     n_steps=50,
    ...     generator=generator,
    ... )
    >>> bool(0.9 < x.std() < 1.1)
    True
    """

    def __init__(
        self,
        step_size: float = 0.1,
        *,
        transitions: Sequence[Transition] | None = None,
        interval: int = 10,
        noise_scale: float | None = None,
        gradient_clip: float | None = None,
    ) -> None:
        super().__init__(
            step_size, noise_scale=noise_scale, gradient_clip=gradient_clip
        )
        self.transitions = transitions
        self.interval = interval

    def check_settings(self) -> None:
        """Raise ValueError naming a setting that is out of its range."""
        super().check_settings()
        check_range(self, "interval", is_count(self.interval, 1), "an integer above 0")
        given = self.transitions
        known = isinstance(given, Sequence) and given and all(map(callable, given))
        expected = "None or a sequence of callables, at least one"
        check_range(self, "transitions", given is None or bool(known), expected)

    def in_units(self, location: Tensor, scale: Tensor) -> Self:
        """Return the sampler whose transitions are of location + scale * x."""
        sampler = copy.copy(self)
        sampler.transitions = in_units(self._transitions(), location, scale)
        return sampler

    def init(self, energy: Energy, x0: Tensor) -> AugmentedState:
        """Return the state of chains that start at `x0`, shape (n, d)."""
        state = super().init(energy, x0)
        return AugmentedState(state.point, state.step_size, state.acceptance)

    def step(
        self, energy: Energy, state: SamplerState, generator: torch.Generator
    ) -> SamplerState:
        """Make a Langevin step, after a transition where one is due."""
        assert isinstance(state, AugmentedState)
        point = state.point
        if state.count % self.interval == 0:
            x = transform(point.x, self._transitions(), generator)
            point = evaluate(energy, x)
        counted = replace(state, point=point, count=state.count + 1)
        return super().step(energy, counted, generator)

    def _transitions(self) -> Sequence[Transition]:
        if self.transitions is None:
            return (Jitter(), SwapCoordinates())
        return self.transitions


def in_units(
    transitions: Sequence[Transition], location: Tensor, scale: Tensor
) -> list[Transition]:
    """Return transitions of rows location + scale * x as such of rows x."""
    return [InUnits(each, location, scale) for each in transitions]


def transform(
    x: Tensor, transitions: Sequence[Transition], generator: torch.Generator
) -> Tensor:
    """Return rows x after one transition, chosen at random for all rows together."""
    choice = torch.randint(
        len(transitions), (), generator=generator, device=generator.device
    )
    return transitions[int(choice)](x, generator)
