"""The negative phase: its mixture's density, and what its weights estimate."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from skebm.objectives.amortized._negative_phase import NegativePhase
from skebm.references import GaussianMixtureDensity
from skebm.references._kernels import RoundMixture


def standard_normal(d):
    return GaussianMixtureDensity(torch.ones(1), torch.zeros(1, d), torch.eye(d)[None])


def test_density_of_the_mixture():
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(50, 3, generator=rng)
    means = torch.randn(7, 3, generator=rng)
    scales = 0.2 + torch.rand(7, generator=rng)
    weight = torch.tensor([1.0, 0, 2, 3, 4, 5, 6])
    kernels = [
        multivariate_normal(mean, scale**2).logpdf(x.numpy())
        for mean, scale in zip(means.numpy(), scales.tolist(), strict=True)
    ]
    even = RoundMixture.about(means, scales)
    exact = logsumexp(kernels, axis=0) - np.log(7)
    np.testing.assert_allclose(even.log_density(x), exact, atol=1e-3)
    half = RoundMixture.about(means, scales, weight).part(0.5)
    exact = logsumexp(kernels, axis=0, b=weight[:, None] / 42)
    np.testing.assert_allclose(half.log_density(x), exact, atol=1e-3)
    both = RoundMixture.join([half, even.part(0.5)]).log_density(x)
    exact = torch.logaddexp(half.log_density(x), even.log_density(x) - np.log(2))
    np.testing.assert_allclose(both, exact, atol=1e-3)


def test_components_are_picked_by_their_posterior():
    means = torch.tensor([[0.0, 0.0], [1.0, 0.0], [60.0, 0.0]])
    scales, weight = torch.tensor([0.5, 1.0, 1.0]), torch.tensor([1.0, 3.0, 2.0])
    mixture = RoundMixture.about(means, scales, weight)
    x = torch.tensor([0.3, -0.2]).expand(20_000, 2)
    picked = mixture.pick(x, torch.Generator().manual_seed(0))
    density = [
        multivariate_normal(mean, scale**2).pdf([0.3, -0.2])
        for mean, scale in zip(means.numpy(), scales.tolist(), strict=True)
    ]
    exact = density * weight.numpy() / (density @ weight.numpy())
    found = np.bincount(picked, minlength=3) / len(x)
    error = np.sqrt(exact * (1 - exact) / len(x))
    assert (np.abs(found - exact) <= 3 * error).all()
    assert 0.1 < exact[0] < 0.9


def test_draws_of_the_mixture():
    """Each kernel gets its share of the draws, with its own width."""
    means = torch.tensor([[-9.0, 0.0], [0.0, 0.0], [9.0, 0.0]])
    mixture = RoundMixture(
        means, torch.tensor([0.1, 1.0, 0.5]), torch.tensor([0.2, 0.0, 0.8]).log()
    )
    x = mixture.sample(20_000, torch.Generator().manual_seed(0))
    side = (x[:, 0] / 9).round()
    assert (side == 0).sum() == 0
    assert (side < 0).double().mean() == pytest.approx(0.2, abs=0.01)
    assert x[side < 0].std(0).tolist() == pytest.approx([0.1, 0.1], rel=0.05)
    assert x[side > 0].std(0).tolist() == pytest.approx([0.5, 0.5], rel=0.05)


@pytest.mark.parametrize("shift", [0.0, 0.7])
@pytest.mark.parametrize("local_share", [0.0, 0.1, 0.4])
def test_weights_correct_a_wrong_generator(shift, local_share):
    """1, x and x^2 under N(0, I), tilted, from draws of another density."""
    rng = torch.Generator().manual_seed(0)
    reference = standard_normal(2)
    scale = torch.tensor(0.3)

    def generate(n):
        means = 0.8 * torch.randn(n, 2, generator=rng) + shift
        return means + scale * torch.randn(n, 2, generator=rng), means

    phase = NegativePhase(*generate(512), 0.3, reference, 0.2, local_share)
    plain, weighted = [], []
    for _ in range(600):
        x, means = generate(100)
        log_reference = reference.log_prob(x)
        phase.remember(x, means, scale, log_reference)
        rows = 2 * torch.randn(30, 2, generator=rng)
        local = RoundMixture.about(rows, 0.5, torch.rand(30, generator=rng))
        latest = RoundMixture.about(means, scale)
        rows, log_ratio = phase.draw(x, latest, log_reference, reference, local, rng)
        assert len(rows) == 250
        energy = -rows.sum(1) / 2
        values = torch.stack([torch.ones(250), rows[:, 0], rows[:, 0] ** 2], 1)
        plain.append(((log_ratio - energy).exp() @ values / 250).double().numpy())
        weighted.append((phase.weights(log_ratio, energy) @ values).double().numpy())
    # Without Z's estimate the weights are unbiased: Z = e^(1/4), x of N(1/2, I).
    blocks = np.reshape(plain, (30, 20, 3)).mean(1)  # draws stay in memory a while
    error = blocks.std(0, ddof=1) / 30**0.5
    exact = np.exp(0.25) * np.array([1, 0.5, 1.25])
    assert (np.abs(blocks.mean(0) - exact) < 3 * error).all()
    assert (error < 0.02 * exact).all()
    total, first, second = np.mean(weighted[100:], axis=0)
    assert total == pytest.approx(1, abs=0.06)
    assert first / total == pytest.approx(0.5, abs=0.03)
    assert second / total == pytest.approx(1.25, abs=0.06)


@pytest.mark.parametrize(("local_share", "seen"), [(0.0, False), (0.1, True)])
def test_a_spike_in_the_tail_of_the_reference_is_seen(local_share, seen):
    """Where neither generator nor reference draws, an energy would sink unpunished."""
    rng = torch.Generator().manual_seed(0)
    reference = standard_normal(1)
    data = torch.tensor([[0.0], [1.0], [40.0]])

    def spike(x):
        return 802.0 * torch.exp(-((x[:, 0] - 40) ** 2) / 8)

    axis = torch.linspace(-8, 45, 20_000, dtype=torch.float64)[:, None]
    log_model = reference.double().log_prob(axis) + spike(axis)
    exact = torch.trapezoid(log_model.exp(), axis[:, 0]).item()
    assert exact > 10  # of which the spike has all but one
    reference = reference.float()

    def generate(n):
        means = torch.randn(n, 1, generator=rng)
        return means + 0.3 * torch.randn(n, 1, generator=rng), means

    phase = NegativePhase(*generate(512), 0.3, reference, 0.2, local_share)
    masses = []
    for _ in range(500):
        x, means = generate(100)
        latest = RoundMixture.about(means, torch.tensor(0.3))
        local = RoundMixture.about(data, 0.5)
        rows, log_ratio = phase.draw(
            x, latest, reference.log_prob(x), reference, local, rng
        )
        masses.append((log_ratio + spike(rows)).double().exp().mean().item())
    error = np.std(masses) / 500**0.5
    assert error < 0.05 * exact
    expected = exact if seen else 1.0
    assert np.mean(masses) == pytest.approx(expected, abs=3 * error + 0.01)


def test_memory_forgets_the_oldest():
    reference = standard_normal(1)
    zeros = torch.zeros(5, 1)
    phase = NegativePhase(zeros, zeros, 1, reference, 0.2, 0.1)
    for value in (1.0, 2.0, 3.0):
        x = torch.full((2, 1), value)
        phase.remember(x, x, torch.tensor(0.5), reference.log_prob(x))
    assert sorted(phase.x[:, 0].tolist()) == [1, 2, 2, 3, 3]
    np.testing.assert_allclose(phase.log_reference, reference.log_prob(phase.x))
