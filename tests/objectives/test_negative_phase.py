"""The negative phase: its mixture's density, and what its weights estimate."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from skebm.objectives.amortized._negative_phase import (
    NegativePhase,
    mixture_log_density,
)
from skebm.references import GaussianMixtureDensity


def test_density_of_the_mixture():
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(50, 3, generator=rng)
    means = torch.randn(7, 3, generator=rng)
    scales = 0.2 + torch.rand(7, generator=rng)
    kernels = [
        multivariate_normal(mean, scale**2).logpdf(x.numpy())
        for mean, scale in zip(means.numpy(), scales.tolist(), strict=True)
    ]
    exact = logsumexp(kernels, axis=0) - np.log(7)
    np.testing.assert_allclose(mixture_log_density(x, means, scales), exact, atol=1e-3)


@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_weights_correct_a_wrong_generator(shift):
    """E_p[x] and E_p[x^2] of a Gaussian tilt, from a generator that is neither."""
    rng = torch.Generator().manual_seed(0)
    reference = GaussianMixtureDensity(
        torch.ones(1), torch.zeros(1, 2), torch.eye(2)[None]
    )
    scale = torch.tensor(0.3)

    def generate(n):
        means = 0.8 * torch.randn(n, 2, generator=rng) + shift
        return means + scale * torch.randn(n, 2, generator=rng), means

    x, means = generate(512)
    phase = NegativePhase(x, means, 0.3, reference, 0.2)
    moments = []
    for step in range(800):
        x, means = generate(100)
        log_reference = reference.log_prob(x)
        phase.remember(x, means, scale, log_reference)
        rows, log_ratio = phase.draw(x, means, scale, log_reference, reference, rng)
        energy = -rows.sum(1)  # tilts N(0, I) to N(1, I)
        weights = phase.weights(log_ratio, energy)
        if step >= 100:
            moments.append([weights.sum(), weights @ rows[:, 0]])
            moments[-1].append(weights @ rows[:, 0] ** 2)
    total, first, second = np.mean(moments, axis=0)
    assert total == pytest.approx(1, abs=0.06)
    assert first / total == pytest.approx(1, abs=0.06)
    assert second / total == pytest.approx(2, abs=0.1)


def test_memory_forgets_the_oldest():
    reference = GaussianMixtureDensity(
        torch.ones(1), torch.zeros(1, 1), torch.eye(1)[None]
    )
    phase = NegativePhase(torch.zeros(5, 1), torch.zeros(5, 1), 1, reference, 0.2)
    for value in (1.0, 2.0, 3.0):
        x = torch.full((2, 1), value)
        phase.remember(x, x, torch.tensor(0.5), reference.log_prob(x))
    assert sorted(phase.x[:, 0].tolist()) == [1, 2, 2, 3, 3]
    np.testing.assert_allclose(phase.log_reference, reference.log_prob(phase.x))
