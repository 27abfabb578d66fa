"""Langevin dynamics without a Metropolis test."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from skebm.samplers._base import AbstractSampler, SamplerState
from skebm.samplers._point import Energy, evaluate
from skebm.utils import check_range, is_number, is_positive, normal_like


class Langevin(AbstractSampler):
    r"""Unadjusted Langevin algorithm.

    .. math:: x' = x - \tfrac{s^2}{2} \nabla E(x) + \sigma\,\xi, \qquad \xi \sim N(0, I)

    With :math:`\sigma = s` the chain's density tends to p(x) proportional to exp(-E(x))
    as s tends to 0; at a finite s it is biased (by O(s^2); use `MALA` where that
    matters). A smaller :math:`\sigma` gives the chains of stochastic gradient Langevin
    dynamics (SGLD) as energy-based models are commonly trained: those of the density at
    temperature :math:`\sigma^2 / s^2`.

    Parameters
    ----------
    step_size : float, default=0.1
        s, in the units of x.
    noise_scale : float or None, default=None
        :math:`\sigma`; None takes s.
    gradient_clip : float or None, default=None
        Largest norm of a chain's gradient.

    Raises
    ------
    skebm.exceptions.NonFiniteChainError
        By `run`, where a chain went to where the energy is not finite.

    References
    ----------
    G. O. Roberts and R. L. Tweedie, "Exponential convergence of Langevin distributions
    and their discrete approximations", Bernoulli 2 (1996). W. Grathwohl et al., "Your
    classifier is secretly an energy based model and you should treat it like one", ICLR
    (2020): s^2 = 2 and a noise of 0.01.

    Examples
    --------
    >>> import torch
    >>> from skebm.samplers import Langevin
    >>> generator = torch.Generator().manual_seed(0)
    >>> x, diagnostics = Langevin(step_size=0.3).run(
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
        noise_scale: float | None = None,
        gradient_clip: float | None = None,
    ) -> None:
        self.step_size = step_size
        self.noise_scale = noise_scale
        self.gradient_clip = gradient_clip

    @property
    def temperature(self) -> float:
        """T of the density proportional to exp(-E / T) that the chains explore."""
        if self.noise_scale is None:
            return 1.0
        return (self.noise_scale / self.step_size) ** 2

    def check_settings(self) -> None:
        """Raise ValueError naming a setting that is out of its range."""
        check_range(self, "step_size", is_positive(self.step_size), "positive")
        noise, clip = self.noise_scale, self.gradient_clip
        known = noise is None or is_number(noise, 0)
        check_range(self, "noise_scale", known, "None or at least 0")
        known = clip is None or is_positive(clip)
        check_range(self, "gradient_clip", known, "None or positive")

    def init(self, energy: Energy, x0: Tensor) -> SamplerState:
        """Return the state of chains that start at `x0`, shape (n, d)."""
        return SamplerState(
            evaluate(energy, x0.detach()),
            x0.new_tensor(self.step_size),
            x0.new_ones(()),
        )

    def step(
        self, energy: Energy, state: SamplerState, generator: torch.Generator
    ) -> SamplerState:
        """Move every chain."""
        point = state.point
        x = self.move(point.x, point.gradient, state.step_size, generator)
        return replace(state, point=evaluate(energy, x))

    def largest_stable_step(self, scale: float) -> float:
        """Return twice the scale: a step multiplies by 1 - s^2 / (2 scale^2)."""
        return math.inf if self.gradient_clip is not None else 2 * scale

    def move(
        self, x: Tensor, gradient: Tensor, step_size: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Return x', shape (n, d), differentiable in x and the energy's gradient."""
        if self.gradient_clip is not None:
            norm = gradient.norm(dim=1, keepdim=True)
            gradient = gradient * (self.gradient_clip / norm.clamp(self.gradient_clip))
        scale = self.temperature**0.5 * step_size
        moved = torch.addcmul(x, gradient, step_size.square(), value=-0.5)
        return torch.addcmul(moved, normal_like(x, generator), scale)
