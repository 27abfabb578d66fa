"""Every sampler leaves its density invariant, and a broken one is caught."""

import math

import pytest
import torch
from scipy import stats

from skebm.samplers import (
    HMC,
    MALA,
    AugmentedLangevin,
    BlockGibbs,
    Langevin,
    LatentLangevin,
    ParallelTempering,
)

N_CHAINS = 4000
MEAN = torch.tensor([1.0, -0.5, 0.0])
FACTOR = torch.tensor([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [-0.3, 0.2, 0.5]])


class GaussianEnergy:
    """N(MEAN, FACTOR FACTOR^T), with the conditionals that Gibbs sampling asks for."""

    def __init__(self):
        self.precision = torch.cholesky_inverse(FACTOR)

    def __call__(self, x):
        return ((x - MEAN) @ self.precision * (x - MEAN)).sum(1) / 2

    def sample_blocks(self, x, generator):
        for block in ([0], [1, 2]):
            x = self.redraw(x.clone(), block, generator)
        return x

    def redraw(self, x, block, generator):
        rest = [i for i in range(3) if i not in block]
        precision = self.precision[block][:, block]
        pull = (x - MEAN)[:, rest] @ self.precision[rest][:, block]
        factor = torch.linalg.cholesky(torch.linalg.inv(precision))
        noise = torch.randn(len(x), len(block), generator=generator)
        mean = MEAN[block] - pull @ torch.linalg.inv(precision)
        x[:, block] = mean + noise @ factor.mT
        return x


gaussian_energy = GaussianEnergy()


def gaussian_draws(n, generator):
    return MEAN + torch.randn(n, 3, generator=generator) @ FACTOR.mT


def mixture_energy(x):
    # 0.7 N(-1, I) + 0.3 N(1, I) along the first of three columns
    log_left = math.log(0.7) - (x[:, 0] + 1).square() / 2
    log_right = math.log(0.3) - (x[:, 0] - 1).square() / 2
    return x[:, 1:].square().sum(1) / 2 - torch.logaddexp(log_left, log_right)


def mixture_draws(n, generator):
    x = torch.randn(n, 3, generator=generator)
    left = torch.rand(n, generator=generator) < 0.7
    x[:, 0] += torch.where(left, -1.0, 1.0)
    return x


TARGETS = {
    "gaussian": (gaussian_energy, gaussian_draws),
    "mixture": (mixture_energy, mixture_draws),
}


class UncorrectedMALA(MALA):
    """Langevin steps without the Metropolis test: biased at a big step."""

    def propose(self, energy, point, step_size, generator):
        proposal, log_ratio = super().propose(energy, point, step_size, generator)
        return proposal, torch.zeros_like(log_ratio)


class SwappedHMC(HMC):
    """Energies before and after the motion change places in the Metropolis test."""

    def propose(self, energy, point, step_size, generator):
        end, log_ratio = super().propose(energy, point, step_size, generator)
        return end, -log_ratio


class AlwaysSwapping(ParallelTempering):
    """Neighbours swap whatever their energies."""

    @staticmethod
    def _log_ratio(cold, hot, ratio):
        return torch.zeros_like(cold.energy)


class OldConditionals(GaussianEnergy):
    """All blocks are drawn given the old values of the rest."""

    def sample_blocks(self, x, generator):
        new = [self.redraw(x.clone(), [i], generator)[:, i] for i in range(3)]
        return torch.stack(new, dim=1)


class PriorForgotten(LatentLangevin):
    """Latents follow exp(-E(g(z))) alone."""

    def latent_energy(self, energy):
        return lambda z: energy(self.decode(z))


def tilt(energy):
    """The energy that turns the identity generator's N(0, I) into the target."""
    return lambda x: energy(x) - x.square().sum(1) / 2


def discrepancy(sampler, target, seed, *, exact_start, n_steps):
    """Return the smallest p-value of tests of x against exact draws.

    Kolmogorov-Smirnov along random directions, t tests of means and second moments.
    """
    energy, draws = TARGETS[target]
    if isinstance(sampler, LatentLangevin):
        energy = tilt(energy)
    generator = torch.Generator().manual_seed(seed)
    start = draws(N_CHAINS, generator)
    if not exact_start:
        start = 3.0 + 0.1 * start
    x, _ = sampler.run(energy, start, n_steps=n_steps, generator=generator)
    return smallest_p_value(x, draws(N_CHAINS, generator), generator)


def smallest_p_value(x, exact, generator):
    directions = torch.randn(3, 6, generator=generator)
    p_values = []
    for a, b in zip((x @ directions).T, (exact @ directions).T, strict=True):
        p_values.append(stats.ks_2samp(a.numpy(), b.numpy()).pvalue)
        p_values.append(stats.ttest_ind(a.numpy(), b.numpy()).pvalue)
        p_values.append(stats.ttest_ind(a.numpy() ** 2, b.numpy() ** 2).pvalue)
    return min(p_values)


def identity(z):
    return z


EXACT = {
    "mala": MALA(step_size=0.7, n_adapt=0),
    "mala-adapted": MALA(step_size=0.1, n_adapt=40),
    "hmc": HMC(step_size=0.5, n_leapfrog_steps=3, n_adapt=0),
    "hmc-one-step": HMC(step_size=0.7, n_leapfrog_steps=1, n_adapt=0),
    "hmc-no-jitter": HMC(step_size=0.4, n_leapfrog_steps=3, jitter=0.0, n_adapt=0),
    "hmc-adapted": HMC(step_size=0.05, n_leapfrog_steps=3, n_adapt=40),
    "tempering": ParallelTempering(MALA(step_size=0.7, n_adapt=0), (1, 2, 4)),
    "latent": LatentLangevin(identity, MALA(step_size=0.7, n_adapt=0)),
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("exact_start", [True, False])
def test_invariance(name, target, exact_start):
    n_steps = 50 if exact_start else 200
    p_value = discrepancy(
        EXACT[name], target, seed=0, exact_start=exact_start, n_steps=n_steps
    )
    assert p_value > 1e-4  # 18 tests each, few of them independent


@pytest.mark.parametrize(
    "broken",
    [
        UncorrectedMALA(step_size=0.7, n_adapt=0),
        SwappedHMC(step_size=0.7, n_leapfrog_steps=3, n_adapt=0),
        AlwaysSwapping(MALA(step_size=0.7, n_adapt=0), (1, 3)),
        PriorForgotten(identity, MALA(step_size=0.7, n_adapt=0)),
    ],
    ids=lambda sampler: type(sampler).__name__,
)
@pytest.mark.parametrize("target", TARGETS)
def test_the_test_catches_a_broken_sampler(broken, target):
    p_value = discrepancy(broken, target, seed=0, exact_start=True, n_steps=100)
    assert p_value < 1e-6


@pytest.mark.parametrize("exact_start", [True, False])
def test_invariance_of_gibbs(exact_start):
    p_value = discrepancy(
        BlockGibbs(), "gaussian", seed=0, exact_start=exact_start, n_steps=50
    )
    assert p_value > 1e-4


def test_the_test_catches_broken_conditionals(monkeypatch):
    monkeypatch.setitem(TARGETS, "gaussian", (OldConditionals(), gaussian_draws))
    p_value = discrepancy(
        BlockGibbs(), "gaussian", seed=0, exact_start=True, n_steps=50
    )
    assert p_value < 1e-6


def langevin_draws(n, step_size, noise_scale, generator):
    r"""Exact draws of what Langevin dynamics leaves invariant on N(MEAN, C).

    x' = A x + \sigma \xi with A = I - s^2/2 C^-1 has the covariance
    \sigma^2 (I - A^2)^-1 = (\sigma / s)^2 (C^-1 - s^2/4 C^-2)^-1.
    """
    precision = torch.cholesky_inverse(FACTOR)
    tempered = precision - step_size**2 / 4 * precision @ precision
    covariance = torch.linalg.inv(tempered) * (noise_scale / step_size) ** 2
    factor = torch.linalg.cholesky(covariance)
    return MEAN + torch.randn(n, 3, generator=generator) @ factor.mT


@pytest.mark.parametrize("noise_scale", [None, 0.2])
@pytest.mark.parametrize("kind", [Langevin, LatentLangevin])
def test_langevin_leaves_its_own_density_invariant(kind, noise_scale):
    """Biased by a step size of 0.5, in closed form."""
    sampler = Langevin(step_size=0.5, noise_scale=noise_scale)
    energy = gaussian_energy
    if kind is LatentLangevin:
        sampler, energy = LatentLangevin(identity, sampler), tilt(energy)
    generator = torch.Generator().manual_seed(0)
    settings = (0.5, noise_scale or 0.5, generator)
    start = langevin_draws(N_CHAINS, *settings)
    x, _ = sampler.run(energy, start, n_steps=100, generator=generator)
    exact = langevin_draws(N_CHAINS, *settings)
    assert smallest_p_value(x, exact, generator) > 1e-4
    unbiased = gaussian_draws(N_CHAINS, generator)
    assert smallest_p_value(x, unbiased, generator) < 1e-6


@pytest.mark.parametrize("noise_scale", [0.05, 0.1, 0.15])
def test_decoupled_noise_has_its_temperature_in_every_replica(noise_scale):
    """Replica k follows exp(-E / (T T_k)), T = (noise_scale / step_size)^2."""
    sampler = ParallelTempering(Langevin(0.1, noise_scale=noise_scale), (1, 4, 16))
    generator = torch.Generator().manual_seed(0)
    start = gaussian_draws(N_CHAINS, generator)
    state = sampler.init(gaussian_energy, start)
    for _ in range(400):
        state = sampler.step(gaussian_energy, state, generator)
    assert sampler.temperature == pytest.approx((noise_scale / 0.1) ** 2)
    for temperature, replica in zip((1, 4, 16), state.replicas, strict=True):
        scale = noise_scale / 0.1 * temperature**0.5
        exact = MEAN + scale * (gaussian_draws(N_CHAINS, generator) - MEAN)
        assert smallest_p_value(replica.point.x, exact, generator) > 1e-4


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "sampler",
    [
        Langevin(step_size=0.1),
        ParallelTempering(Langevin(step_size=0.1), (1, 2)),
        LatentLangevin(identity, Langevin(step_size=0.1)),
    ],
    ids=lambda sampler: type(sampler).__name__,
)
def test_small_unadjusted_steps_are_nearly_invariant(sampler, target):
    p_value = discrepancy(sampler, target, seed=0, exact_start=True, n_steps=100)
    assert p_value > 1e-4


def mirrored(columns):
    """A transition that changes the sign of these columns in half of the rows."""

    def transition(x, generator):
        chosen = torch.rand(len(x), generator=generator) < 0.5
        sign = torch.ones_like(x)
        sign[:, columns] = torch.where(chosen, -1.0, 1.0)[:, None]
        return sign * x

    return transition


@pytest.mark.parametrize(("columns", "symmetric"), [([1, 2], True), ([0], False)])
def test_transitions_that_are_symmetries_leave_the_density_invariant(
    columns, symmetric
):
    """The mixture is symmetric in its last two columns, not in its first."""
    sampler = AugmentedLangevin(0.1, transitions=[mirrored(columns)], interval=5)
    p_value = discrepancy(sampler, "mixture", seed=0, exact_start=True, n_steps=50)
    assert p_value > 1e-4 if symmetric else p_value < 1e-6
