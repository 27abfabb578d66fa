"""Scores of normality against closed forms under a Gaussian."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from skebm.evaluation import OOD_SCORES, ScoredModel
from skebm.evaluation.outliers._score import ENOUGH_HELD_OUT, optimism
from skebm.networks import EnergyModel
from skebm.references import GaussianMixtureDensity, UniformBox
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


def draws(exact, n, seed=0):
    """Return draws of the distribution; torch's generators stay as they are."""
    noise = torch.randn(n, 2, generator=make_generator(seed))
    return exact.mean + noise @ exact.scale_tril.T


def fit(name, scored, train, held_out=None, max_steps=100):
    held_out = train if held_out is None else held_out
    generator = make_generator(0)
    with torch.no_grad():
        return OOD_SCORES[name].fit(scored, train, held_out, generator, max_steps)


def scores(name, scored, x, held_out=None):
    return fit(name, scored, x, held_out)(scored, x)


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


# ------------------------------------------------------------------ learnt scores


def test_blurred_density_is_that_of_rows_with_noise(gaussian):
    """Of a Gaussian reference: the same with a wider covariance."""
    scored, exact = gaussian
    x = draws(exact, 50)
    reference = scored.model.reference
    blurred = torch.distributions.MultivariateNormal(
        reference.means[0], exact.covariance_matrix + 0.4**2 * torch.eye(2)
    )
    expected = blurred.log_prob(x).double()
    found = scores("blurred_density", scored, x)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_mixture_density_is_the_references_without_its_tilt(gaussian):
    scored, exact = gaussian
    x = draws(exact, 50)
    reference = scored.model.reference
    expected = torch.distributions.MultivariateNormal(
        reference.means[0], exact.covariance_matrix
    )
    found = scores("mixture_density", scored, x)
    expected = expected.log_prob(x).double()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_blurred_density_fits_a_mixture_where_the_reference_is_none(gaussian):
    """Of normal rows, with any reference: near the blurred normal density."""
    x = torch.randn(3000, 2, generator=make_generator(1))
    box = UniformBox(torch.full((2,), -9.0), torch.full((2,), 9.0))
    scored = replace(gaussian[0], model=EnergyModel(Tilt(torch.zeros(2)), box))
    found = fit("blurred_density", scored, x)(scored, x)
    variance = 1 + 0.4**2
    expected = -x.square().sum(dim=1) / (2 * variance) - math.log(
        2 * math.pi * variance
    )
    assert (found - expected).abs().mean() < 0.05


def test_noise_contrast_is_the_log_ratio_to_wide_noise(gaussian):
    """Of normal rows: log N(x; 0, I) - log N(x; 0, 25 I), and the same with 9 I."""
    x = torch.randn(3000, 2, generator=make_generator(1))
    score = fit("noise_contrast", gaussian[0], x, max_steps=600)
    radius = torch.linspace(0, 3, 7)
    points = radius[:, None] * torch.tensor([0.6, -0.8])
    for network, width in zip(score.networks, (5.0, 3.0), strict=True):
        expected = 2 * math.log(width) - radius**2 * (1 - width**-2) / 2
        error = (network(points)[:, 0] - expected).abs()
        assert error[radius <= 2].max() < 0.5
        assert error.mean() < 0.4
    values = torch.cat([network(x) for network in score.networks], dim=1).double()
    standardised = (values - values.mean(dim=0)) / values.std(dim=0, correction=0)
    torch.testing.assert_close(score(gaussian[0], x), standardised.mean(dim=1))


def test_noise_follows_the_covariance_of_the_rows(gaussian):
    """The second net: log N(x; m, C) - log N(x; m, 9 C) of Gaussian rows."""
    scored, exact = gaussian
    x = draws(exact, 3000)
    score = fit("noise_contrast", scored, x, max_steps=600)
    radius = torch.linspace(0, 2, 5)
    for direction in torch.tensor([[1.0, 0.0], [0.6, 0.8], [-0.8, 0.6]]):
        points = exact.mean + radius[:, None] * (exact.scale_tril @ direction)
        expected = 2 * math.log(3) - radius**2 * (1 - 1 / 9) / 2
        error = (score.networks[1](points)[:, 0] - expected).abs()
        assert error.max() < 0.6


def test_noise_contrast_takes_no_more_steps_than_it_may(gaussian):
    x = torch.randn(50, 2, generator=make_generator(1))
    untrained = fit("noise_contrast", gaussian[0], x, max_steps=0)
    assert not untrained(gaussian[0], x).any()
    assert fit("noise_contrast", gaussian[0], x, max_steps=1)(gaussian[0], x).any()


@pytest.mark.parametrize("n_held_out", [100, ENOUGH_HELD_OUT])
def test_combined_is_the_mean_of_both_standardised(gaussian, n_held_out):
    """By held-out rows, and where these are few by the training rows as left out."""
    scored, exact = gaussian
    x = draws(exact, 200 + n_held_out)
    train, held_out = x[:200], x[200:]
    combined = fit("combined", scored, train, held_out)
    expected = 0
    for part in (combined.density, combined.contrast):
        by = part(scored, held_out)
        if n_held_out < ENOUGH_HELD_OUT:
            by = torch.cat([by, part.left_out(scored, train, held_out)])
        expected = expected + (part(scored, x) - by.mean()) / by.std(correction=0) / 2
    torch.testing.assert_close(combined(scored, x), expected)


def test_few_rows_are_judged_by_nets_that_did_not_see_them(gaussian):
    """Nets that learn rows by heart score them so high that many new rows lie below."""
    scored, exact = gaussian
    x, fresh = draws(exact, 40), draws(exact, 2000, seed=1)
    score = fit("noise_contrast", scored, x, max_steps=600)
    assert len(score.networks) == 2 * 4
    new = score(scored, fresh)
    below, by_heart = (
        float((new < values.quantile(0.1)).double().mean())
        for values in (score.left_out(scored, x, x), score(scored, x))
    )
    assert 0.02 < below < 0.18
    assert below < by_heart


@pytest.mark.parametrize("seed", range(3))
def test_optimism_is_what_the_means_tell_beyond_their_error(seed):
    generator = make_generator(seed)
    held_out = torch.randn(400, generator=generator).double()
    train = torch.randn(4000, generator=generator).double()
    assert optimism(train, held_out) < 0.15
    assert optimism(train - 1, held_out) == 0
    assert optimism(train + 1, held_out) == pytest.approx(1, abs=0.15)
    assert optimism(train + 0.5, held_out[:1].zero_()) == 0
    assert optimism(train[:1], train[:1]) == 0


@pytest.mark.parametrize("name", OOD_SCORES)
def test_a_score_is_rebuilt_from_its_arrays(name, gaussian):
    scored, exact = gaussian
    x = draws(exact, 60)
    score = fit(name, scored, x, max_steps=5)
    arrays = {key: array.clone() for key, array in score.arrays().items()}
    twin = type(score).from_arrays(arrays)
    torch.testing.assert_close(twin(scored, x), score(scored, x), atol=0, rtol=0)
    again = fit(name, scored, x, max_steps=5)
    torch.testing.assert_close(again(scored, x), score(scored, x), atol=0, rtol=0)


@pytest.mark.parametrize("name", OOD_SCORES)
def test_scores_are_double_and_finite_where_rows_are_alike(name, gaussian):
    x = torch.ones(40, 2)
    found = fit(name, gaussian[0], x, max_steps=2)(gaussian[0], x)
    assert found.dtype == torch.float64
    assert found.shape == (40,)
    assert torch.isfinite(found).all()
