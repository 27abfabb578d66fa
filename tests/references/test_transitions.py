"""Transitions of references: reversible, as long as asked, good as proposals."""

import math

import numpy as np
import pytest
import torch

from skebm.evaluation import AnnealedImportanceSampling, annealed_samples
from skebm.evaluation.normalizers._particles import step_by_reference
from skebm.references import (
    CopulaMixtureDensity,
    FlowDensity,
    FlowMixtureDensity,
    GaussianMixtureDensity,
    KernelDensity,
    MappedMixtureDensity,
    UniformBox,
    fit_marginals,
)
from skebm.references._mixture import CACHED_ELEMENTS


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def mixture(n_features=2):
    """Two components apart, each narrow in one direction."""
    means = torch.zeros(2, n_features)
    means[:, 0] = torch.tensor([-1.5, 1.0])
    factors = torch.eye(n_features).repeat(2, 1, 1)
    factors[0, 1, 0], factors[0, 1, 1], factors[1, 0, 0] = 0.8, 0.1, 0.3
    return GaussianMixtureDensity(torch.tensor([0.3, 0.7]), means, factors)


def copula(share):
    """Half of columns made normal, one of them skewed and one with narrow peaks."""
    x = np.random.default_rng(0).standard_normal((800, 2))
    maps = fit_marginals(np.stack([np.exp(x[:, 0]) - 1, x[:, 1] ** 3], axis=1))
    mapped = MappedMixtureDensity(**mixture().arrays(), **dict(maps.state_dict()))
    return CopulaMixtureDensity.of(torch.tensor(share), mapped, mixture())


DENSITIES = {
    "mixture": mixture(),
    "wide mixture": mixture(200),  # its factors are too many to be gathered
    "mapped": copula(0.5).mapped,
    "copula": copula(0.4),
    "latent": copula(0.6).in_latent_space(),
    "box": UniformBox(torch.tensor([-1.0, 0.0]), torch.tensor([2.0, 0.5])),
}


@pytest.mark.parametrize("name", list(DENSITIES))
def test_transitions_are_reversible(name):
    """E f(x) g(x') = E g(x) f(x') for draws x of q0, so that q0 is left as it is."""
    density, generator = DENSITIES[name], rng()
    n = 6000 if name == "wide mixture" else 60_000
    x = density.sample(n, generator)
    height = torch.rand(n, generator=generator)
    moved = density.transition(x, 0.05**height, generator)
    assert (moved != x).any(dim=1).all()

    def features(rows):
        a, b = rows[:, 0].double().clamp(-5, 5), rows[:, 1].double().clamp(-5, 5)
        ones = torch.ones_like(a)
        return torch.stack([ones, a, b, a * b, a.square(), (a > 0.3) * b.abs()], dim=1)

    before, after = features(x), features(moved)
    products = before.unsqueeze(2) * after.unsqueeze(1)
    gaps = products - products.mT
    error = gaps.std(dim=0) / math.sqrt(n)
    worst = (gaps.mean(dim=0).abs() / error.clamp(min=1e-12)).max()
    assert worst < 4.5


def test_scale_says_how_far_a_row_goes():
    """The squared step of a component of unit width is 2 (1 - sqrt(1 - s^2)) d."""
    normal = GaussianMixtureDensity(torch.ones(1), torch.ones(1, 3), torch.eye(3)[None])
    x = normal.sample(40_000, rng())
    for scale in (0.1, 0.5, 1.0):
        moved = normal.transition(x, torch.full((len(x),), scale), rng(1))
        expected = 6 * (1 - math.sqrt(1 - scale**2))
        assert (moved - x).square().sum(1).mean() == pytest.approx(expected, rel=0.03)


def flow_and_mixture(share):
    """Return both, the flow as it is built, which is not far from normal."""
    sizes = torch.tensor([2, 1, 2, 4, 8])  # columns, transforms, passes, bins, widths
    return FlowMixtureDensity.of(torch.tensor(share), FlowDensity(sizes), mixture())


@pytest.mark.parametrize("training", [False, True])
def test_rows_of_a_flow_stay_and_those_of_its_mixture_move(training):
    density = flow_and_mixture(0.6)
    if training:
        density = density.for_training(0)
    x = density.sample(20_000, rng())
    moved = density.transition(x, torch.full((len(x),), 0.7), rng(1))
    assert (moved != x).any(dim=1).double().mean() == pytest.approx(0.4, abs=0.02)
    worst, n = 0.0, len(x)
    for j in range(2):
        gap = x[:, j].square() * moved[:, j] - moved[:, j].square() * x[:, j]
        worst = max(worst, float(gap.mean().abs() / gap.std() * math.sqrt(n)))
    assert worst < 4.5
    # Chains count the rows that moved, so that a sampler is still asked for the rest.
    _, accepted = step_by_reference(lambda x: 0 * x[:, 0], density, 1.0, x, 2, rng(2))
    assert accepted == pytest.approx(0.4, abs=0.02)


def test_kernels_have_none():
    assert not KernelDensity.has_transitions
    kernels = KernelDensity(torch.zeros(2, 1), torch.ones(2) / 2, torch.ones(1))
    with pytest.raises(NotImplementedError, match="KernelDensity has no transitions"):
        kernels.transition(torch.zeros(1, 1), torch.ones(1), rng())


def tilt(slope):
    """A linear energy and log Z and mean that it makes of the mixture."""
    density, slope = mixture(), torch.tensor(slope)
    means, factors = density.means.double(), density.cholesky.double()
    turned = factors.mT @ slope.double()
    log_masses = means @ slope.double() + 0.5 * turned.square().sum(1)
    log_masses = log_masses + density.weights.double().log()
    tilted = means + (factors @ turned.unsqueeze(2))[:, :, 0]
    mean = log_masses.softmax(0) @ tilted
    return lambda x: -x @ slope, float(log_masses.logsumexp(0)), mean


@pytest.mark.parametrize("slope, easy", [([0.3, 0.2], True), ([-15.0, 9.0], False)])
def test_annealing_with_transitions_is_exact(slope, easy):
    energy, truth, mean = tilt(slope)
    annealing = AnnealedImportanceSampling(2000)
    pilot = annealing.pilot(energy, mixture(), rng(1))
    assert (pilot.rungs[-1].acceptance >= 0.75) == easy
    estimate = annealing.follow(pilot, energy, mixture(), rng(2))
    assert abs(estimate.log_normalizer - truth) < 4 * estimate.standard_error + 1e-3
    assert estimate.standard_error < 0.1
    x = annealed_samples(energy, mixture(), 4000, generator=rng(3)).double()
    error = x.std(dim=0) / math.sqrt(1000)  # particles have ancestors in common
    assert ((x.mean(dim=0) - mean).abs() < 4 * error).all()


def test_chains_come_to_components_far_from_where_they_start():
    """All start in one of two that no transition connects, as rows on a way back may.

    A constant energy: a fresh draw is always accepted, and the shares are the weights.
    """
    means = torch.tensor([[-50.0], [50.0]])
    apart = GaussianMixtureDensity(torch.tensor([0.3, 0.7]), means, torch.ones(2, 1, 1))
    x = means[:1].expand(20_000, 1)
    moved, accepted = step_by_reference(lambda x: 0 * x[:, 0], apart, 1.0, x, 1, rng())
    assert accepted == 1
    assert (moved > 0).double().mean() == pytest.approx(0.7, abs=0.015)


def test_transitions_spare_the_gradients():
    """A narrow mixture, which a sampler in one metric crosses slowly."""
    energy, truth, _ = tilt([0.3, 0.2])
    annealing = AnnealedImportanceSampling(n_temperatures=20)
    calls = []

    def watched(x):
        calls.append(torch.is_grad_enabled())
        return energy(x)

    pilot = annealing.pilot(watched, mixture(), rng(0))
    estimate = annealing.follow(pilot, watched, mixture(), rng(1))
    assert abs(estimate.log_normalizer - truth) < 0.05
    assert not any(calls)


def test_rows_beyond_all_densities_move_on():
    """Squares of float32 overflow: the shares of components are 0 / 0."""
    far = torch.full((5, 2), 1e30)
    assert mixture().log_prob(far).isneginf().all()
    moved = mixture().transition(far, torch.ones(5), rng())
    assert (moved.abs() < 10).all()


def test_many_rows_are_moved_in_parts():
    density = mixture()
    sizes = []
    joint = density._log_joint
    density._log_joint = lambda x: sizes.append(len(x)) or joint(x)
    x = density.sample(100_000, rng())
    density.transition(x, torch.ones(len(x)), rng())
    assert len(sizes) > 1 and max(sizes) * density.means.numel() <= CACHED_ELEMENTS


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_a_proposal_without_an_energy_is_refused(value):
    energy, _, _ = tilt([0.3, 0.2])

    def broken(x):
        return energy(x).masked_fill(x[:, 0] > 0, value)

    class Left:
        """The mixture's left side, its transitions, which lead to the right."""

        has_transitions = True
        transition = staticmethod(mixture().transition)
        log_prob = staticmethod(mixture().log_prob)

        def sample(self, n_samples, generator):
            x = mixture().sample(20 * n_samples, generator)
            return x[x[:, 0] < 0][:n_samples]

    x = annealed_samples(broken, Left(), 500, generator=rng())
    assert (x[:, 0] <= 0).all()
