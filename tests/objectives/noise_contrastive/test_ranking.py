"""Ranking NCE against an integral and at its minimum."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

from skebm.networks import EnergyModel
from skebm.objectives import Batch, RankingNCE
from skebm.references import GaussianMixtureDensity

pytestmark = pytest.mark.usefixtures("seeded")

ONE = torch.ones(1, dtype=torch.float64)


def gaussian(mean, scale):
    return GaussianMixtureDensity(ONE, mean * ONE[None], scale * ONE[None, None])


DATA, NOISE = gaussian(0.3, 0.8), gaussian(0.0, 1.0)


class Quadratic(nn.Module):
    """b x + c x^2: the critic of a Gaussian beside a normal reference."""

    def __init__(self, mean, scale):
        super().__init__()
        slopes = torch.tensor([mean / scale**2, 0.5 - 0.5 / scale**2])
        self.slopes = nn.Parameter(slopes.double())

    def forward(self, x):
        return torch.cat([x, x * x], dim=1) @ self.slopes[:, None]


def draws(n_noise, mean, scale):
    """Return the loss and its gradient for many batches."""
    model = EnergyModel(Quadratic(mean, scale), NOISE)
    rng, losses, slopes = torch.Generator().manual_seed(0), [], []
    for _ in range(60):
        batch = Batch(DATA.sample(1000, rng))
        loss = next(iter(RankingNCE(n_noise).step(model, batch, nn.Module(), rng)))
        losses.append(loss.value.detach())
        slopes += torch.autograd.grad(loss.value, model.network.slopes)
    return torch.stack(losses), torch.stack(slopes)


def standard_error(values):
    return values.std(0) / math.sqrt(len(values))


def test_one_noise_row_against_quadrature():
    found, _ = draws(1, -0.2, 1.1)
    x = torch.linspace(-8, 8, 801, dtype=torch.float64)[:, None]
    critic = Quadratic(-0.2, 1.1)(x)[:, 0].detach()
    weight = DATA.log_prob(x)[:, None] + NOISE.log_prob(x)
    exact = (weight.exp() * softplus(critic - critic[:, None])).sum() * 0.02**2
    assert abs(found.mean() - exact) < 3 * standard_error(found)


@pytest.mark.parametrize("n_noise", [1, 8])
def test_the_data_are_the_minimum(n_noise):
    def z_scores(mean, scale):
        _, slopes = draws(n_noise, mean, scale)
        return (slopes.mean(0) / standard_error(slopes)).abs()

    assert (z_scores(0.3, 0.8) < 3).all()
    assert (z_scores(0.1, 0.8) > 5).any()
    assert (z_scores(0.3, 0.9) > 5).any()
