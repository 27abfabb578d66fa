"""Annealed importance sampling."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from skebm.evaluation.normalizers._annealing import Annealed, Rung, anneal
from skebm.evaluation.normalizers._base import AbstractNormalizer
from skebm.evaluation.normalizers._log_weights import (
    LogNormalizer,
    ReferenceDensity,
    bracket,
    energies,
    summarize,
)
from skebm.evaluation.normalizers._particles import resolve_sampler
from skebm.evaluation.normalizers._reverse import reverse_estimate
from skebm.samplers import AbstractSampler
from skebm.samplers._point import Energy
from skebm.utils import check_count, check_positive, check_range, is_count


class AnnealedImportanceSampling(AbstractNormalizer):
    r"""Annealed importance sampling with temperatures and steps tuned by a pilot run.

    .. math::
        \hat Z = \frac1n \sum_{i=1}^n \exp\Big(-\sum_{k=1}^K
            (\beta_k - \beta_{k-1})\, E(x_i^{(k-1)})\Big), \qquad x_i^{(0)} \sim q_0

    where a sampler that leaves q0(x) exp(-beta_k E(x)) invariant takes x_i^(k-1) to
    x_i^(k). The pilot, an adaptive sequential Monte Carlo run, measures the
    thermodynamic length, step sizes and covariances along the way; then the schedule
    is fixed and n independent particles follow it, so that the mean weight is unbiased
    and the standard error honest. As many particles go the way back, from rows of data
    where there are some, else from the pilot's particles.

    A reference with transitions (`Density.transition`) moves the particles first, by
    fresh draws and by steps that are as long in each direction as its components are
    wide, accepted by the energy alone, without gradients.
    Where three quarters of the steps are accepted the sampler is not used.

    Parameters
    ----------
    n_particles : int, default=512
        n, the number of independent particles.
    sampler : {"hmc", "mala"} or AbstractSampler, default="hmc"
        Moves the particles where the reference does not, or not far enough. Its step
        size is adapted, for whitened columns.
    n_temperatures : int or "auto", default="auto"
        K. "auto" takes the squared thermodynamic length over `log_weight_variance`.
    log_weight_variance : float, default=0.35
        The variance of the log weights, in nats squared, that "auto" aims at, were
        every particle in equilibrium at each temperature.
    n_moves : int, default=1
        Steps of the sampler at each temperature; the reference makes four times as
        many.
    n_pilot_particles : int, default=512
        Particles of the pilot run.

    References
    ----------
    R. M. Neal, "Annealed importance sampling", Statistics and Computing 11 (2001).
    P. Del Moral, A. Doucet and A. Jasra, "Sequential Monte Carlo samplers", JRSS B 68
    (2006), for the adaptive temperatures. S. L. Cotter, G. O. Roberts, A. M. Stuart and
    D. White, "MCMC methods for functions", Statistical Science 28 (2013), for steps
    that a reference leaves invariant.

    Examples
    --------
    >>> import torch
    >>> from skebm.evaluation import AnnealedImportanceSampling
    >>> class Normal:
    ...     def log_prob(self, x):
    ...         return -(x.square() + 1.8378770664).sum(1) / 2
    ...     def sample(self, n_samples, generator):
    ...         return torch.randn(n_samples, 2, generator=generator)
    >>> estimate = AnnealedImportanceSampling().estimate(  # log Z is 9
    ...     lambda x: -3 * x.sum(1),
    ...     Normal(),
    ...     generator=torch.Generator().manual_seed(0),
    ... )
    >>> round(estimate.log_normalizer), estimate.trusted
    (9, True)
    """

    def __init__(
        self,
        n_particles: int = 512,
        sampler: str | AbstractSampler = "hmc",
        *,
        n_temperatures: int | str = "auto",
        log_weight_variance: float = 0.35,
        n_moves: int = 1,
        n_pilot_particles: int = 512,
    ) -> None:
        self.n_particles = n_particles
        self.sampler = sampler
        self.n_temperatures = n_temperatures
        self.log_weight_variance = log_weight_variance
        self.n_moves = n_moves
        self.n_pilot_particles = n_pilot_particles

    def check_options(self) -> None:
        """Raise ValueError naming an option that is out of its range."""
        resolve_sampler(self.sampler)
        for name in ("n_particles", "n_moves"):
            check_count(self, name)
        check_count(self, "n_pilot_particles", 2)
        right = self._is_auto() or is_count(self.n_temperatures, 1)
        check_range(self, "n_temperatures", right, "'auto' or an integer, at least 1")
        check_positive(self, "log_weight_variance")

    def _is_auto(self) -> bool:
        return isinstance(self.n_temperatures, str) and self.n_temperatures == "auto"

    def estimate(
        self,
        energy: Energy,
        reference: ReferenceDensity,
        *,
        generator: torch.Generator,
        rows: Tensor | None = None,
    ) -> LogNormalizer:
        """Estimate log Z; see `AbstractNormalizer.estimate`."""
        self.check_options()
        pilot = self.pilot(energy, reference, generator)
        forward = self.follow(pilot, energy, reference, generator)
        backward = self.return_(pilot, energy, reference, generator, rows)
        return bracket(forward, backward)

    def pilot(
        self, energy: Energy, reference: ReferenceDensity, generator: torch.Generator
    ) -> Annealed:
        """Find the temperatures from the reference to the model, by an adaptive run."""
        return anneal(
            energy,
            reference,
            self.n_pilot_particles,
            sampler=resolve_sampler(self.sampler),
            n_moves=4,
            target_efficiency=0.8,
            generator=generator,
        )

    def follow(
        self,
        pilot: Annealed,
        energy: Energy,
        reference: ReferenceDensity,
        generator: torch.Generator,
    ) -> LogNormalizer:
        """Estimate log Z by independent particles on the schedule of the pilot."""
        log_weights = annealed_log_weights(
            energy,
            reference,
            self.n_particles,
            pilot.schedule(self.resolve_n_temperatures(pilot)),
            sampler=resolve_sampler(self.sampler),
            n_moves=self.n_moves,
            generator=generator,
        )
        estimate = summarize(log_weights, type(self).__name__)
        gap = abs(estimate.log_normalizer - pilot.log_normalizer)
        if estimate.trusted and gap > 1.0 + 3 * estimate.standard_error:
            reason = f"the pilot's log Z, by resampling, is {gap:.2f} nats away"
            return replace(estimate, trusted=False, reason=reason)
        return estimate

    def return_(
        self,
        pilot: Annealed,
        energy: Energy,
        reference: ReferenceDensity,
        generator: torch.Generator,
        rows: Tensor | None,
    ) -> LogNormalizer:
        """Estimate -log Z by as many particles in reverse, from rows of data."""
        return reverse_estimate(
            energy,
            reference,
            self.n_particles,
            pilot,
            self.resolve_n_temperatures(pilot),
            rows=rows,
            sampler=resolve_sampler(self.sampler),
            n_moves=self.n_moves,
            generator=generator,
        )

    def resolve_n_temperatures(self, pilot: Annealed) -> int:
        """Return K, given the thermodynamic length of the pilot."""
        if self._is_auto():
            return max(4, math.ceil(pilot.length**2 / self.log_weight_variance))
        return int(self.n_temperatures)


def annealed_log_weights(
    energy: Energy,
    reference: ReferenceDensity,
    n_particles: int,
    rungs: list[Rung],
    *,
    sampler: AbstractSampler,
    n_moves: int,
    generator: torch.Generator,
) -> Tensor:
    """Return log weights of independent particles on a fixed schedule."""
    x = reference.sample(n_particles, generator)
    log_weights, beta = -rungs[0].beta * energies(energy, x), rungs[0].beta
    for rung, following in pairwise(rungs):
        x = rung.move(energy, reference, x, sampler, n_moves, generator=generator)
        log_weights -= (following.beta - beta) * energies(energy, x)
        beta = following.beta
    return log_weights
