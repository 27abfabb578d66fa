"""Estimates of log Z by chains that go from the model back to the reference."""

from __future__ import annotations

import torch
from torch import Tensor

from skebm.evaluation.normalizers._annealing import Annealed, tempered
from skebm.evaluation.normalizers._log_weights import (
    LogNormalizer,
    ReferenceDensity,
    energies,
    summarize,
)
from skebm.samplers import AbstractSampler
from skebm.samplers._point import Energy, evaluate

_BURN_IN = 20


def reverse_estimate(
    energy: Energy,
    reference: ReferenceDensity,
    n_particles: int,
    pilot: Annealed,
    n_temperatures: int,
    *,
    rows: Tensor | None,
    sampler: AbstractSampler,
    n_moves: int,
    generator: torch.Generator,
) -> LogNormalizer:
    r"""Estimate -log Z by annealed importance sampling from the model to q0.

    .. math:: \widehat{1/Z} = \frac1n \sum_i \exp\Big(\sum_{k=1}^K
        (\beta_k - \beta_{k-1})\, E(y_i^{(k)})\Big), \qquad y_i^{(K)} \sim s

    With :math:`s = p` the mean is 1/Z, so that minus its logarithm is too high on
    average. Exact draws from p are impossible. Chains that start at rows of data and
    are burnt in at beta = 1 follow some density s, and the mean is then

    .. math:: \frac1Z \, E_{x \sim f}\Big[\frac{s(x)}{p(x)}\Big],

    where f is the density of the ends of forward chains, before weighting. So it is 1/Z
    for any s where the forward chains mix. It is smaller, which means a higher estimate
    of Z, where s has mass that no forward chain reaches. The particles of the pilot,
    which replace the rows where there are none, could not show that, since they are
    forward chains.

    Starts that are far less likely after burn-in than every particle of the pilot are
    dropped: they are outliers of the data, where p has no mass. Forward chains that end
    where the energy is infinite, a share a of the n, have a weight of zero; f is then
    the density of the others, and -log(1 - a) is added.

    References
    ----------
    Y. Burda, R. Grosse and R. Salakhutdinov, "Accurate and conservative estimates of
    MRF log-likelihood using reverse annealing", AISTATS 2015. R. B. Grosse, S. Ancha
    and D. M. Roy, "Measuring the reliability of MCMC inference with bidirectional Monte
    Carlo", NeurIPS 2016.
    """
    rungs = pilot.schedule(n_temperatures)
    alive = energies(energy, reference.sample(n_particles, generator)).isfinite()
    x = _model_draws(energy, reference, n_particles, pilot, rows, sampler, generator)
    log_weights = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    beta = 1.0
    for rung in reversed(rungs[:-1]):
        log_weights += (beta - rung.beta) * energies(energy, x)
        beta = rung.beta
        x = rung.move(energy, reference, x, sampler, n_moves, generator=generator)
    log_weights += beta * energies(energy, x)
    return summarize(log_weights - alive.double().mean().log(), "reverse")


def _model_draws(
    energy: Energy,
    reference: ReferenceDensity,
    n: int,
    pilot: Annealed,
    rows: Tensor | None,
    sampler: AbstractSampler,
    generator: torch.Generator,
) -> Tensor:
    """Draw about n points near the model by chains at beta = 1."""
    starts = pilot.x if rows is None else rows.to(pilot.x)
    chosen = torch.randint(
        len(starts), (n,), generator=generator, device=generator.device
    )
    x = starts[chosen.to(starts.device)]
    target = tempered(energy, reference, 1.0)
    x = x[evaluate(target, x).energy.isfinite()]
    if not len(x):
        return pilot.x
    x = pilot.rungs[-1].move(
        energy, reference, x, sampler, _BURN_IN, generator=generator
    )
    level = energies(target, pilot.x)
    middle, most = level.median(), level[level.isfinite()].max()
    kept = x[evaluate(target, x).energy <= most + (most - middle)]
    return kept if len(kept) > 1 else pilot.x
