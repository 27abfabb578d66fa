"""Estimators of log Z: importance sampling, annealed importance sampling, auto."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import replace
from itertools import pairwise

import torch
from sklearn.base import BaseEstimator, clone
from torch import Tensor

from skebm.evaluation._annealing import (
    Annealed,
    Rung,
    anneal,
    move,
    resolve_sampler,
    tempered,
)
from skebm.evaluation._log_weights import (
    LogNormalizer,
    ReferenceDensity,
    energies,
    summarize,
)
from skebm.samplers import AbstractSampler
from skebm.samplers._point import Energy, chunk_rows


class AbstractNormalizer(BaseEstimator, ABC):
    """Estimates log Z of p(x) = q0(x) exp(-E(x)) / Z."""

    @abstractmethod
    def estimate(
        self, energy: Energy, reference: ReferenceDensity, *, generator: torch.Generator
    ) -> LogNormalizer:
        """Estimate log Z = log E_q0[exp(-E)].

        Parameters
        ----------
        energy : callable, (n, d) -> (n,)
            E, in nats, low is likely, differentiable.
        reference : ReferenceDensity
            q0: `log_prob(x)` and `sample(n, generator)`.
        generator : torch.Generator
            The only source of randomness.

        Returns
        -------
        LogNormalizer
            The estimate, its standard error in nats, and whether to trust it.

        Raises
        ------
        FloatingPointError
            Where an energy is NaN or -inf.
        """


class ImportanceSampling(AbstractNormalizer):
    r"""Importance sampling from the reference.

    .. math:: \hat Z = \frac1n \sum_{i=1}^n \exp(-E(x_i)), \qquad x_i \sim q_0

    Parameters
    ----------
    n_samples : int, default=20_000
        n, the number of draws.

    References
    ----------
    A. B. Owen, "Monte Carlo theory, methods and examples" (2013), chapter 9.

    Examples
    --------
    >>> import torch
    >>> from skebm.evaluation import ImportanceSampling
    >>> class Normal:
    ...     def log_prob(self, x):
    ...         return -(x.square() + 1.8378770664).sum(1) / 2
    ...     def sample(self, n_samples, generator):
    ...         return torch.randn(n_samples, 2, generator=generator)
    >>> estimate = ImportanceSampling().estimate(  # log Z is -log 2
    ...     lambda x: x.square().sum(1) / 2,
    ...     Normal(),
    ...     generator=torch.Generator().manual_seed(0),
    ... )
    >>> round(estimate.log_normalizer, 1), estimate.trusted
    (-0.7, True)
    """

    def __init__(self, n_samples: int = 20_000) -> None:
        self.n_samples = n_samples

    def estimate(
        self, energy: Energy, reference: ReferenceDensity, *, generator: torch.Generator
    ) -> LogNormalizer:
        """Estimate log Z; see `AbstractNormalizer.estimate`."""
        if self.n_samples < 1:
            raise ValueError(f"n_samples must be at least 1, got {self.n_samples}.")
        first = reference.sample(1, generator)
        rows = chunk_rows(first.shape[1])
        log_weights = [
            -energies(energy, reference.sample(n, generator))
            for n in _sizes(self.n_samples, rows)
        ]
        return summarize(torch.cat(log_weights), type(self).__name__)


class AnnealedImportanceSampling(AbstractNormalizer):
    r"""Annealed importance sampling with temperatures and steps tuned by a pilot run.

    .. math::
        \hat Z = \frac1n \sum_{i=1}^n \exp\Big(-\sum_{k=1}^K
            (\beta_k - \beta_{k-1})\, E(x_i^{(k-1)})\Big), \qquad x_i^{(0)} \sim q_0

    where a sampler that leaves q0(x) exp(-beta_k E(x)) invariant takes x_i^(k-1) to
    x_i^(k). The pilot, an adaptive sequential Monte Carlo run, measures the
    thermodynamic length, step sizes and covariances along the way; then the schedule
    is fixed and n independent particles follow it, so that the mean weight is unbiased
    and the standard error honest.

    Parameters
    ----------
    n_particles : int, default=512
        n, the number of independent particles.
    sampler : {"hmc", "mala"} or AbstractSampler, default="hmc"
        What moves the particles; its step size is adapted, in whitened coordinates.
    n_temperatures : int or "auto", default="auto"
        K. "auto" takes the squared thermodynamic length over `log_weight_variance`.
    log_weight_variance : float, default=0.35
        The variance of the log weights, in nats squared, that "auto" aims at, were
        every particle in equilibrium at each temperature.
    n_moves : int, default=1
        Steps of the sampler at each temperature.
    n_pilot_particles : int, default=512
        Particles of the pilot run.

    References
    ----------
    R. M. Neal, "Annealed importance sampling", Statistics and Computing 11 (2001).
    P. Del Moral, A. Doucet and A. Jasra, "Sequential Monte Carlo samplers", JRSS B 68
    (2006), for the adaptive temperatures.

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

    def estimate(
        self, energy: Energy, reference: ReferenceDensity, *, generator: torch.Generator
    ) -> LogNormalizer:
        """Estimate log Z; see `AbstractNormalizer.estimate`."""
        pilot = self.pilot(energy, reference, generator)
        return self.follow(pilot, energy, reference, generator)

    def pilot(
        self, energy: Energy, reference: ReferenceDensity, generator: torch.Generator
    ) -> Annealed:
        """Find the way from the reference to the model."""
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
        """Send independent particles along the pilot's way."""
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

    def resolve_n_temperatures(self, pilot: Annealed) -> int:
        """K, given the pilot's thermodynamic length."""
        if self.n_temperatures == "auto":
            return max(4, math.ceil(pilot.length**2 / self.log_weight_variance))
        if isinstance(self.n_temperatures, str) or self.n_temperatures < 1:
            raise ValueError(
                "n_temperatures must be 'auto' or an integer of at least 1, "
                f"got {self.n_temperatures!r}."
            )
        return self.n_temperatures


class AutoNormalizer(AbstractNormalizer):
    """Importance sampling where it suffices, else annealing with growing effort.

    Importance sampling is kept when its standard error is below 0.02 nats. Otherwise
    one pilot finds the way and rounds of annealed importance sampling follow, each
    with twice the temperatures (twice the particles once the effective sample size is
    above a half), until `tolerance` is met or the next round would exceed the budget.
    The budget counts moves, not seconds, so that one seed gives one result.

    Parameters
    ----------
    tolerance : float, default=0.05
        The standard error to reach, in nats.
    max_moves : int, default=500_000
        Temperatures times particles that a round may take.

    Examples
    --------
    >>> import torch
    >>> from skebm.evaluation import AutoNormalizer
    >>> class Normal:
    ...     def log_prob(self, x):
    ...         return -(x.square() + 1.8378770664).sum(1) / 2
    ...     def sample(self, n_samples, generator):
    ...         return torch.randn(n_samples, 2, generator=generator)
    >>> estimate = AutoNormalizer().estimate(
    ...     lambda x: -3 * x.sum(1),
    ...     Normal(),
    ...     generator=torch.Generator().manual_seed(0),
    ... )
    >>> estimate.method, round(estimate.log_normalizer)
    ('AnnealedImportanceSampling', 9)
    """

    def __init__(self, *, tolerance: float = 0.05, max_moves: int = 500_000) -> None:
        self.tolerance = tolerance
        self.max_moves = max_moves

    def estimate(
        self, energy: Energy, reference: ReferenceDensity, *, generator: torch.Generator
    ) -> LogNormalizer:
        """Estimate log Z; see `AbstractNormalizer.estimate`."""
        best = ImportanceSampling().estimate(energy, reference, generator=generator)
        if best.trusted and best.standard_error <= min(0.02, self.tolerance):
            return best
        annealing = AnnealedImportanceSampling()
        pilot = annealing.pilot(energy, reference, generator)
        n_particles = annealing.n_particles
        affordable = max(1, self.max_moves // n_particles)
        n_temperatures = min(annealing.resolve_n_temperatures(pilot), affordable)
        while True:
            annealing.set_params(n_temperatures=n_temperatures, n_particles=n_particles)
            best = annealing.follow(pilot, energy, reference, generator)
            if best.trusted and best.standard_error <= self.tolerance:
                return best
            if best.effective_sample_size < 0.5:
                n_temperatures *= 2
            else:
                n_particles *= 2
            if n_temperatures * n_particles > self.max_moves:
                return best


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
    """Log weights, shape (n_particles,), of independent particles on a fixed way."""
    x = reference.sample(n_particles, generator)
    log_weights, beta = -rungs[0].beta * energies(energy, x), rungs[0].beta
    for rung, following in pairwise(rungs):
        fixed = clone(sampler).set_params(step_size=rung.step_size, n_adapt=0)
        x, _ = move(
            tempered(energy, reference, beta), x, rung, fixed, n_moves, generator
        )
        log_weights -= (following.beta - beta) * energies(energy, x)
        beta = following.beta
    return log_weights


def _sizes(total: int, largest: int) -> list[int]:
    full, rest = divmod(total, largest)
    return [largest] * full + [rest] * (rest > 0)
