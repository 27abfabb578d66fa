"""The Metropolis-adjusted Langevin algorithm."""

from __future__ import annotations

import torch
from torch import Tensor

from skebm.samplers._base import AbstractMetropolisSampler
from skebm.samplers._point import Energy, Point, evaluate
from skebm.utils import normal_like


class MALA(AbstractMetropolisSampler):
    r"""Metropolis-adjusted Langevin algorithm.

    .. math::
        x' &= x - \tfrac{s^2}{2} \nabla E(x) + s\,\xi, \qquad \xi \sim N(0, I) \\
        r &= E(x) - E(x') + \log q(x \mid x') - \log q(x' \mid x), \qquad
        \log q(b \mid a) = -\frac{|b - a + \frac{s^2}{2} \nabla E(a)|^2}{2 s^2}

    and x' is accepted with probability min(1, exp(r)). One energy-and-gradient
    evaluation a step; the chain leaves p(x) proportional to exp(-E(x)) invariant.

    Parameters
    ----------
    step_size : float, default=0.1
        First s, the standard deviation of the noise, in the units of x.
    n_adapt : int or "auto", default="auto"
        Steps at the beginning of a run during which dual averaging tunes the step size;
        "auto" takes half of them. 0 keeps `step_size`, as training does.
    target_acceptance : float, default=0.574
        The rate that adaptation aims at; the optimum in high dimension.

    References
    ----------
    G. O. Roberts and R. L. Tweedie, "Exponential convergence of Langevin distributions
    and their discrete approximations", Bernoulli 2 (1996). G. O. Roberts and J. S.
    Rosenthal, "Optimal scaling of discrete approximations to Langevin diffusions", JRSS
    B 60 (1998).

    Examples
    --------
    >>> import torch
    >>> from skebm.samplers import MALA
    >>> generator = torch.Generator().manual_seed(0)
    >>> x, diagnostics = MALA(step_size=1.0).run(
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
        n_adapt: int | str = "auto",
        target_acceptance: float = 0.574,
    ) -> None:
        self.step_size = step_size
        self.n_adapt = n_adapt
        self.target_acceptance = target_acceptance

    def propose(
        self,
        energy: Energy,
        point: Point,
        step_size: Tensor,
        generator: torch.Generator,
    ) -> tuple[Point, Tensor]:
        """Make one Langevin step."""
        noise = normal_like(point.x, generator)
        drift = -step_size.square() / 2
        proposal = evaluate(
            energy, point.x + drift * point.gradient + step_size * noise
        )
        back = point.x - proposal.x - drift * proposal.gradient
        log_forward = -noise.square().sum(1) / 2
        log_backward = -(back / step_size).square().sum(1) / 2
        return proposal, point.energy - proposal.energy + log_backward - log_forward
