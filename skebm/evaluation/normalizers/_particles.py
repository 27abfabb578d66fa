"""Steps of a population of particles: reweight, resample, move."""

from __future__ import annotations

import math

import torch
from sklearn.base import clone
from torch import Tensor

from skebm.evaluation.normalizers._log_weights import (
    any_energies,
    energies,
)
from skebm.references import Density
from skebm.samplers import HMC, MALA, AbstractMetropolisSampler, AbstractSampler
from skebm.samplers._point import Energy
from skebm.utils import InvalidParameterError, uniform_like

# In whitened columns a trajectory of a quarter period, about 1.5, mixes best.
_SAMPLERS: dict[str, AbstractSampler] = {
    "hmc": HMC(step_size=0.5, n_leapfrog_steps=3, target_acceptance=0.9),
    "mala": MALA(step_size=0.5),
}

#: Transitions of the reference for each fresh draw of it.
N_TRANSITIONS = 3
_SHORTEST_STEP = 0.05


def move(
    energy: Energy,
    x: Tensor,
    factor: Tensor,
    sampler: AbstractSampler,
    n_steps: int,
    generator: torch.Generator,
) -> tuple[Tensor, float]:
    """Return particles moved in whitened columns z, x = L z, and the step size."""
    z = torch.linalg.solve_triangular(factor, x.mT, upper=False).mT
    moved, diagnostics = sampler.run(
        lambda z: energy(z @ factor.mT), z, n_steps=n_steps, generator=generator
    )
    # A particle that stayed keeps its x: rounding could push it out of a box.
    stayed = (moved == z).all(1, keepdim=True)
    return torch.where(stayed, x, moved @ factor.mT), diagnostics["step_size"]


def step_by_reference(
    energy: Energy,
    reference: Density,
    beta: float,
    x: Tensor,
    n_rounds: int,
    generator: torch.Generator,
) -> tuple[Tensor, float]:
    """Move x by Metropolis steps for q0 exp(-beta E) with proposals of q0.

    A round is a fresh draw of q0, which may lead to any component, and three of its
    transitions. Their scales are log-uniform and need no tuning: long steps change a
    row within its component, short ones are seldom rejected. Returned are the rows and
    the share of transitions that moved one.
    """
    values, accepted = energies(energy, x), torch.zeros((), device=x.device)
    for i in range(n_rounds * (1 + N_TRANSITIONS)):
        is_fresh = i % (1 + N_TRANSITIONS) == 0
        if is_fresh:
            proposal = reference.sample(len(x), generator)
        else:
            height = uniform_like(x[:, 0], generator)
            scale = torch.exp(math.log(_SHORTEST_STEP) * height)
            proposal = reference.transition(x, scale, generator)
        proposed = any_energies(energy, proposal)
        log_ratio = beta * (values - proposed)
        log_uniform = uniform_like(log_ratio, generator).log()
        taken = proposed.isfinite() & (log_uniform < log_ratio)
        n_moved = (taken & (proposal != x).any(dim=1)).sum()
        x = torch.where(taken.unsqueeze(1), proposal, x)
        values = torch.where(taken, proposed, values)
        if not is_fresh:
            accepted += n_moved
    return x, float(accepted) / (n_rounds * N_TRANSITIONS * len(x))


def covariance_factor(x: Tensor) -> Tensor:
    """Return a factor of the covariance of x, shrunk to its diagonal for few rows."""
    n, d = x.shape
    covariance = torch.cov(x.mT.double()).reshape(d, d)
    variance = covariance.diagonal().clamp(min=1e-12)
    shrinkage = min(1.0, 1e-6 + (d / n) ** 2)
    covariance = covariance.lerp(variance.diag(), shrinkage)
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if failed:
        factor = variance.sqrt().diag()
    return factor.to(x.dtype)


def resample(
    log_weights: Tensor, generator: torch.Generator, n_samples: int | None = None
) -> Tensor:
    """Return n indices by systematic resampling, i about w_i n times.

    n is `n_samples`, or the number of weights.
    """
    n = len(log_weights) if n_samples is None else n_samples
    ends = log_weights.softmax(0).cumsum(0)
    offset = torch.rand(
        (), generator=generator, device=generator.device, dtype=torch.float32
    )
    ticks = torch.arange(n, device=ends.device, dtype=ends.dtype)
    points = (ticks + offset.to(ends)) / n * ends[-1]
    return torch.searchsorted(ends, points, right=True).clamp(max=len(ends) - 1)


def efficiency(log_weights: Tensor) -> float:
    """Return the effective sample size of the weights as a fraction."""
    log_sums = 2 * log_weights.logsumexp(0) - (2 * log_weights).logsumexp(0)
    return float(log_sums.exp()) / len(log_weights)


def resolve_sampler(sampler: str | AbstractSampler) -> AbstractSampler:
    """Return a fresh sampler by name, or a clone of an instance.

    Raises
    ------
    ValueError
        Where the name is unknown or the instance has no adaptable step size.
    """
    if isinstance(sampler, str):
        if sampler not in _SAMPLERS:
            raise InvalidParameterError(
                f"The 'sampler' parameter of a normalizer must be one of "
                f"{sorted(_SAMPLERS)} or an instance. Got {sampler!r} instead."
            )
        sampler = _SAMPLERS[sampler]
    if not isinstance(sampler, AbstractMetropolisSampler):
        raise InvalidParameterError(
            "The 'sampler' parameter of a normalizer must be a name or a Metropolis "
            f"sampler with an adaptable step size. Got {sampler!r} instead."
        )
    return clone(sampler)
