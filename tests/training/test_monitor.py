"""Held-out metrics against closed forms."""

import math

import pytest
import torch
from torch import nn

from skebm.networks import EnergyModel
from skebm.references import GaussianMixtureDensity, UniformBox
from skebm.training import DensityMonitor, Evaluation, LabelMonitor


class Quadratic(nn.Module):
    """Critic of the tilt from N(0, I) to N(m, v I)."""

    def __init__(self, mean, variance):
        super().__init__()
        self.mean, self.variance = mean, variance

    def forward(self, x):
        tilted = -0.5 * (x - self.mean).square().sum(1) / self.variance
        return (tilted + 0.5 * x.square().sum(1))[:, None]


def monitor_and_rows(d=2):
    reference = GaussianMixtureDensity(
        torch.ones(1), torch.zeros(1, d), torch.eye(d)[None]
    )
    rng = torch.Generator().manual_seed(0)
    x = 0.3 + 0.8 * torch.randn(4000, d, generator=rng)
    return DensityMonitor(x, None, reference, rng, n_draws=20_000), x, reference


@pytest.mark.parametrize(("mean", "variance"), [(0.3, 0.64), (0.0, 1.0), (-0.2, 0.8)])
def test_log_likelihood_of_a_gaussian_tilt(mean, variance):
    monitor, x, reference = monitor_and_rows()
    model = EnergyModel(Quadratic(mean, variance), reference)
    evaluation = monitor.evaluate(model)
    exact = -0.5 * (x - mean).square().sum(1) / variance
    exact = exact - math.log(2 * math.pi * variance)
    found = evaluation.scores["log_likelihood"]
    assert found == pytest.approx(exact.mean().item(), abs=0.02)
    assert monitor.metric(evaluation, evaluation) == "log_likelihood"


def test_sliced_score_matching_of_a_gaussian():
    """E[v' s' v + (v' s)^2 / 2] with s = -(x - m) / v and v of random signs."""
    monitor, x, reference = monitor_and_rows()
    mean, variance = 0.1, 0.5
    model = EnergyModel(Quadratic(mean, variance), reference)
    directions = monitor.directions
    slope = -((x[: len(directions)] - mean) * directions).sum(1) / variance
    exact = -(2 / variance) + 0.5 * slope.square().mean().item()
    score = monitor._sliced_score(model)
    assert score == pytest.approx(-exact, rel=1e-4)


def test_effective_share_decides_on_the_metric():
    """A tilt far away has no trustworthy Z; the metric says so."""
    monitor, _, reference = monitor_and_rows(d=8)
    near = monitor.evaluate(EnergyModel(Quadratic(0.1, 1.0), reference))
    far = monitor.evaluate(EnergyModel(Quadratic(3.0, 0.1), reference))
    assert near.effective_share > 0.5 > 0.05 > far.effective_share
    assert monitor.metric(near, near) == "log_likelihood"
    assert monitor.metric(far, near) == "sliced_score_matching"
    assert monitor.improvement(far, near) == -math.inf
    assert monitor.improvement(near, far) == math.inf
    assert "sliced_score_matching" not in near.scores
    further = monitor.evaluate(EnergyModel(Quadratic(3.2, 0.1), reference))
    assert math.isfinite(monitor.improvement(further, far))  # by score matching


def test_few_held_out_rows_must_agree_on_a_gain():
    """Its standard error counts against it: with rows enough the better tilt wins."""
    _, x, reference = monitor_and_rows()
    bare, true = Quadratic(0.0, 1.0), Quadratic(0.3, 0.64)
    gains = []
    for n in (6, 4000):
        rng = torch.Generator().manual_seed(1)
        monitor = DensityMonitor(x[:n], None, reference, rng, n_draws=20_000)
        new, old = (monitor.evaluate(EnergyModel(c, reference)) for c in (true, bare))
        assert old.standard_error == 0
        tilt = true(x[:n])[:, 0]
        assert new.standard_error == pytest.approx(tilt.std().item() / n**0.5, rel=1e-3)
        difference = new.scores["log_likelihood"] - old.scores["log_likelihood"]
        gains.append(monitor.improvement(new, old))
        assert gains[-1] == pytest.approx(difference - new.standard_error)
    assert gains[1] > 0.05


def test_weights_of_held_out_rows():
    _, x, reference = monitor_and_rows()
    rng = torch.Generator().manual_seed(1)
    weight = (torch.arange(len(x)) < 100).float()
    model = EnergyModel(Quadratic(0.3, 0.64), reference)
    some = DensityMonitor(x[:100], None, reference, rng.manual_seed(1))
    weighted = DensityMonitor(x, weight, reference, rng.manual_seed(1))
    assert weighted.evaluate(model).scores["log_likelihood"] == pytest.approx(
        some.evaluate(model).scores["log_likelihood"], abs=1e-4
    )


def test_label_monitor_is_accuracy_with_ties_broken():
    class Fixed(nn.Module):
        def __init__(self, scale):
            super().__init__()
            self.scale = scale

        def forward(self, x):
            return self.scale * torch.stack([-x[:, 0], x[:, 0]], dim=1)

    x = torch.tensor([[-1.0], [-1.0], [1.0], [1.0]])
    monitor = LabelMonitor(x, torch.tensor([0, 0, 1, 0]), None)
    box = UniformBox(-torch.ones(1), torch.ones(1))
    mild = monitor.evaluate(EnergyModel(Fixed(1.0), box))
    sharp = monitor.evaluate(EnergyModel(Fixed(5.0), box))
    assert round(mild.scores["accuracy"], 2) == 0.75
    assert monitor.improvement(mild, sharp) > 0  # as accurate, less surely wrong
    assert isinstance(mild, Evaluation)
