"""The estimator of log Z for ``normalizer="auto"``."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from sklearn.base import clone
from torch import Tensor

from skebm.evaluation.normalizers._ais import AnnealedImportanceSampling
from skebm.evaluation.normalizers._annealing import Annealed
from skebm.evaluation.normalizers._base import AbstractNormalizer, ImportanceSampling
from skebm.evaluation.normalizers._log_weights import (
    LogNormalizer,
    ReferenceDensity,
    bracket,
)
from skebm.evaluation.normalizers._quadrature import Quadrature
from skebm.samplers._point import Energy
from skebm.utils import check_count, check_positive, check_range, is_count

MAX_DRAWS = 1_000_000
#: Columns up to which a grid is cheaper than draws.
MAX_QUADRATURE = 2
#: Columns up to which a round may take all of `max_moves`.
NARROW = 64
MIN_PARTICLES = 128
#: Least number of temperatures in reverse: with fewer, differences between the rows and
#: the model would look like a larger Z.
MIN_RETURN_TEMPERATURES = 16
#: Particles that check importance sampling: they look for a gap, of 0.25 nats at least.
N_CHECKING = 256


def _unchecked(estimate: LogNormalizer, n_features: int) -> LogNormalizer:
    """Return the estimate as untrusted, since no annealing has checked it."""
    if not estimate.trusted:
        return estimate
    reason = f"in {n_features} columns no annealing has checked it"
    return replace(estimate, trusted=False, reason=reason)


class AutoNormalizer(AbstractNormalizer):
    """Quadrature or importance sampling where they suffice, else annealing.

    In one or two columns `Quadrature` integrates, unless its errors are large.
    Otherwise a first round of importance sampling tells how many draws would bring its
    standard error to 0.005 nats; if a million suffice, that many fresh ones give the
    estimate. If not, a pilot run finds the schedule, a trial of annealed importance
    sampling sets the number of temperatures, and fresh particles give the estimate.
    Should it miss `tolerance`, further rounds double the temperatures (or the
    particles, once the effective sample size is above a half) until it is met and the
    reverse estimate agrees, or the next round would exceed the budget. Reverse
    particles check importance sampling too. The budget counts moves, not seconds: one
    seed gives one result.

    Parameters
    ----------
    tolerance : float, default=0.05
        The standard error to reach, in nats.
    max_moves : int, default=200_000
        Temperatures times particles that a round may take, in up to 64 columns; in d
        of them :math:`(64 / d)^2` as many, since a move costs as much more. The first
        round's particles are then 64 / d as many.
    max_features : int or None, default=None
        Columns up to which particles are moved; beyond, the estimate is that of
        importance sampling, and is never trusted.

    Examples
    --------
    >>> import torch
    >>> from skebm.evaluation import AutoNormalizer
    >>> class Normal:
    ...     def log_prob(self, x):
    ...         return -(x.square() + 1.8378770664).sum(1) / 2
    ...     def sample(self, n_samples, generator):
    ...         return torch.randn(n_samples, 4, generator=generator)
    >>> estimate = AutoNormalizer().estimate(
    ...     lambda x: -3 * x.sum(1),
    ...     Normal(),
    ...     generator=torch.Generator().manual_seed(0),
    ... )
    >>> estimate.method, round(estimate.log_normalizer)
    ('AnnealedImportanceSampling', 18)
    """

    def __init__(
        self,
        *,
        tolerance: float = 0.05,
        max_moves: int = 200_000,
        max_features: int | None = None,
    ) -> None:
        self.tolerance = tolerance
        self.max_moves = max_moves
        self.max_features = max_features

    def check_options(self) -> None:
        """Raise ValueError naming an option that is out of its range."""
        check_positive(self, "tolerance")
        check_count(self, "max_moves")
        right = self.max_features is None or is_count(self.max_features, 1)
        check_range(self, "max_features", right, "an integer, at least 1, or None")

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
        n_features = reference.sample(1, generator).shape[1]
        if n_features <= MAX_QUADRATURE:
            exact = self._quadrature(energy, reference, generator, rows)
            if exact is not None:
                return exact
        best = self._importance_sampling(energy, reference, generator)
        if self.max_features is not None and n_features > self.max_features:
            return _unchecked(best, n_features)
        share = min(1.0, NARROW / n_features)
        max_moves = round(share**2 * self.max_moves)
        annealing = AnnealedImportanceSampling()
        fewer = max(MIN_PARTICLES, round(share * annealing.n_particles))
        is_settled = best.trusted and best.standard_error <= min(0.02, self.tolerance)
        if is_settled:
            fewer = min(fewer, N_CHECKING)
        annealing.set_params(n_particles=fewer, n_pilot_particles=fewer)
        pilot = annealing.pilot(energy, reference, generator)
        if is_settled:
            n = max(annealing.resolve_n_temperatures(pilot), MIN_RETURN_TEMPERATURES)
            annealing.set_params(n_temperatures=n)
            backward = annealing.return_(pilot, energy, reference, generator, rows)
            return bracket(best, backward)
        n_particles = annealing.n_particles
        n_temperatures = self._n_temperatures(
            annealing, pilot, energy, reference, generator, max_moves
        )
        while True:
            annealing.set_params(n_temperatures=n_temperatures, n_particles=n_particles)
            best = annealing.follow(pilot, energy, reference, generator)
            good = best.trusted and best.standard_error <= self.tolerance
            last = 2 * n_temperatures * n_particles > max_moves
            if good or last:
                backward = annealing.return_(pilot, energy, reference, generator, rows)
                best = bracket(best, backward)
            if last or (good and best.trusted):
                return best
            if best.effective_sample_size < 0.5:
                n_temperatures *= 2
            else:
                n_particles *= 2

    @staticmethod
    def _quadrature(
        energy: Energy,
        reference: ReferenceDensity,
        generator: torch.Generator,
        rows: Tensor | None,
    ) -> LogNormalizer | None:
        """Return the estimate by quadrature, or None where it is not trusted."""
        try:
            result = Quadrature().estimate(
                energy, reference, generator=generator, rows=rows
            )
        except FloatingPointError:  # far from any draw, perhaps
            return None
        return result if result.trusted else None

    @staticmethod
    def _importance_sampling(
        energy: Energy, reference: ReferenceDensity, generator: torch.Generator
    ) -> LogNormalizer:
        """Estimate by importance sampling, to 0.005 nats where that is affordable."""
        trial = ImportanceSampling().estimate(energy, reference, generator=generator)
        wanted = trial.n_samples * (trial.standard_error / 0.005) ** 2
        if wanted <= trial.n_samples or not wanted <= MAX_DRAWS:
            return trial
        return ImportanceSampling(math.ceil(1.1 * wanted)).estimate(
            energy, reference, generator=generator
        )

    def _n_temperatures(
        self,
        annealing: AnnealedImportanceSampling,
        pilot: Annealed,
        energy: Energy,
        reference: ReferenceDensity,
        generator: torch.Generator,
        max_moves: int,
    ) -> int:
        """Return the number of temperatures for a standard error of 0.7 `tolerance`.

        A trial tells it and is discarded. Keeping it where it looks good would bias
        log Z downwards: weights that miss their upper tail look best.
        """
        n = annealing.n_particles
        affordable = max(1, max_moves // n)
        n_temperatures = min(annealing.resolve_n_temperatures(pilot), affordable)
        trial = (
            clone(annealing)
            .set_params(n_temperatures=n_temperatures, n_particles=n // 2)
            .follow(pilot, energy, reference, generator)
        )
        spread = -math.log(max(trial.effective_sample_size, 1 / n))
        wanted = math.log1p(n * (0.7 * self.tolerance) ** 2)
        return min(max(math.ceil(n_temperatures * spread / wanted), 4), affordable)
