"""Parallel tempering crosses gaps that its sampler alone does not."""

import math
from dataclasses import replace

import pytest
import torch

from skebm.samplers import HMC, MALA, BlockGibbs, LatentLangevin, ParallelTempering


def two_modes(x):
    """0.7 N(-4, 0.5^2 I) + 0.3 N(4, 0.5^2 I), 32 nats between them."""
    log_left = math.log(0.7) - (x + 4).square().sum(1) / 0.5
    log_right = math.log(0.3) - (x - 4).square().sum(1) / 0.5
    return -torch.logaddexp(log_left, log_right)


def quadratic(x):
    return x.square().sum(1) / 2


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def test_it_crosses_a_wide_gap_and_the_masses_are_right(generator):
    n = 1000
    x0 = -4 + 0.5 * torch.randn(n, 2, generator=generator)
    bare = MALA(step_size=0.4)
    x, _ = bare.run(two_modes, x0, n_steps=300, generator=generator)
    assert (x[:, 0] < 0).all()

    sampler = ParallelTempering(bare, (1, 4, 16, 64, 128))
    x, diagnostics = sampler.run(two_modes, x0, n_steps=300, generator=generator)
    left = (x[:, 0] < 0).float().mean()
    error = math.sqrt(0.7 * 0.3 / n)
    assert abs(left - 0.7) < 4 * error
    within = x - 4 * x[:, :1].sign()
    assert abs(within.mean()) < 4 * 0.5 / math.sqrt(2 * n)
    assert within.std() == pytest.approx(0.5, rel=0.05)
    assert 0.1 < diagnostics["swap_acceptance"] < 0.9


def test_swaps_between_equal_gaussians_have_the_exact_rate(generator):
    """In two dimensions E is exponential of mean T, and the mean rate 2 / (1 + T)."""
    sampler = ParallelTempering(HMC(step_size=0.3), (1, 4))
    x0 = torch.randn(4000, 2, generator=generator)
    x, _ = sampler.run(quadratic, x0, n_steps=20, generator=generator)
    _, diagnostics = sampler.run(quadratic, x, n_steps=100, generator=generator)
    assert diagnostics["swap_acceptance"] == pytest.approx(2 / 5, abs=0.01)


def test_each_temperature_adapts_its_own_step_size(generator):
    sampler = ParallelTempering(MALA(step_size=0.05, n_adapt=80), (1, 25))
    x0 = torch.randn(500, 4, generator=generator)
    state = sampler.init(quadratic, x0)
    cold, hot = (replica.step_size for replica in state.replicas)
    assert hot / cold == pytest.approx(5.0)
    for _ in range(80):
        state = sampler.step(quadratic, state, generator)
    cold, hot = (float(replica.step_size) for replica in state.replicas)
    assert 0.5 < cold < 2.0
    assert hot / cold == pytest.approx(5.0, rel=0.2)
    _, diagnostics = sampler.run(quadratic, x0, n_steps=80, generator=generator)
    assert math.isnan(diagnostics["r_hat"])  # all of them adapt


def test_all_step_sizes_follow_the_state_s_own(generator):
    sampler = ParallelTempering(MALA(step_size=0.1), (1, 4, 25))
    assert sampler.step_size == 0.1 and sampler.target_acceptance == 0.574
    state = sampler.init(quadratic, torch.randn(50, 2, generator=generator))
    state = replace(state, step_size=torch.tensor(0.3))
    state = sampler.step(quadratic, state, generator)
    sizes = [float(replica.step_size) for replica in state.replicas]
    assert sizes == pytest.approx([0.3, 0.6, 1.5])


def test_impossible_points_do_not_swap_down(generator):
    def box(x):
        return torch.where((x.abs() <= 1).all(1), 0.0 * x.sum(1), torch.inf)

    x0 = 2 * torch.rand(500, 2, generator=generator) - 1
    x0[:250] = 3.0  # out of reach: nothing to swap
    sampler = ParallelTempering(MALA(step_size=0.1))
    x, diagnostics = sampler.run(box, x0, n_steps=20, generator=generator)
    assert torch.equal(x[:250], x0[:250])
    assert (x[250:].abs() <= 1).all()
    assert diagnostics["swap_acceptance"] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("ladder", [(), (1,), (2, 4), (1, 1), (1, 4, 2)])
def test_ladders_that_do_not_grow_from_one(ladder, generator):
    with pytest.raises(ValueError, match=r"'temperatures' .* must be at least two"):
        ParallelTempering(temperatures=ladder).run(
            two_modes, torch.zeros(3, 2), n_steps=1, generator=generator
        )


@pytest.mark.parametrize("inner", [BlockGibbs(), LatentLangevin(torch.sin)])
def test_samplers_without_a_step_size(inner, generator):
    with pytest.raises(ValueError, match=f"sampler {type(inner).__name__} don't go"):
        ParallelTempering(inner).run(
            two_modes, torch.zeros(3, 2), n_steps=1, generator=generator
        )


def test_unknown_names(generator):
    with pytest.raises(ValueError, match=r"sampler must be one of .*'gibbs'"):
        ParallelTempering("gibbs").run(
            two_modes, torch.zeros(3, 2), n_steps=1, generator=generator
        )
