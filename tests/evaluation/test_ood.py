"""Scores of normality against closed forms under a Gaussian."""

import math

import pytest
import torch
from torch import nn

from skebm.evaluation import OOD_SCORES, ScoredModel
from skebm.networks import EnergyModel
from skebm.references import GaussianMixtureDensity
from skebm.utils import make_generator


class Tilt(nn.Module):
    """The critic c(x) = <b, x>: it moves a Gaussian's mean by C b."""

    def __init__(self, b):
        super().__init__()
        self.b = nn.Parameter(b)

    def forward(self, x):
        return (x @ self.b)[:, None]


@pytest.fixture
def gaussian():
    """Return a tilted Gaussian, and the same as a distribution of torch."""
    factor = torch.tensor([[1.0, 0.0], [0.6, 0.5]])
    mean, b = torch.tensor([0.3, -0.2]), torch.tensor([0.4, 1.0])
    reference = GaussianMixtureDensity(torch.ones(1), mean[None], factor[None])
    covariance = factor @ factor.T
    log_normalizer = b @ mean + 0.5 * b @ covariance @ b
    model = EnergyModel(Tilt(b), reference)
    scored = ScoredModel(
        model,
        lambda x: model.log_prob_unnormalized(x).double() - log_normalizer,
        lambda x: model.energy(x).double(),
    )
    exact = torch.distributions.MultivariateNormal(mean + covariance @ b, covariance)
    return scored, exact


def draws(exact, n):
    """Return draws of the distribution; torch's generators stay as they are."""
    noise = torch.randn(n, 2, generator=make_generator(0))
    return exact.mean + noise @ exact.scale_tril.T


def scores(name, scored, x, held_out=None):
    held_out = x if held_out is None else held_out
    with torch.no_grad():
        kind = OOD_SCORES[name].fit(scored, x, held_out, make_generator(0))
        return kind(scored, x)


def test_log_density(gaussian):
    scored, exact = gaussian
    x = draws(exact, 50)
    torch.testing.assert_close(
        scores("log_density", scored, x), exact.log_prob(x).double(), atol=1e-5, rtol=0
    )


def test_negative_energy(gaussian):
    scored, exact = gaussian
    x = draws(exact, 50)
    expected = (x @ scored.model.network.b).double()
    found = scores("negative_energy", scored, x)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)


def test_typicality_is_highest_at_the_entropy(gaussian):
    """Of a Gaussian, on the ellipse of squared radius d, and neither in nor out."""
    scored, exact = gaussian
    held_out = draws(exact, 200_000)
    directions = torch.tensor([[1.0, 0.0], [0.6, 0.8], [-0.8, 0.6]])
    radii = torch.tensor([0.0, 1.0, math.sqrt(2), 2.0, 5.0])
    for direction in directions:
        x = exact.mean + radii[:, None] * (exact.scale_tril @ direction)
        found = scores("typicality", scored, x, held_out)
        expected = -(radii**2 / 2 - 1).abs().double()
        torch.testing.assert_close(found, expected, atol=0.02, rtol=0)


def test_gradient_norm(gaussian):
    scored, exact = gaussian
    x = draws(exact, 50)
    expected = -(exact.precision_matrix @ (x - exact.mean).T).norm(dim=0).double()
    found = scores("gradient_norm", scored, x)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_gradients_are_no_concern_of_the_caller(gaussian, mode):
    scored, _ = gaussian
    with mode():
        found = OOD_SCORES["gradient_norm"]()(scored, torch.zeros(2, 2))
    assert torch.isfinite(found).all()
    assert not found.requires_grad
    assert scored.model.network.b.grad is None
