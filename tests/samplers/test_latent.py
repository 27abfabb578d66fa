"""Latent sampling against the closed form of a linear generator."""

import pytest
import torch

from skebm.networks import GeneratorMLP
from skebm.samplers import HMC, MALA, Langevin, LatentLangevin, ParallelTempering
from skebm.utils import isolated_rng

AXES = torch.tensor([[1.0, 0.5], [0.0, 0.8], [-0.7, 0.3]])
SHIFT = torch.tensor([0.5, -1.0, 0.0])
TARGET = torch.tensor([1.0, 0.0, -1.0])


def decode(z):
    return z @ AXES.mT + SHIFT


def energy(x):
    return 2 * (x - TARGET).square().sum(1)


def posterior():
    """N(z; 0, I) exp(-2 |A z + b - t|^2) is a Gaussian."""
    covariance = torch.linalg.inv(torch.eye(2) + 4 * AXES.mT @ AXES)
    return covariance @ AXES.mT @ (4 * (TARGET - SHIFT)), covariance


@pytest.mark.parametrize(
    "sampler",
    [
        MALA(step_size=0.5),
        HMC(step_size=0.2),
        Langevin(step_size=0.1),
        ParallelTempering(MALA(step_size=0.5), (1, 2)),
    ],
    ids=lambda sampler: type(sampler).__name__,
)
def test_a_linear_generator_in_closed_form(sampler):
    generator = torch.Generator().manual_seed(0)
    n = 5000
    mean, covariance = posterior()
    z0 = mean + 0.1 * torch.randn(n, 2, generator=generator)
    n_steps = 400 if isinstance(sampler, Langevin) else 60
    z, _ = LatentLangevin(decode, sampler).run(
        energy, z0, n_steps=n_steps, generator=generator
    )
    scale = covariance.diagonal().sqrt()
    assert ((z.mean(0) - mean).abs() < 4 * scale / n**0.5).all()
    error = (torch.cov(z.mT) - covariance).abs() / torch.outer(scale, scale)
    assert (error < 4 * (2 / n) ** 0.5 + 0.02).all()


def test_noise_of_the_generator_as_further_latents():
    """x = g(u) + s v: the decoded rows follow q(x) exp(-E(x)), q = N(b, AA^T + s^2)."""
    generator = torch.Generator().manual_seed(0)
    n = 5000
    sampler = LatentLangevin(lambda z: decode(z[:, :2]) + 0.5 * z[:, 2:], HMC(0.2))
    z0 = torch.randn(n, 5, generator=generator)
    z, _ = sampler.run(energy, z0, n_steps=80, generator=generator)
    x = sampler.decode(z)
    precision = torch.linalg.inv(AXES @ AXES.mT + 0.25 * torch.eye(3))
    covariance = torch.linalg.inv(precision + 4 * torch.eye(3))
    mean = covariance @ (precision @ SHIFT + 4 * TARGET)
    scale = covariance.diagonal().sqrt()
    assert ((x.mean(0) - mean).abs() < 4 * scale / n**0.5).all()
    error = (torch.cov(x.mT) - covariance).abs() / torch.outer(scale, scale)
    assert (error < 4 * (2 / n) ** 0.5).all()


def test_a_generator_net_receives_no_gradient():
    with isolated_rng(0, torch.device("cpu")):
        net = GeneratorMLP(2, 5)
    generator = torch.Generator().manual_seed(0)
    z0 = net.draw_latent(50, generator)
    z, diagnostics = LatentLangevin(net.mean, MALA(n_adapt=10)).run(
        lambda x: x.square().sum(1), z0, n_steps=30, generator=generator
    )
    assert z.shape == (50, 2)
    assert diagnostics["r_hat"] > 0.5
    assert all(parameter.grad is None for parameter in net.parameters())
