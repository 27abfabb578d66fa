"""Rows with missing entries: marginal densities and conditional draws."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from skebm.evaluation.normalizers._ais import AnnealedImportanceSampling
from skebm.evaluation.normalizers._annealing import annealed_samples
from skebm.evaluation.normalizers._base import ImportanceSampling
from skebm.evaluation.normalizers._log_weights import LogNormalizer, energies, summarize
from skebm.evaluation.normalizers._particles import efficiency, resample
from skebm.references import Density
from skebm.references._base import Conditional
from skebm.samplers._point import Energy
from skebm.utils import make_generator

#: Effective draws that importance sampling has to reach, for a standard error of 0.05
#: nats or of a twentieth of a standard deviation.
N_EFFECTIVE = 400
_N_TRIAL, _MAX_DRAWS, _N_PARTICLES = 512, 32_768, 256
#: Effective draws for each returned one, so that few are returned twice.
_DRAWS_A_SAMPLE = 8


@dataclass(frozen=True, eq=False)
class Draws:
    """Weighted draws of the missing columns.

    Attributes
    ----------
    x : Tensor of shape (n, n_missing)
    log_weights : Tensor of shape (n,)
        Log weights up to a constant, float64.
    r_hat : float
        R-hat of two independent populations of particles; 1 where there is only one.
    """

    x: Tensor
    log_weights: Tensor
    r_hat: float = 1.0

    @property
    def effective_sample_size(self) -> float:
        """The effective number of draws, (sum w)^2 / sum w^2."""
        return efficiency(self.log_weights) * len(self.x)

    def mean(self) -> Tensor:
        """Return the weighted mean, shape (n_missing,)."""
        return self.log_weights.softmax(0) @ self.x.double()

    def median(self) -> Tensor:
        """Return the weighted median of each column, shape (n_missing,)."""
        values, order = self.x.sort(dim=0)
        below = self.log_weights.softmax(0)[order].cumsum(0) < 0.5
        place = below.sum(0, keepdim=True).clamp(max=len(self.x) - 1)
        return values.gather(0, place)[0].double()

    def mode(self, column: int) -> Tensor:
        """Return the value of a column with the largest total weight, shape ()."""
        values, place = self.x[:, column].unique(return_inverse=True)
        weights = self.log_weights.softmax(0)
        masses = weights.new_zeros(len(values)).index_add(0, place, weights)
        return values[masses.argmax()].double()

    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Return rows drawn by their weights, shape (n_samples, n_missing)."""
        chosen = resample(self.log_weights, generator, n_samples)
        order = torch.randperm(n_samples, generator=generator, device=generator.device)
        return self.x[chosen[order.to(chosen.device)]]


@dataclass(frozen=True)
class IncompleteRow:
    r"""A row with missing entries, and the model of these given the others.

    .. math:: p(x_M | x_O) \propto q_0(x_M | x_O) e^{-E(x_O, x_M)}, \qquad
        \log p(x_O) = \log q_0(x_O) + \log E_{q_0(x_M | x_O)}[e^{-E}] - \log Z

    The expectation is estimated as log Z is, with q0(x_M | x_O) as the reference: by
    weighted draws from it or, where 32 768 of them are worth less than `N_EFFECTIVE`,
    by particles that are annealed through :math:`q_0(x_M | x_O) e^{-\beta E}`.

    Attributes
    ----------
    number : int
        Index of the row in its table.
    seed : int
        Seed that the row determines, for its draws.
    x : Tensor of shape (n_features,)
        The row, NaN in the columns of M: missing ones, and others that are free.
    log_reference : float
        log q0(x_O), or its counterpart where `conditional` is another density.
    conditional : Density
        q0(x_M | x_O).
    full_energy : callable, (n, n_features) -> (n,)
        E.
    """

    number: int
    seed: int
    x: Tensor
    log_reference: float
    conditional: Density
    full_energy: Energy

    def generator(self) -> torch.Generator:
        """Return a generator that is seeded by the row itself."""
        return make_generator(self.seed, self.x.device)

    def energy(self, x: Tensor) -> Tensor:
        """Return E of the row completed by x, shape (n,)."""
        missing = self.x.isnan().nonzero()[:, 0]
        rows = self.x.expand(len(x), -1).index_copy(1, missing, x)
        return self.full_energy(rows)

    def log_normalizer(self, generator: torch.Generator) -> LogNormalizer:
        """Return the log of the expectation of exp(-E)."""
        draws = self._importance_draws(N_EFFECTIVE, generator)
        if draws is not None:
            return summarize(draws.log_weights, ImportanceSampling.__name__)
        annealing = AnnealedImportanceSampling(
            2 * _N_PARTICLES, log_weight_variance=0.1, n_pilot_particles=_N_PARTICLES
        )
        pilot = annealing.pilot(self.energy, self.conditional, generator)
        return annealing.follow(pilot, self.energy, self.conditional, generator)

    def draws(self, n_samples: int, generator: torch.Generator) -> Draws:
        """Return draws of the missing columns, enough for n_samples distinct ones."""
        n_effective = max(N_EFFECTIVE, _DRAWS_A_SAMPLE * n_samples)
        draws = self._importance_draws(n_effective, generator)
        if draws is not None:
            return draws
        n = max(_N_PARTICLES, math.ceil(n_samples / 2))
        populations = torch.stack(
            [
                annealed_samples(self.energy, self.conditional, n, generator=generator)
                for _ in range(2)
            ]
        )
        x = populations.flatten(0, 1)
        even = torch.zeros(len(x), dtype=torch.float64, device=x.device)
        return Draws(x, even, _r_hat(populations.double()))

    def _importance_draws(
        self, n_effective: int, generator: torch.Generator
    ) -> Draws | None:
        """Return weighted draws from q0(x_M | x_O), or None if weights are too uneven.

        A trial tells how many are needed, and is discarded unless it is enough.
        """
        trial = self._weighted(_N_TRIAL, generator)
        if trial.effective_sample_size >= n_effective:
            return trial
        n = math.ceil(1.1 * n_effective * _N_TRIAL / trial.effective_sample_size)
        if n > max(_MAX_DRAWS, 2 * n_effective):
            return None
        draws = self._weighted(n, generator)
        enough = draws.effective_sample_size >= n_effective / 2
        return draws if enough else None

    def _weighted(self, n: int, generator: torch.Generator) -> Draws:
        x = self.conditional.sample(n, generator)
        return Draws(x, -energies(self.energy, x))


def incomplete_rows(
    x: Tensor, energy: Energy, reference: Density
) -> Iterator[IncompleteRow]:
    """Yield the rows of x, grouped by the pattern of their missing entries.

    Parameters
    ----------
    x : Tensor of shape (n, n_features)
        Rows with at least one NaN each.
    energy : callable, (n, n_features) -> (n,)
        E, in nats, differentiable.
    reference : Density
        q0, with `has_conditionals`.
    """
    for i, observed, marginal, conditional in by_pattern(x, reference):
        given = x[i, observed]
        # One row at a time: sums of batches round differently.
        log_reference = marginal.log_prob(given[None].double()).item()
        parts = log_reference, conditional(given), energy
        yield IncompleteRow(i, row_seed(x[i]), x[i], *parts)


def by_pattern(
    x: Tensor, reference: Density
) -> Iterator[tuple[int, Tensor, Density, Conditional]]:
    """Yield each row's index, its observed columns and `Density.partition` by them."""
    patterns, pattern_of_row = x.isnan().unique(dim=0, return_inverse=True)
    for k, missing in enumerate(patterns):
        parts = reference.partition(~missing)
        for i in (pattern_of_row == k).nonzero()[:, 0].tolist():
            yield i, ~missing, *parts


def row_seed(x: Tensor) -> int:
    """Return a seed that depends on the row alone, and not on the sign of its NaN."""
    content = x.float().cpu().nan_to_num(math.nan).numpy().tobytes()
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest()) >> 1


def _r_hat(populations: Tensor) -> float:
    """Return the largest R-hat of a column, of populations (m, n, n_columns)."""
    within = populations.var(1).mean(0)
    between = populations.mean(1).var(0)
    return float((1 + between / within).sqrt().nan_to_num(1.0, torch.inf).max())
