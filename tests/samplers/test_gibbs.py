"""Block Gibbs sampling against a Gaussian and a Boltzmann machine by enumeration."""

import itertools

import pytest
import torch
from torch import nn

from skebm.networks import MLP, EnergyModel
from skebm.references import UniformBox
from skebm.samplers import BlockGibbs, LatentLangevin
from skebm.utils import isolated_rng


class TinyRBM(nn.Module):
    """E(v) = -b v - sum_j softplus(c + v W)_j, the hidden units summed out."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.weight = nn.Parameter(1.5 * torch.randn(4, 3, generator=generator))
        self.visible_bias = nn.Parameter(torch.randn(4, generator=generator))
        self.hidden_bias = nn.Parameter(torch.randn(3, generator=generator))

    def forward(self, v):
        pull = v @ self.weight + self.hidden_bias
        return -v @ self.visible_bias - nn.functional.softplus(pull).sum(1)

    def sample_blocks(self, v, generator):
        hidden = torch.sigmoid(v @ self.weight + self.hidden_bias)
        h = torch.bernoulli(hidden, generator=generator)
        visible = torch.sigmoid(h @ self.weight.mT + self.visible_bias)
        return torch.bernoulli(visible, generator=generator)


class CorrelatedNormal:
    """Two columns of unit variance and correlation rho."""

    rho = 0.8

    def __call__(self, x):
        a, b = x.mT
        return (a**2 - 2 * self.rho * a * b + b**2) / (2 - 2 * self.rho**2)

    def sample_blocks(self, x, generator):
        noise = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        noise = noise * (1 - self.rho**2) ** 0.5
        a = self.rho * x[:, 1] + noise[:, 0]
        return torch.stack([a, self.rho * a + noise[:, 1]], dim=1)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def test_a_boltzmann_machine_by_enumeration(generator):
    energy = TinyRBM()
    states = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4)))
    exact = (-energy(states)).softmax(0).detach()
    n = 20_000
    x, diagnostics = BlockGibbs().run(
        energy, torch.zeros(n, 4), n_steps=60, generator=generator
    )
    assert not x.requires_grad
    index = (x @ torch.tensor([8.0, 4.0, 2.0, 1.0])).long()
    shares = torch.bincount(index, minlength=16) / n
    chi_square = n * ((shares - exact).square() / exact).sum()
    assert chi_square < 40  # 15 degrees of freedom
    assert diagnostics["acceptance"] == 1.0
    assert "step_size" not in diagnostics


def test_a_gaussian_and_its_known_mixing(generator):
    """The first column after a sweep is AR(1) with the coefficient rho^2."""
    x0 = torch.randn(2000, 2, generator=generator, dtype=torch.float64)
    x0[:, 1] = 0.8 * x0[:, 0] + 0.6 * x0[:, 1]
    x, diagnostics = BlockGibbs().run(
        CorrelatedNormal(), x0, n_steps=300, generator=generator
    )
    assert x.dtype == torch.float64
    assert x.std(0).sub(1).abs().max() < 4 / (2 * len(x)) ** 0.5
    assert torch.corrcoef(x.mT)[0, 1] == pytest.approx(0.8, abs=4 * 0.36 / 2000**0.5)
    ess = 2000 * 300 * (1 - 0.8**2) / (1 + 0.8**2)
    assert diagnostics["effective_sample_size"] == pytest.approx(ess, rel=0.1)


def test_a_neural_net_has_no_conditionals(generator):
    def never(x):
        raise AssertionError("evaluated before the check")

    with isolated_rng(0, torch.device("cpu")):
        net = MLP(2, 1)
    model = EnergyModel(net, UniformBox(torch.zeros(2), torch.ones(2)))
    x0 = torch.zeros(3, 2)
    for sampler in BlockGibbs(), LatentLangevin(never, BlockGibbs()):
        with pytest.raises(ValueError, match=r"BlockGibbs and energy .* take"):
            sampler.run(never, x0, n_steps=1, generator=generator)
    with pytest.raises(ValueError, match=r"energy EnergyModel\.energy don't go"):
        BlockGibbs().run(model.energy, x0, n_steps=1, generator=generator)
    with pytest.raises(ValueError, match="energy MLP don't go"):
        BlockGibbs().check_energy(net)
