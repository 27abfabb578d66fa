"""Completion of rows with missing entries, and their monitor."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from skebm.networks import EnergyModel
from skebm.references import GaussianMixtureDensity, TiedValues
from skebm.training import (
    DensityMonitor,
    IncompleteRowsMonitor,
    ResampledCompletion,
    TableBatches,
)


class Tilt(nn.Module):
    """-E: rows on a parabola are likelier."""

    def forward(self, x):
        return -2 * (x[:, 1:2] - x[:, :1].square()).square()


class Shift(nn.Module):
    """-E = x0 + x1 turns N(0, I) into N((1, 1), I), with Z = e."""

    def forward(self, x):
        return x.sum(1, keepdim=True)


def normal(correlation=0.0, scale=1.0):
    covariance = torch.tensor([[1.0, correlation], [correlation, 1.0]])
    factor = scale * torch.linalg.cholesky(covariance)
    return GaussianMixtureDensity(torch.ones(1), torch.zeros(1, 2), factor[None])


def free(n_columns=2):
    return TiedValues(torch.zeros(0, n_columns), torch.zeros(n_columns).bool())


@pytest.mark.parametrize("proposal_scale", [None, 2.0])
def test_chains_tend_to_the_conditional(proposal_scale):
    """Whatever proposes: against p(x1 | x0) by quadrature."""
    model = EnergyModel(Tilt(), normal(0.5))
    proposal = model.reference
    if proposal_scale is not None:
        proposal = normal(scale=proposal_scale)
    x = torch.tensor([[1.2, torch.nan]]).repeat(3000, 1)
    rng = torch.Generator().manual_seed(0)
    filling = ResampledCompletion(x, proposal, lambda: model, free(), rng)
    before = filling.x[:, 1].clone()
    for _ in range(30):
        rows = filling.renew(torch.arange(3000), rng)
    assert (rows[:, 0] == x[0, 0]).all()
    grid = torch.linspace(-6, 6, 4001)
    line = torch.stack([torch.full_like(grid, 1.2), grid], dim=1)
    with torch.no_grad():
        levels = model.log_prob_unnormalized(line).double().softmax(0).cumsum(0)

    def distribution(values):
        return np.interp(values, grid, levels)

    assert stats.kstest(rows[:, 1].numpy(), distribution).pvalue > 0.01
    assert stats.kstest(before.numpy(), distribution).pvalue < 1e-6


def test_batches_hold_rows_that_are_filled_anew():
    x = torch.tensor([[0.5, torch.nan], [1.0, 2.0], [torch.nan, -1.0]]).repeat(10, 1)
    model = EnergyModel(Shift(), normal())
    rng = torch.Generator().manual_seed(0)
    filling = ResampledCompletion(x, model.reference, lambda: model, free(), rng)
    device = torch.device("cpu")
    batches = TableBatches(
        x, None, None, torch.arange(30), device=device, completion=filling
    )
    first, second = (
        torch.cat([batch.x for batch in batches.epoch(10, rng)]) for _ in range(2)
    )
    for drawn in (first, second):
        assert not drawn.isnan().any()
        assert len(drawn) == 30
        assert int((drawn == torch.tensor([1.0, 2.0])).all(1).sum()) == 10
        assert int((drawn[:, 0] == 0.5).sum()) == int((drawn[:, 1] == -1).sum()) == 10
    fills = (set(drawn[drawn[:, 0] == 0.5, 1].tolist()) for drawn in (first, second))
    assert len(set.intersection(*fills)) < 8
    assert x.isnan().any(), "the table itself stays as it is"


@pytest.mark.parametrize("scale", [1.0, 1.5])
def test_held_out_rows_with_gaps_have_the_likelihood_of_what_they_hold(scale):
    """With E = -x0 - x1, log q0(x0) + x0 + log E[exp(x1)] = log q0(x0) + x0 + 1/2."""
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(64, 2, generator=rng)
    x[:40, 1] = torch.nan
    weight = torch.rand(64, generator=rng)
    model = EnergyModel(Shift(), normal())
    monitor = IncompleteRowsMonitor(
        x, weight, model.reference, rng, proposal=normal(scale=scale)
    )
    log_density = -0.5 * (x.square() + math.log(2 * math.pi))
    exact = torch.where(
        x[:, 1].isnan(),
        log_density[:, 0] + x[:, 0] + 0.5,
        (log_density + x).sum(1),
    )
    weight = weight / weight.sum()
    found = (monitor.weight * monitor.log_prob_unnormalized(model)).sum()
    assert abs(found - (weight * exact).sum()) < 0.05
    untilted = torch.where(x[:, 1].isnan(), log_density[:, 0], log_density.sum(1))
    reference = (monitor.weight * monitor.reference_score).sum()
    assert abs(reference - (weight * untilted).sum()) < 0.03
    evaluation = monitor.evaluate(model)
    assert abs(evaluation.scores["log_likelihood"] + 1 - found) < 0.1


def test_complete_rows_are_judged_as_ever():
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(64, 2, generator=rng)
    holes = torch.cat([x, torch.tensor([[0.0, torch.nan]])])
    weight = torch.cat([torch.ones(64), torch.zeros(1)])
    model = EnergyModel(Tilt(), normal(0.5))
    options = {"proposal": model.reference}
    ever = DensityMonitor(x, None, model.reference, rng)
    monitor = IncompleteRowsMonitor(holes, weight, model.reference, rng, **options)
    torch.testing.assert_close(
        monitor.log_prob_unnormalized(model)[:64], ever.log_prob_unnormalized(model)
    )
