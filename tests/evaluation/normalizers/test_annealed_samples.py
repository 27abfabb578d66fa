"""Draws follow the model's own density: moments, masses of modes, support."""

import math

import pytest
import torch
from scipy import stats

from skebm.evaluation import annealed_samples
from skebm.evaluation.normalizers._particles import covariance_factor, resample


class Normal:
    """The reference N(0, I)."""

    def __init__(self, n_features):
        self.n_features = n_features

    def log_prob(self, x):
        return -(x.square() + math.log(2 * math.pi)).sum(1) / 2

    def sample(self, n_samples, generator):
        return torch.randn(n_samples, self.n_features, generator=generator)


class Box(Normal):
    """The uniform density on [0, 1]^d."""

    def log_prob(self, x):
        return torch.where(((x >= 0) & (x <= 1)).all(1), 0.0, -math.inf)

    def sample(self, n_samples, generator):
        return torch.rand(n_samples, self.n_features, generator=generator)


@pytest.mark.parametrize("sampler", ["hmc", "mala"])
def test_moments_of_a_gaussian_tilt(sampler):
    reference = Normal(4)
    mean, scale = torch.tensor([2.0, -1.0, 0.0, 1.0]), torch.tensor([0.2, 1, 0.5, 2])

    def energy(x):
        return ((x - mean) / scale).square().sum(1) / 2 + reference.log_prob(x)

    x = annealed_samples(
        energy,
        reference,
        2000,
        generator=torch.Generator().manual_seed(0),
        sampler=sampler,
    )
    z = (x - mean) / scale
    assert z.mean(0).abs().max() < 0.1
    assert (z.T @ z / len(z) - torch.eye(4)).abs().max() < 0.15
    assert len(x.unique(dim=0)) > 1900  # duplicates separate
    for column in z.T:
        assert stats.kstest(column.numpy(), "norm").pvalue > 1e-3


def test_terms_one_after_another_end_at_their_sum():
    """Parts of a Gaussian tilt that are each far from their sum."""
    reference = Normal(3)
    mean, scale = torch.tensor([1.5, -1.0, 0.5]), torch.tensor([0.3, 0.6, 1.0])

    def coarse(x):
        return (x.sum(1) - mean.sum()).square()

    def fine(x):
        whole = ((x - mean) / scale).square().sum(1) / 2 + reference.log_prob(x)
        return whole - coarse(x)

    x = annealed_samples(
        lambda x: coarse(x) + fine(x),
        reference,
        2000,
        generator=torch.Generator().manual_seed(0),
        terms=[coarse, fine],
    )
    z = (x - mean) / scale
    assert z.mean(0).abs().max() < 0.1
    assert (z.T @ z / len(z) - torch.eye(3)).abs().max() < 0.15


def mixture_energy(reference, weights, distance):
    """E of the tilt to weights[0] N(distance e_1, I/4) + weights[1] N(-, I/4)."""

    def energy(x):
        rest = x[:, 1:].square().sum(1)
        logs = [
            math.log(w) - 2 * ((x[:, 0] - c).square() + rest)
            for w, c in zip(weights, (distance, -distance), strict=True)
        ]
        return reference.log_prob(x) - torch.logaddexp(*logs)

    return energy


@pytest.mark.parametrize("n_features", [2, 10])
def test_masses_of_modes(n_features):
    reference = Normal(n_features)
    energy = mixture_energy(reference, (0.8, 0.2), 2.0)
    masses = torch.tensor(
        [
            annealed_samples(
                energy, reference, 1000, generator=torch.Generator().manual_seed(seed)
            )[:, 0]
            .gt(0)
            .double()
            .mean()
            for seed in range(10)
        ]
    )
    assert abs(masses.mean() - 0.8) < 0.02  # a binomial's standard error is 0.004
    assert masses.std() < 0.04


def test_masses_in_single_draws():
    reference = Normal(2)
    energy = mixture_energy(reference, (0.8, 0.2), 2.0)
    generator = torch.Generator().manual_seed(0)
    x = [
        annealed_samples(energy, reference, 2, generator=generator, min_particles=200)
        for _ in range(25)
    ]
    assert abs((torch.cat(x)[:, 0] > 0).double().mean() - 0.8) < 0.2


def test_draws_stay_in_the_box_with_exact_edges():
    reference = Box(3)
    x = annealed_samples(
        lambda x: -4 * x.sum(1),  # piles up at the upper bounds
        reference,
        2000,
        generator=torch.Generator().manual_seed(0),
    )
    assert (reference.log_prob(x) == 0).all()
    exact = stats.truncexpon(b=4, scale=0.25)
    for column in x.T:
        assert stats.kstest(1 - column.numpy(), exact.cdf).pvalue > 1e-3


def test_no_tilt_gives_reference_draws():
    x = annealed_samples(
        lambda x: torch.zeros(len(x)),
        Normal(3),
        500,
        generator=torch.Generator().manual_seed(0),
    )
    assert x.shape == (500, 3)
    assert stats.kstest(x.flatten().numpy(), "norm").pvalue > 1e-3


def test_errors():
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(ValueError, match="n_samples must be at least 1"):
        annealed_samples(torch.zeros_like, Normal(2), 0, generator=generator)
    with pytest.raises(FloatingPointError, match="inf at every particle"):
        annealed_samples(
            lambda x: torch.full((len(x),), torch.inf),
            Normal(2),
            10,
            generator=generator,
        )


def test_resampling_is_systematic():
    log_weights = torch.tensor([0.5, 0.25, 0.125, 0.125]).log().repeat_interleave(2)
    counts = resample(log_weights, torch.Generator().manual_seed(0)).bincount(
        minlength=8
    )
    expected = log_weights.softmax(0) * 8
    assert ((counts - expected).abs() < 1).all()


@pytest.mark.parametrize("n", [3, 50, 5000])
def test_covariance_factor(n):
    x = torch.randn(n, 4, generator=torch.Generator().manual_seed(0)).cumsum(1)
    factor = covariance_factor(x)
    assert (factor.diagonal() > 0).all()
    if n == 5000:
        assert torch.allclose(factor @ factor.T, torch.cov(x.T), atol=1e-3)
