"""Adaptive sequential Monte Carlo from the reference to the model."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from sklearn.base import clone
from torch import Tensor

from skebm.evaluation.normalizers._log_weights import ReferenceDensity, energies
from skebm.evaluation.normalizers._particles import (
    covariance_factor,
    efficiency,
    move,
    resample,
    resolve_sampler,
    step_by_reference,
)
from skebm.references import Density
from skebm.samplers import AbstractSampler
from skebm.samplers._point import Energy

_MAX_TEMPERATURES = 200
#: Share of accepted transitions of the reference from which the sampler is not used,
#: since it would be most of the cost.
ENOUGH_ACCEPTED = 0.75


@dataclass(frozen=True)
class Rung:
    """One tempered density of the schedule, and how particles move within it.

    Attributes
    ----------
    beta : float
        The density is q0(x) exp(-beta E(x)), up to scale.
    length : float
        Thermodynamic length from the rung before: the standard deviation, in nats,
        of the log weights between the two.
    step_size : float
        Step size of the sampler, for whitened columns.
    factor : Tensor of shape (d, d)
        Cholesky factor of the particles' covariance.
    acceptance : float
        Share of the reference's transitions that moved a particle; 0 without any.
    """

    beta: float
    length: float
    step_size: float
    factor: Tensor
    acceptance: float = 0.0

    def move(
        self,
        energy: Energy,
        reference: ReferenceDensity,
        x: Tensor,
        sampler: AbstractSampler,
        n_moves: int,
        *,
        generator: torch.Generator,
    ) -> Tensor:
        """Move x by the reference and by a sampler; this density stays invariant."""
        density = Density.adapt(reference)
        if density.has_transitions:
            x, _ = step_by_reference(energy, density, self.beta, x, n_moves, generator)
        if self.acceptance >= ENOUGH_ACCEPTED:
            return x
        fixed = clone(sampler).set_params(step_size=self.step_size, n_adapt=0)
        target = tempered(energy, reference, self.beta)
        return move(target, x, self.factor, fixed, n_moves, generator)[0]


@dataclass(frozen=True, eq=False)
class Annealed:
    """The result of an adaptive run: particles at beta = 1, the schedule, log Z."""

    x: Tensor
    rungs: list[Rung]
    log_normalizer: float

    @property
    def length(self) -> float:
        """The thermodynamic length of the schedule, in nats."""
        return math.fsum(rung.length for rung in self.rungs)

    def schedule(self, n_temperatures: int) -> list[Rung]:
        """Return rungs at equal thermodynamic distances, the last at beta = 1."""
        ends = list(accumulate(rung.length for rung in self.rungs))
        rungs = []
        for k in range(1, n_temperatures + 1):
            goal = ends[-1] * k / n_temperatures
            i = min(bisect_left(ends, goal), len(ends) - 1)
            rung, low = self.rungs[i], self.rungs[i - 1].beta if i else 0.0
            share = 1 - (ends[i] - goal) / rung.length if rung.length else 1.0
            beta = low + share * (rung.beta - low)
            rungs.append(replace(rung, beta=beta, length=0.0))
        rungs[-1] = replace(rungs[-1], beta=1.0)
        return rungs


def tempered(energy: Energy, reference: ReferenceDensity, beta: float) -> Energy:
    """Return the energy of a tempered density, -log q0(x) + beta E(x)."""
    return lambda x: beta * energy(x) - reference.log_prob(x)


def anneal(
    energy: Energy,
    reference: ReferenceDensity,
    n_particles: int,
    *,
    sampler: AbstractSampler,
    n_moves: int,
    target_efficiency: float,
    generator: torch.Generator,
    base: Energy | None = None,
    start: Tensor | None = None,
) -> Annealed:
    """Run sequential Monte Carlo with adaptive temperatures and step sizes.

    The next temperature is the one at which the effective sample size of the
    incremental weights, as a fraction, is `target_efficiency`. There the particles are
    resampled and moved `n_moves` times. With a `base` they begin at `start`, draws of
    q0 exp(-base), and keep it whole at each temperature.

    References
    ----------
    P. Del Moral, A. Doucet and A. Jasra, "Sequential Monte Carlo samplers", JRSS B 68
    (2006). Y. Zhou, A. M. Johansen and J. A. D. Aston, "Toward automatic model
    comparison", JCGS 25 (2016).
    """
    density = Density.adapt(reference)
    x = density.sample(n_particles, generator) if start is None else start
    sampler = clone(sampler).set_params(n_adapt=n_moves)
    beta, log_normalizer = 0.0, 0.0
    rungs: list[Rung] = []
    while beta < 1.0:
        values = energies(energy, x)
        step = _next_step(values, 1.0 - beta, target_efficiency)
        last = beta + step >= 1.0 or len(rungs) == _MAX_TEMPERATURES - 1
        step, beta = (1.0 - beta, 1.0) if last else (step, beta + step)
        log_weights = -step * values
        log_normalizer += float(log_weights.logsumexp(0)) - math.log(n_particles)
        length = math.sqrt(max(-math.log(max(efficiency(log_weights), 1e-300)), 0.0))
        x = x[resample(log_weights, generator)]
        factor = covariance_factor(x)
        acceptance, whole, share = 0.0, energy, beta
        if base is not None:
            whole, share = _beside(base, energy, beta), 1.0
        if density.has_transitions:
            x, acceptance = step_by_reference(
                whole, density, share, x, n_moves, generator
            )
        if density.is_discrete:
            acceptance = 1.0  # a sampler would leave the isolated values
        if acceptance < ENOUGH_ACCEPTED:
            target = tempered(whole, density, share)
            x, step_size = move(target, x, factor, sampler, n_moves, generator)
            sampler.set_params(step_size=step_size)
        rungs.append(Rung(beta, length, sampler.step_size, factor, acceptance))
    return Annealed(x, rungs, log_normalizer)


def _beside(base: Energy, energy: Energy, beta: float) -> Energy:
    return lambda x: base(x) + beta * energy(x)


def _next_step(values: Tensor, longest: float, target: float) -> float:
    """Return the largest step in beta, up to `longest`, of the target efficiency."""
    values = values.cpu()
    finite = values[values.isfinite()]
    if len(finite) == 0:
        raise FloatingPointError("the energy is +inf at every particle.")
    finite = finite - finite.min()
    if efficiency(-longest * finite) >= target:
        return longest
    low, high = 0.0, longest
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        if efficiency(-middle * finite) >= target:
            low = middle
        else:
            high = middle
    return low


def annealed_samples(
    energy: Energy,
    reference: ReferenceDensity,
    n_samples: int,
    *,
    generator: torch.Generator,
    sampler: str | AbstractSampler = "hmc",
    min_particles: int = 1000,
    n_moves: int = 3,
    n_final_moves: int = 10,
    target_efficiency: float = 0.8,
    terms: Sequence[Energy] = (),
) -> Tensor:
    r"""Draw from p(x) proportional to q0(x) exp(-E(x)) by sequential Monte Carlo.

    Particles from q0 pass through

    .. math:: p_k(x) \propto q_0(x) \exp(-\beta_k E(x)), \qquad
        0 < \beta_1 < \dots < \beta_K = 1

    and are reweighted, resampled and moved at each; the last moves separate duplicates.
    Where the energy varies little K is 1, which is importance resampling with moves.

    Parameters
    ----------
    energy : callable, (n, d) -> (n,)
        E, in nats, differentiable.
    reference : ReferenceDensity
        q0: `log_prob(x)` and `sample(n, generator)`.
    n_samples : int
        Number of draws.
    generator : torch.Generator
        The only source of randomness.
    sampler : {"hmc", "mala"} or AbstractSampler, default="hmc"
        Moves the particles where the reference has no transitions or too few are
        accepted. Its step size is adapted, for whitened columns.
    min_particles : int, default=1000
        Least number of particles, of which fewer samples are picked, so that the masses
        of modes are right for a single draw too.
    n_moves : int, default=3
        Steps of the sampler at each temperature; the reference makes four times as
        many.
    n_final_moves : int, default=10
        Further steps at the end.
    target_efficiency : float, default=0.8
        Effective sample size of each reweighting, as a fraction.
    terms : sequence of callables, default=()
        Energies of sum E. They are switched on one after another, coarse to fine, where
        all of E is otherwise at once.

    Returns
    -------
    Tensor of shape (n_samples, d)
        In random order, of the dtype and on the device of the reference's draws.

    Raises
    ------
    ValueError
        Where n_samples is not positive or the sampler is unknown.
    FloatingPointError
        Where the energy of a particle is NaN or -inf, or +inf of all.

    References
    ----------
    P. Del Moral, A. Doucet and A. Jasra, "Sequential Monte Carlo samplers", JRSS B 68
    (2006).

    Examples
    --------
    >>> import torch
    >>> from skebm.evaluation import annealed_samples
    >>> class Normal:
    ...     def log_prob(self, x):
    ...         return -(x.square() + 1.8378770664).sum(1) / 2
    ...     def sample(self, n_samples, generator):
    ...         return torch.randn(n_samples, 2, generator=generator)
    >>> generator = torch.Generator().manual_seed(0)
    >>> x = annealed_samples(  # the tilt moves the mean to (2, 2)
    ...     lambda x: -2 * x.sum(1), Normal(), 500, generator=generator
    ... )
    >>> bool((x.mean(0) - 2).abs().max() < 0.2)
    True
    """
    if n_samples < 1:
        raise ValueError(f"n_samples must be at least 1, got {n_samples}.")
    base, start = None, None
    for term in terms or [energy]:
        annealed = anneal(
            term,
            reference,
            max(n_samples, min_particles),
            sampler=resolve_sampler(sampler),
            n_moves=n_moves,
            target_efficiency=target_efficiency,
            generator=generator,
            base=base,
            start=start,
        )
        base = term if base is None else _beside(base, term, 1.0)
        start = annealed.x
    last = annealed.rungs[-1]
    order = torch.randperm(
        len(annealed.x), generator=generator, device=generator.device
    )
    x = annealed.x[order[:n_samples].to(annealed.x.device)]
    return last.move(
        energy,
        reference,
        x,
        resolve_sampler(sampler),
        n_final_moves,
        generator=generator,
    )
