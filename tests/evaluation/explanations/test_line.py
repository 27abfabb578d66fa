import math

import pytest
import torch
from scipy.stats import norm

from skebm.evaluation.explanations._line import conditionals

OWN = 1.1


@pytest.fixture
def normals():
    """Normal densities of means 0, 2, -3 and 30 and deviations from 1 to 0.003."""
    mean = torch.tensor([0.0, 2.0, -3.0, 30.0]).double()[:, None]
    deviation = torch.tensor([1.0, 0.1, 0.003, 0.1]).double()[:, None]

    def log_density(points):
        return (5 - 0.5 * ((points - mean) / deviation) ** 2)[:, None]

    start = torch.linspace(-4, 4, 12).double().expand(4, -1)
    start = torch.cat([start, mean + OWN * deviation], 1)
    none = torch.empty(0).double()
    return conditionals(log_density, start, none, none.expand(4, 1, 0)), mean, deviation


def test_the_mass_mean_and_quantiles_are_those_of_the_closed_form(normals):
    found, mean, deviation = normals
    one = torch.ones(4).double()
    torch.testing.assert_close(found.log_mass.exp().sum(1), one)
    none = torch.empty(0).double()
    error = (found.mean(lambda z: z, none)[:, None] - mean) / deviation
    assert error.abs().max() < 2e-3
    for level in (0.05, 0.95):
        place = (found.quantile(level)[:, None] - mean) / deviation
        assert (place - norm.ppf(level)).abs().max() < 1e-2


def test_the_density_and_tail_of_a_value_are_those_of_the_closed_form(normals):
    found, mean, deviation = normals
    own = mean + OWN * deviation
    place = (found.points - own).abs().argmin(1, keepdim=True)
    level = found.log_density.gather(1, place)[:, 0]
    exact = -0.5 * OWN**2 - 0.5 * math.log(2 * math.pi) - deviation[:, 0].log()
    assert (level - exact).abs().max() < 2e-3
    assert (found.tail(level) / (2 * norm.sf(OWN)) - 1).abs().max() < 0.02


def test_copies_are_normalised_each_and_averaged():
    scale = torch.tensor([0.0, 50.0]).double()[None, :, None]
    logs = torch.tensor([[1.0, 3.0], [1.0, 1.0]]).double().log()[None] + scale
    values = torch.arange(2).double()
    found = conditionals(None, torch.empty(1, 0).double(), values, logs)
    shares = torch.tensor([[0.375, 0.625]]).double()
    torch.testing.assert_close(found.log_share.exp(), shares)
    torch.testing.assert_close(found.tail(shares[:, 0].log()), shares[:, 0])
    torch.testing.assert_close(found.quantile(0.9), torch.ones(1).double())
