"""VERA against closed forms: a linear generator is probabilistic PCA."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from skebm import EBMDensityEstimator
from skebm.objectives import VERA
from skebm.objectives.amortized._entropy import (
    draw_posterior,
    elbo_gradient,
    importance_sampled_score,
)
from skebm.references import GaussianMixtureDensity, Reference

LATENT_DIM, NOISE = 3, 0.5


def posterior_draws(ppca, x, n_repeats, n_samples, rng):
    """Scores estimated from latents drawn anew from the exact posterior of each x."""
    net, axes, precision, _ = ppca
    mean = torch.linalg.solve(precision, axes.T @ (x - 0.5).T / NOISE**2).T
    factor = torch.linalg.cholesky(torch.linalg.inv(precision))
    noise = torch.randn(n_repeats, *mean.shape, generator=rng)
    z = (mean + noise @ factor.T).flatten(0, 1)
    width = precision.diagonal().rsqrt()
    draws = draw_posterior(net, x.repeat(n_repeats, 1), z, width, n_samples, rng)
    return importance_sampled_score(draws).unflatten(0, (n_repeats, len(x)))


def relative_bias(ppca, n_samples):
    net, _, _, covariance = ppca
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        x = net.sample(16, rng)[0]
    exact = -torch.linalg.solve(covariance, (x - 0.5).T).T
    estimates = posterior_draws(ppca, x, 2000, n_samples, rng)
    return float((estimates.mean(0) - exact).norm() / exact.norm())


def test_score_of_a_linear_generator(ppca):
    """Bias under 5 % at 20 draws and eta at its optimum, and falling with more."""
    few, usual, many = (relative_bias(ppca, n) for n in (5, 20, 80))
    assert usual < 0.05
    assert many < usual < few


def test_width_of_the_posterior_draws(ppca):
    """The ELBO's gradient leads eta to 1 / sqrt of the posterior precision."""
    net, _, precision, _ = ppca
    rng = torch.Generator().manual_seed(2)
    log_width = torch.full((LATENT_DIM,), math.log(0.1))
    for step in range(600):
        with torch.no_grad():
            x, z, _ = net.sample(200, rng)
        draws = draw_posterior(net, x, z, log_width.exp(), 20, rng)
        log_width += 0.1 / (1 + step / 20) * elbo_gradient(draws).clamp(-5, 5)
    np.testing.assert_allclose(log_width.exp(), precision.diagonal().rsqrt(), rtol=0.03)


def test_the_gradient_of_the_width_is_that_of_the_elbo(ppca):
    """Against the closed form 1 - eta^2 P_jj at a width that is not the optimum."""
    net, _, precision, _ = ppca
    rng = torch.Generator().manual_seed(3)
    width = torch.tensor([0.05, 0.1, 0.3])
    with torch.no_grad():
        x, z, _ = net.sample(40_000, rng)
    draws = draw_posterior(net, x, z, width, 20, rng)
    exact = 1 - width.square() * precision.diagonal()
    np.testing.assert_allclose(elbo_gradient(draws), exact, atol=0.03)


class WideGaussian(Reference):
    """A reference twice as wide as standardised rows."""

    def fit(self, x, *, weight, generator):
        d = x.shape[1]
        return GaussianMixtureDensity(
            torch.ones(1), torch.zeros(1, d), 2 * torch.eye(d)[None]
        )


@pytest.mark.parametrize("entropy_weight", [1.0, 0.01])
def test_standard_normal_is_recovered(entropy_weight):
    """The division of the critic by lambda makes it a log density at every lambda."""
    X = np.random.RandomState(0).normal(size=(2000, 1))
    model = EBMDensityEstimator(
        VERA(entropy_weight=entropy_weight),
        network="mlp",
        reference=WideGaussian(),
        max_iter=50,
        random_state=0,
    ).fit(X)
    x = np.linspace(-6, 6, 2001)
    step = x[1] - x[0]
    density = np.exp(model.score_samples(x[:, None]))
    mean = (x * density).sum() * step
    scale = np.sqrt((x**2 * density).sum() * step - mean**2)
    exact = norm.pdf(x)
    divergence = (exact * np.log(exact / density)).sum() * step
    assert density.sum() * step == pytest.approx(1, abs=0.02)
    assert mean == pytest.approx(X.mean(), abs=0.06)
    assert scale == pytest.approx(X.std(), abs=0.06)
    assert divergence < 0.015  # the untrained reference is 0.32 nats away
    untrained = norm.logpdf(x, scale=2 * X.std())
    assert (exact * (np.log(exact) - untrained)).sum() * step > 0.3


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("entropy_weight", 0.0),
        ("n_importance_samples", 2),
        ("latent_dim", -1),
        ("gradient_penalty", -0.1),
        ("reference_share", 1.0),
        ("memory_size", 0),
    ],
)
def test_options_out_of_range_are_named_before_training(option, value):
    objective = VERA().set_params(**{option: value})
    with pytest.raises(ValueError, match=f"'{option}' parameter of VERA must be"):
        EBMDensityEstimator(objective).fit(np.random.RandomState(0).normal(size=(9, 2)))
