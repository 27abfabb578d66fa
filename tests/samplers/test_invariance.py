"""Every sampler leaves its density invariant, and a broken one is caught."""

import math

import pytest
import torch
from scipy import stats

from skebm.samplers import HMC, MALA

N_CHAINS = 4000
MEAN = torch.tensor([1.0, -0.5, 0.0])
FACTOR = torch.tensor([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [-0.3, 0.2, 0.5]])


def gaussian_energy(x):
    z = torch.linalg.solve_triangular(FACTOR, (x - MEAN).mT, upper=False)
    return z.square().sum(0) / 2


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


def discrepancy(sampler, target, seed, *, exact_start, n_steps):
    """Return the smallest p-value of tests of x against exact draws.

    Kolmogorov-Smirnov along random directions, t tests of means and second moments.
    """
    energy, draws = TARGETS[target]
    generator = torch.Generator().manual_seed(seed)
    start = draws(N_CHAINS, generator)
    if not exact_start:
        start = 3.0 + 0.1 * start
    x, _ = sampler.run(energy, start, n_steps=n_steps, generator=generator)
    exact = draws(N_CHAINS, generator)
    directions = torch.randn(3, 6, generator=generator)
    p_values = []
    for a, b in zip((x @ directions).T, (exact @ directions).T, strict=True):
        p_values.append(stats.ks_2samp(a.numpy(), b.numpy()).pvalue)
        p_values.append(stats.ttest_ind(a.numpy(), b.numpy()).pvalue)
        p_values.append(stats.ttest_ind(a.numpy() ** 2, b.numpy() ** 2).pvalue)
    return min(p_values)


SAMPLERS = {
    "mala": MALA(step_size=0.7),
    "mala-adapted": MALA(step_size=0.1, n_adapt=40),
    "hmc": HMC(step_size=0.5, n_leapfrog_steps=3),
    "hmc-one-step": HMC(step_size=0.7, n_leapfrog_steps=1),
    "hmc-no-jitter": HMC(step_size=0.4, n_leapfrog_steps=3, jitter=0.0),
    "hmc-adapted": HMC(step_size=0.05, n_leapfrog_steps=3, n_adapt=40),
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("exact_start", [True, False])
def test_invariance(name, target, exact_start):
    sampler = SAMPLERS[name]
    n_steps = 100 if exact_start else 200
    p_value = discrepancy(
        sampler, target, seed=0, exact_start=exact_start, n_steps=n_steps
    )
    assert p_value > 1e-4  # 18 tests each, few of them independent


@pytest.mark.parametrize(
    "broken",
    [
        UncorrectedMALA(step_size=0.7),
        SwappedHMC(step_size=0.7, n_leapfrog_steps=3),
    ],
    ids=lambda sampler: type(sampler).__name__,
)
@pytest.mark.parametrize("target", TARGETS)
def test_the_test_catches_a_broken_sampler(broken, target):
    p_value = discrepancy(broken, target, seed=0, exact_start=True, n_steps=100)
    assert p_value < 1e-6
