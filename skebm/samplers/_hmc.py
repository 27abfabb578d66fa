"""Hamiltonian Monte Carlo."""

from __future__ import annotations

import torch
from torch import Tensor

from skebm.samplers._base import AbstractMetropolisSampler
from skebm.samplers._point import Energy, Point, evaluate
from skebm.utils import (
    check_range,
    is_count,
    is_number,
    normal_like,
    uniform_like,
)


class HMC(AbstractMetropolisSampler):
    r"""Hamiltonian Monte Carlo with the leapfrog integrator.

    .. math::
        H(x, m) = E(x) + \tfrac12 |m|^2, \qquad m \sim N(0, I), \qquad
        r = H(x, m) - H(x', m')

    where (x', m') follows n leapfrog steps: m -= (s/2) grad E(x); x += s m; m -= (s/2)
    grad E(x). x' is accepted with probability min(1, exp(r)). One energy-and-gradient
    evaluation a leapfrog step; the chain leaves p(x) proportional to exp(-E(x))
    invariant.

    Parameters
    ----------
    step_size : float, default=0.1
        First s, the time of a leapfrog step, in the units of x.
    n_leapfrog_steps : int, default=5
        Leapfrog steps before each Metropolis test.
    jitter : float, default=0.2
        Each chain and step draws its own s, uniform within this fraction of
        `step_size`, so that no trajectory length is a period of the motion. 0 for none.
    n_adapt : int or "auto", default="auto"
        Steps at the beginning of a run during which dual averaging tunes the step size;
        "auto" takes half of them. 0 keeps `step_size`, as training does.
    target_acceptance : float, default=0.8
        The rate that adaptation aims at.

    References
    ----------
    S. Duane, A. D. Kennedy, B. J. Pendleton and D. Roweth, "Hybrid Monte Carlo",
    Physics Letters B 195 (1987). R. M. Neal, "MCMC using Hamiltonian dynamics",
    Handbook of MCMC (2011).

    Examples
    --------
    >>> import torch
    >>> from skebm.samplers import HMC
    >>> generator = torch.Generator().manual_seed(0)
    >>> x, diagnostics = HMC(step_size=0.3).run(
    ...     lambda x: x.square().sum(1) / 2,
    ...     torch.zeros(1000, 2),
    ...     n_steps=10,
    ...     generator=generator,
    ... )
    >>> bool(0.9 < x.std() < 1.1), sorted(diagnostics)
    (True, ['acceptance', 'effective_sample_size', 'r_hat', 'step_size'])
    """

    def __init__(
        self,
        step_size: float = 0.1,
        n_leapfrog_steps: int = 5,
        *,
        jitter: float = 0.2,
        n_adapt: int | str = "auto",
        target_acceptance: float = 0.8,
    ) -> None:
        self.step_size = step_size
        self.n_leapfrog_steps = n_leapfrog_steps
        self.jitter = jitter
        self.n_adapt = n_adapt
        self.target_acceptance = target_acceptance

    def check_settings(self) -> None:
        """Raise ValueError naming a setting that is out of its range."""
        super().check_settings()
        known = is_count(self.n_leapfrog_steps, 1)
        check_range(self, "n_leapfrog_steps", known, "an integer above 0")
        check_range(self, "jitter", is_number(self.jitter, 0, 1), "in [0, 1]")

    def propose(
        self,
        energy: Energy,
        point: Point,
        step_size: Tensor,
        generator: torch.Generator,
    ) -> tuple[Point, Tensor]:
        """Follow the Hamiltonian motion for `n_leapfrog_steps` leapfrog steps."""
        momentum = normal_like(point.x, generator)
        start = point.energy + momentum.square().sum(1) / 2
        spread = 2.0 * uniform_like(point.energy, generator) - 1.0
        step = step_size * (1.0 + self.jitter * spread[:, None])
        end = point
        momentum = momentum - step / 2 * end.gradient
        for _ in range(self.n_leapfrog_steps):
            end = evaluate(energy, end.x + step * momentum)
            momentum = momentum - step * end.gradient
        momentum = momentum + step / 2 * end.gradient  # half a step in the last update
        return end, start - end.energy - momentum.square().sum(1) / 2
