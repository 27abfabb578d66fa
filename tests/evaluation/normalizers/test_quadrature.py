"""Quadrature against closed forms, and what it refuses."""

import math

import pytest
import torch

from skebm.evaluation import AutoNormalizer, Quadrature
from skebm.references import GaussianMixtureDensity, UniformBox


def normal(d):
    return GaussianMixtureDensity(torch.ones(1), torch.zeros(1, d), torch.eye(d)[None])


def estimate(energy, reference, rows=None, **options):
    return Quadrature(**options).estimate(
        energy, reference, generator=torch.Generator().manual_seed(0), rows=rows
    )


@pytest.mark.parametrize("d", [1, 2, 3])
def test_a_tilt_far_away(d):
    # q0 exp(6 sum x) is N(6, I) times exp(18 d): beyond the first shell of cells.
    result = estimate(lambda x: -6 * x.sum(1), normal(d))
    assert result.trusted
    assert result.standard_error < 1e-3
    assert result.log_normalizer == pytest.approx(18 * d, abs=1e-3)
    assert result.upper == result.log_normalizer + 2 * result.standard_error


@pytest.mark.parametrize("d", [1, 2, 3])
def test_walls_and_kinks(d):
    box = UniformBox(torch.full((d,), -1.0), torch.full((d,), 3.0))
    result = estimate(lambda x: 4 * x.abs().sum(1), box)
    exact = d * math.log((2 - math.exp(-4) - math.exp(-12)) / 16)
    assert result.trusted
    assert result.log_normalizer == pytest.approx(exact, abs=2e-3)


@pytest.mark.parametrize("d", [1, 2])
def test_rows_show_the_way_to_a_spike(d):
    reference = normal(d)
    log_scale = -d * math.log(2 * math.pi * 1e-4) / 2

    def energy(x):
        spike = log_scale - 0.5 * ((x - 9) / 0.01).square().sum(1)
        return reference.log_prob(x) - torch.logaddexp(reference.log_prob(x), spike)

    noise = torch.randn(500, d, generator=torch.Generator().manual_seed(1))
    blind = estimate(energy, reference)
    assert blind.log_normalizer == pytest.approx(0, abs=1e-3)
    seeing = estimate(energy, reference, rows=9 + 0.01 * noise)
    assert seeing.log_normalizer == pytest.approx(math.log(2), abs=0.02)


def test_waves():
    # E[exp(3 cos(20 x))] under a uniform x over whole periods is I_0(3).
    box = UniformBox(torch.zeros(2), torch.full((2,), 2 * math.pi))
    result = estimate(lambda x: -3 * torch.cos(20 * x).sum(1), box)
    exact = 2 * math.log(float(torch.special.i0(torch.tensor(3.0))))
    assert result.trusted
    assert result.log_normalizer == pytest.approx(exact, abs=1e-3)


def test_an_outlier_costs_little():
    rows = torch.tensor([[1e6, -1e8]])
    result = estimate(lambda x: -x.sum(1), normal(2), rows=rows)
    assert result.trusted
    assert result.log_normalizer == pytest.approx(1.0, abs=0.01)


def test_what_it_refuses():
    few = estimate(lambda x: torch.cos(90 * x).sum(1), normal(2), max_evaluations=9)
    assert not few.trusted
    assert "sum of the cells' errors" in few.reason

    class Half:
        """A reference of mass one half."""

        def log_prob(self, x):
            return normal(2).log_prob(x) - math.log(2)

        def sample(self, n_samples, generator):
            return normal(2).sample(n_samples, generator)

    assert "mass of 0.500" in estimate(lambda x: x[:, 0], Half()).reason
    runaway = estimate(lambda x: -x.square().sum(1) / 2, normal(2))
    assert "outermost" in runaway.reason
    with pytest.raises(ValueError, match="at most 3 columns"):
        estimate(lambda x: x[:, 0], normal(4))
    with pytest.raises(ValueError, match="'tolerance'"):
        estimate(lambda x: x[:, 0], normal(1), tolerance=-1.0)


def test_auto_integrates_where_it_can():
    def auto(energy, reference):
        generator = torch.Generator().manual_seed(0)
        return AutoNormalizer().estimate(energy, reference, generator=generator)

    assert auto(lambda x: -x.sum(1), normal(2)).method == "Quadrature"
    assert auto(lambda x: -0.1 * x.sum(1), normal(3)).method == "ImportanceSampling"
    # Too many waves for the cells; draws do not mind.
    rough = auto(lambda x: -torch.cos(1000 * x).sum(1), normal(2))
    assert rough.method == "ImportanceSampling"
    exact = 2 * math.log(float(torch.special.i0(torch.tensor(1.0))))
    assert rough.log_normalizer == pytest.approx(exact, abs=0.03)
