"""Gaussian and softmax machines against sums over all states of a layer."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal
from torch.nn import functional

from skebm.evaluation import (
    RBMAnnealing,
    conditional_means,
    enumerated_log_normalizer,
    log_marginal_unnormalized,
)
from skebm.networks import RBM, GaussianUnits, SoftmaxUnits
from skebm.networks.boltzmann._rbm import binary_digits
from skebm.objectives import ContrastiveGradient
from skebm.samplers import BlockGibbs, Clamped, TemperedGibbs
from skebm.training import EvenBatches, GaussianRBMAscent, GibbsCompletion

SIZES = [2, 3, 2]


def random_rbm(units, n_hidden, n_statistics, spread=1.0):
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return spread * torch.randn(*shape, generator=generator, dtype=torch.float64)

    weight = draw(n_hidden, n_statistics)
    return RBM(weight, draw(n_hidden), draw(n_statistics) / 2, units)


def gaussian_units(whiten):
    scale = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    axes = torch.linalg.qr(torch.arange(9.0).double().reshape(3, 3).cos())[0]
    return GaussianUnits(scale, axes if whiten else None)


@pytest.fixture(params=[False, True], ids=["columns", "axes"])
def gaussian(request):
    return random_rbm(gaussian_units(request.param), 4, 3)


@pytest.fixture
def softmax():
    return random_rbm(SoftmaxUnits(SIZES), 3, sum(SIZES))


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(1)


def as_mixture(rbm):
    """Weights, means and common covariance of the Gaussians, from the definition."""
    h = binary_digits(torch.arange(2 ** len(rbm.weight)), len(rbm.weight)).double()
    theta = rbm.visible_bias + h @ rbm.weight
    log_weight = h @ rbm.hidden_bias + (theta**2).sum(1) / 2
    units, d = rbm.visible, theta.shape[1]
    axes = torch.eye(d).double() if units.axes is None else units.axes
    factor = axes @ units.scale.diag()
    return log_weight, theta @ factor.T, factor @ factor.T


def all_states(rbm):
    rows = [
        functional.one_hot(torch.tensor(codes), size)
        for codes, size in zip(np.indices(SIZES).reshape(3, -1), SIZES, strict=True)
    ]
    return torch.cat(rows, 1).double()


# ------------------------------------------------------------------ real columns


def test_a_gaussian_machine_is_a_mixture_of_gaussians(gaussian):
    log_weight, means, covariance = as_mixture(gaussian)
    log_z = log_weight.logsumexp(0)
    estimate = enumerated_log_normalizer(gaussian)
    torch.testing.assert_close(estimate.log_normalizer, log_z.item())
    v = 3 * torch.randn(20, 3, generator=torch.Generator().manual_seed(2)).double()
    parts = MultivariateNormal(means, covariance).log_prob(v[:, None])
    mixture = (parts + log_weight - log_z).logsumexp(1)
    torch.testing.assert_close(-gaussian(v) - log_z, mixture)


def test_annealing_agrees_with_enumeration(gaussian, generator):
    exact = enumerated_log_normalizer(gaussian).log_normalizer
    log_weight, means, _ = as_mixture(gaussian)
    chosen = log_weight.softmax(0).multinomial(50, True, generator=generator)
    estimate = RBMAnnealing(tolerance=0.02).estimate(
        gaussian, torch.zeros(3).double(), means[chosen], generator
    )
    assert estimate.trusted
    assert abs(estimate.log_normalizer - exact) < 0.1


@pytest.mark.parametrize("tempered", [False, True])
def test_chains_have_the_moments_of_the_mixture(tempered, gaussian, generator):
    log_weight, means, covariance = as_mixture(gaussian)
    weight = log_weight.softmax(0)
    mean = weight @ means
    spread = covariance + (means - mean).T @ ((means - mean) * weight[:, None])
    if tempered:
        v, _ = TemperedGibbs(torch.zeros(3).double()).run(
            gaussian, 2000, n_steps=60, generator=generator
        )
    else:
        v = means[weight.multinomial(2000, True, generator=generator)]
        v, _ = BlockGibbs().run(gaussian, v, n_steps=10, generator=generator)
    error = (spread.diag() / len(v)).sqrt()
    assert ((v.mean(0) - mean).abs() < 4 * error).all()
    assert torch.allclose(v.T.cov(), spread, atol=0.1 * float(spread.diag().max()))


def test_the_gradient_is_that_of_the_exact_likelihood(gaussian, generator):
    """Weights and biases by chains, scales in closed form from data alone."""
    v = 2 * torch.randn(6, 3, generator=generator, dtype=torch.float64)
    leaves = {k: t.clone().requires_grad_() for k, t in gaussian.parameters().items()}
    log_scale = gaussian.visible.scale.log().requires_grad_()
    units = GaussianUnits(log_scale.exp(), gaussian.visible.axes)
    log_weight, *_ = as_mixture(RBM(**leaves, visible=units))
    (-RBM(**leaves, visible=units)(v).mean() - log_weight.logsumexp(0)).backward()
    h = binary_digits(torch.arange(16), 4).double()
    chosen = log_weight.softmax(0).multinomial(40_000, True, generator=generator)
    gradient = ContrastiveGradient(
        h[chosen],
        (torch.zeros(3).double(), torch.zeros(4).double()),
        method="pcd",
        n_gibbs_steps=1,
        centered=False,
        tempering=None,
        generator=generator,
    )
    left, right = gradient(gaussian, v)
    for name, found in (
        ("weight", left.T @ right),
        ("hidden_bias", gradient.hidden_bias),
        ("visible_bias", gradient.visible_bias),
    ):
        assert (found - leaves[name].grad).abs().max() < 0.06, name
    before = gaussian.visible.scale.clone()
    training = GaussianRBMAscent(gaussian, gradient)
    rate = 1e-3
    training.step(v, rate)
    assert torch.equal(gaussian.visible.scale, before)  # it trains its own
    moved = (training.rbm.visible.scale.log() - before.log()) * 2 / rate
    torch.testing.assert_close(moved, log_scale.grad)


def test_given_and_missing_entries_have_closed_forms(gaussian, generator, monkeypatch):
    observed = torch.tensor([[0.7, math.nan, -0.4], [math.nan, 1.0, math.nan]]).double()
    log_weight, means, covariance = as_mixture(gaussian)
    h = binary_digits(torch.arange(16), 4).double()
    found_v, found_h = conditional_means(gaussian, observed, generator)
    marginal = log_marginal_unnormalized(gaussian, observed)
    import skebm.evaluation.conditionals._rbm as module

    monkeypatch.setattr(module, "MAX_STATES", 1)
    monkeypatch.setattr(module, "_N_STEPS", 1000)
    sampled_v, sampled_h = conditional_means(gaussian, observed, generator)
    for i, row in enumerate(observed):
        seen = ~row.isnan()
        block = covariance[seen][:, seen]
        gain = covariance[:, seen] @ block.inverse()
        log_p = log_weight + MultivariateNormal(means[:, seen], block).log_prob(
            row[seen]
        )
        torch.testing.assert_close(marginal[i], log_p.logsumexp(0))
        p = log_p.softmax(0)
        centers = means + (row[seen] - means[:, seen]) @ gain.T
        torch.testing.assert_close(found_v[i], p @ centers)
        torch.testing.assert_close(found_h[i], p @ h)
        assert torch.allclose(sampled_v[i], p @ centers, atol=0.08)
        assert torch.allclose(sampled_h[i], p @ h, atol=0.03)
        chains = Clamped(gaussian, row.expand(4000, -1))
        v, _ = BlockGibbs().run(
            chains, chains.start(generator), n_steps=60, generator=generator
        )
        assert torch.equal(v[:, seen], row[seen].expand(4000, -1))
        left = covariance - gain @ covariance[seen]
        off = centers - p @ centers
        spread = left + off.T @ (off * p[:, None])
        assert torch.allclose(v.mean(0), p @ centers, atol=0.2)
        assert torch.allclose(v.T.cov(), spread, atol=0.15 * float(spread.max()))


def test_entries_missing_in_training_are_redrawn_given_the_rest(gaussian, generator):
    x = torch.randn(8, 3, generator=generator).double()
    gaps = x.clone()
    gaps[::2, 1] = math.nan
    completion = GibbsCompletion(gaps, gaussian)
    batches = EvenBatches(gaps, torch.device("cpu"), completion)
    (v,) = batches.epoch(8, generator)
    order = [int((x[:, 0] - row[0]).abs().argmin()) for row in v]
    assert v.isfinite().all()
    torch.testing.assert_close(v[:, [0, 2]], x[order][:, [0, 2]])


# ------------------------------------------------------------ categorical columns


def test_softmax_likelihood_by_both_layers(softmax):
    v = all_states(softmax)
    log_z = (-softmax(v)).logsumexp(0)
    h = binary_digits(torch.arange(8), 3).double()
    field = softmax.visible_bias + h @ softmax.weight
    pairs = h @ softmax.hidden_bias + v @ field.T
    torch.testing.assert_close(-softmax(v), pairs.logsumexp(1))
    over_h = softmax.hidden_log_prob_unnormalized(h).logsumexp(0)
    torch.testing.assert_close(over_h, log_z)
    assert enumerated_log_normalizer(softmax).log_normalizer == pytest.approx(
        float(log_z)
    )
    wide = random_rbm(SoftmaxUnits(SIZES), 12, 7)  # the visible layer is the smaller
    exact = (-wide(v)).logsumexp(0)
    assert enumerated_log_normalizer(wide).n_samples == 12
    assert enumerated_log_normalizer(wide).log_normalizer == pytest.approx(float(exact))


def test_softmax_states_are_all_the_states(softmax):
    found = softmax.visible.states(torch.arange(12), 7)
    assert len(found.unique(dim=0)) == 12
    ordered = torch.cat([found, all_states(softmax).long()]).unique(dim=0)
    assert len(ordered) == 12


def test_softmax_draws_and_annealing(softmax, generator):
    v = all_states(softmax)
    p = (-softmax(v)).softmax(0)
    start = v[p.multinomial(20_000, True, generator=generator)]
    draws, _ = BlockGibbs().run(softmax, start, n_steps=3, generator=generator)
    assert torch.equal(draws.sum(1), torch.full((20_000,), 3.0).double())
    error = (p * (1 - p) / len(draws)).sqrt()
    share = (draws @ v.T == 3).double().mean(0)
    assert ((share - p).abs() < 4 * error).all()
    estimate = RBMAnnealing(tolerance=0.02).estimate(
        softmax, torch.zeros(7).double(), start[:100], generator
    )
    exact = float((-softmax(v)).logsumexp(0))
    assert abs(estimate.log_normalizer - exact) < 0.1


@pytest.mark.parametrize("n_hidden", [3, 12])
def test_softmax_missing_entries_are_summed_out(n_hidden, generator, monkeypatch):
    rbm = random_rbm(SoftmaxUnits(SIZES), n_hidden, 7)
    v = all_states(rbm)
    nan = math.nan
    observed = torch.tensor([[0, 1, nan, nan, nan, 1, 0], [nan] * 5 + [0, 1]]).double()
    found_v, found_h = conditional_means(rbm, observed, generator)
    marginal = log_marginal_unnormalized(rbm, observed)
    import skebm.evaluation.conditionals._rbm as module

    monkeypatch.setattr(module, "n_completions", lambda rbm, row: math.inf)
    monkeypatch.setattr(module, "MAX_STATES", 2**12)
    other_v, other_h = conditional_means(rbm, observed, generator)
    over_hiddens = log_marginal_unnormalized(rbm, observed)
    for i, row in enumerate(observed):
        fits = v[(v == row)[:, ~row.isnan()].all(1)]
        p = (-rbm(fits)).softmax(0)
        for mean_v, mean_h in ((found_v, found_h), (other_v, other_h)):
            torch.testing.assert_close(mean_v[i], p @ fits)
            torch.testing.assert_close(mean_h[i], p @ rbm.hidden_field(fits).sigmoid())
        exact = (-rbm(fits)).logsumexp(0)
        torch.testing.assert_close(marginal[i], exact)
        torch.testing.assert_close(over_hiddens[i], exact)
