"""Fixture: a generator with a known density."""

import pytest
import torch

from skebm.networks import GeneratorMLP

N_FEATURES, LATENT_DIM, NOISE = 8, 3, 0.5


@pytest.fixture(scope="module")
def ppca():
    """A linear generator and, in closed form, its score and posterior."""
    rng = torch.Generator().manual_seed(0)
    net = GeneratorMLP(LATENT_DIM, N_FEATURES, noise_scale=NOISE)
    with torch.no_grad():
        for parameter in net.nonlinear.parameters():
            parameter.zero_()
        axes = torch.randn(N_FEATURES, LATENT_DIM, generator=rng)
        net.linear.weight.copy_(axes)
        net.linear.bias.fill_(0.5)
    precision = torch.eye(LATENT_DIM) + axes.T @ axes / NOISE**2
    covariance = axes @ axes.T + NOISE**2 * torch.eye(N_FEATURES)
    return net, axes, precision, covariance
