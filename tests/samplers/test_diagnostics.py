"""R-hat and effective sample size against known answers; chains that are lost."""

import math
from dataclasses import replace

import pytest
import torch

from skebm.exceptions import NonFiniteChainError
from skebm.samplers import (
    HMC,
    MALA,
    AbstractSampler,
    BlockGibbs,
    Langevin,
    ParallelTempering,
)
from skebm.samplers._base import SamplerState
from skebm.samplers._diagnostics import ChainMoments
from skebm.samplers._point import Point, evaluate
from skebm.utils import normal_like


def quadratic(x):
    return x.square().sum(1) / 2


class AR1(AbstractSampler):
    """x' = phi x + (1 - phi^2)^(1/2) noise: invariant N(0, 1), all times known."""

    def __init__(self, phi=0.9):
        self.phi = phi

    def init(self, energy, x0):
        return SamplerState(evaluate(energy, x0), x0.new_ones(()), x0.new_ones(()))

    def step(self, energy, state, generator):
        noise = normal_like(state.point.x, generator)
        x = self.phi * state.point.x + (1 - self.phi**2) ** 0.5 * noise
        return replace(state, point=evaluate(energy, x))


def run(sampler, energy, x0, n_steps, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return sampler.run(energy, x0, n_steps=n_steps, generator=generator)


def variance_of_mean(phi, n):
    """Variance of the mean of n states of a stationary AR(1) process, times n."""
    tail = 2 * phi * (1 - phi**n) / (n * (1 - phi) ** 2)
    return (1 + phi) / (1 - phi) - tail


@pytest.mark.parametrize(
    ("phi", "n_chains", "n_steps"),
    [(0.0, 2000, 40), (0.5, 4000, 40), (0.9, 1000, 1000)],
)
def test_ess_is_that_of_an_autoregressive_process(phi, n_chains, n_steps):
    x0 = torch.randn(n_chains, 1, generator=torch.Generator().manual_seed(1))
    _, diagnostics = run(AR1(phi), quadratic, x0, n_steps)
    ess = n_chains * n_steps / variance_of_mean(phi, n_steps)
    error = n_chains**-0.5
    assert diagnostics["effective_sample_size"] == pytest.approx(ess, rel=4 * error)
    n = n_steps // 2
    within = (1 - variance_of_mean(phi, n) / n) * n / (n - 1)
    r_hat = within**-0.5  # as the variances add up to that of N(0, 1)
    assert diagnostics["r_hat"] == pytest.approx(r_hat, rel=0.01)


def test_ess_counts_the_energy_too():
    """Antithetic x is worth more than independent x; its square is worth less."""
    phi = -0.8
    x0 = torch.randn(2000, 1, generator=torch.Generator().manual_seed(1))
    _, diagnostics = run(AR1(phi), quadratic, x0, 400)
    ess = 2000 * 400 * (1 - phi**2) / (1 + phi**2)
    assert diagnostics["effective_sample_size"] == pytest.approx(ess, rel=0.1)


@pytest.mark.parametrize("slope", [0.0, 1000.0])  # the columns or the energy are worst
def test_figures_are_those_of_the_whole_history(slope):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(9, 6, 2, generator=generator).double().cumsum(0)
    energy = torch.randn(9, 6, generator=generator).double()
    energy += slope * torch.arange(6)  # each chain on its own level
    moments = ChainMoments(9)
    for row, value in zip(x, energy, strict=True):
        moments.add(Point(row, 100 + value, torch.zeros_like(row)))
    metrics = {name: float(value) for name, value in moments.metrics().items()}

    distance = (x - x[0].mean(0)).norm(dim=2)
    f = torch.cat([x, distance[..., None], energy[..., None]], dim=2)[:8]
    halves = torch.cat([f[:4], f[4:]], dim=1)
    within = halves.var(0).mean(0)
    between = halves.mean(0).var(0)
    pooled = 3 / 4 * within + between
    error = torch.maximum(between / 12, f.mean(0).var(0) / 6)
    r_hat, ess = (pooled / within).sqrt(), pooled / error
    assert (r_hat.argmax() == 3) == (ess.argmin() == 3) == (slope > 0)
    assert metrics["r_hat"] == pytest.approx(float(r_hat.max()))
    assert metrics["effective_sample_size"] == pytest.approx(float(ess.min()))


def test_converged_chains_have_r_hat_one():
    x0 = torch.randn(500, 3, generator=torch.Generator().manual_seed(1))
    _, diagnostics = run(HMC(step_size=0.3, n_adapt=0), quadratic, x0, 100)
    assert diagnostics["r_hat"] < 1.02
    assert diagnostics["effective_sample_size"] > 0.2 * 500 * 100


def two_wells(x):
    log_wells = torch.stack([-(x - 5).square().sum(1), -(x + 5).square().sum(1)])
    return -log_wells.logsumexp(0) / 2


def two_rings(x):
    log_rings = torch.stack([-((x.norm(dim=1) - r) / 0.1).square() for r in (1.0, 2.0)])
    return -log_rings.logsumexp(0) / 2


@pytest.mark.parametrize("energy", [two_wells, two_rings])
def test_chains_stuck_in_separate_modes_show(energy):
    """Rings have the same centre and energies: only the distance tells them apart."""
    generator = torch.Generator().manual_seed(1)
    x0 = torch.randn(200, 2, generator=generator)
    x0 = x0 / x0.norm(dim=1, keepdim=True)
    x0[::2] *= 2
    x0 = x0 + (5 * x0.sign() if energy is two_wells else 0)
    _, diagnostics = run(HMC(step_size=0.1, n_leapfrog_steps=10), energy, x0, 100)
    assert diagnostics["r_hat"] > 1.1
    assert diagnostics["effective_sample_size"] < 2 * 200


def test_chains_that_drift_together_show():
    x0 = torch.full((200, 2), 20.0)
    _, diagnostics = run(MALA(step_size=0.1, n_adapt=0), quadratic, x0, 100)
    assert diagnostics["r_hat"] > 1.1
    assert diagnostics["effective_sample_size"] < 3 * 200


def test_steps_that_adapt_do_not_count():
    class WarmingUp(AR1):
        def n_warm_up(self):
            return 40

    x0 = torch.full((500, 1), 1000.0)
    _, diagnostics = run(WarmingUp(0.5), quadratic, x0, 80)
    ess = 500 * 40 / variance_of_mean(0.5, 40)
    assert diagnostics["effective_sample_size"] == pytest.approx(ess, rel=0.2)


def test_frozen_chains_are_worth_one_draw_each():
    x0 = torch.randn(50, 2, generator=torch.Generator().manual_seed(1))
    _, diagnostics = run(AR1(1.0), quadratic, x0, 10)
    assert diagnostics["r_hat"] > 1e3
    assert diagnostics["effective_sample_size"] == pytest.approx(50, rel=0.05)


def test_chains_outside_the_support_show():
    def half_space(x):
        return torch.where(x[:, 0] > 0, quadratic(x), torch.inf)

    generator = torch.Generator().manual_seed(1)
    x0 = torch.randn(50, 2, generator=generator).abs()
    x0[:5, 0] = -50.0
    _, diagnostics = run(MALA(step_size=0.1), half_space, x0, 20)
    assert diagnostics["r_hat"] > 10


def test_a_constant_energy_does_not_count():
    x0 = torch.randn(500, 2, generator=torch.Generator().manual_seed(1))
    _, diagnostics = run(AR1(0.0), lambda x: torch.full((len(x),), 0.1), x0, 20)
    assert diagnostics["r_hat"] == pytest.approx(1.0, abs=0.1)
    assert diagnostics["effective_sample_size"] > 0.8 * 500 * 20


def test_one_chain_is_enough():
    _, diagnostics = run(AR1(0.0), quadratic, torch.zeros(1, 1), 100)
    assert diagnostics["r_hat"] == pytest.approx(1.0, abs=0.2)
    assert 1 <= diagnostics["effective_sample_size"] <= 100


def test_too_few_steps_have_no_figures():
    x0 = torch.zeros(5, 1)
    _, diagnostics = run(MALA(n_adapt=5), quadratic, x0, 8)
    assert math.isnan(diagnostics["r_hat"])
    assert math.isnan(diagnostics["effective_sample_size"])
    _, diagnostics = run(MALA(n_adapt=5), quadratic, x0, 9)
    assert diagnostics["r_hat"] >= 0.5


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_lost_chains_are_reported_with_their_step_size(bad):
    def steep(x):  # each step multiplies x by -4, to the cliff
        return torch.where(x[:, 0].abs() > 30, bad, 40 * quadratic(x))

    x0 = torch.tensor([[1.0], [-1.0], [1.5], [40.0]])  # the last is beyond it
    n_lost = "3 of 4 chains.* 0 of" if bad == math.inf else "4 of 4 chains.* 1 of"
    with pytest.raises(NonFiniteChainError, match=rf"{n_lost}.*step_size=0\.5"):
        run(Langevin(step_size=0.5), steep, x0, 20)
    x, _ = run(MALA(step_size=0.5), steep, x0[:3], 20)  # rejects them
    assert (x.abs() < 30).all()


class Gibbs(BlockGibbs):
    """Redraws nothing, so that any energy will do."""

    def check_energy(self, energy):
        pass

    def step(self, energy, state, generator):
        return state


@pytest.mark.parametrize(
    "sampler",
    [Langevin(), MALA(), HMC(), ParallelTempering(), Gibbs()],
    ids=lambda sampler: type(sampler).__name__,
)
@pytest.mark.parametrize("n_steps", [0, 5])
def test_chains_lost_from_the_start_are_reported(sampler, n_steps):
    x0 = torch.zeros(4, 2)
    for bad in (math.nan, -math.inf):
        with pytest.raises(NonFiniteChainError, match=r"4 of 4 chains.* 4 of them"):
            run(sampler, lambda x, bad=bad: bad + x.sum(1), x0, n_steps)
    x0[1] = math.nan
    with pytest.raises(NonFiniteChainError, match=r"1 of 4 chains.* 1 of them"):
        run(sampler, quadratic, x0, n_steps)
    run(sampler, lambda x: math.inf + x.sum(1), torch.zeros(4, 2), n_steps)
