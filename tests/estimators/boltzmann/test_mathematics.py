"""Machines against sums over all their states."""

import pytest
import torch

from skebm.evaluation import (
    RBMAnnealing,
    conditional_means,
    enumerated_log_normalizer,
    log_marginal_unnormalized,
    pseudo_log_likelihood,
)
from skebm.networks import RBM
from skebm.objectives import ContrastiveGradient
from skebm.samplers import BlockGibbs, Clamped, TemperedGibbs
from skebm.training import RBMAscent

NAN = float("nan")


def joint_log_weights(rbm, v, h):
    """b v + c h + h W v for every pair of rows, shape (n_v, n_h)."""
    return (
        (v @ rbm.visible_bias)[:, None]
        + h @ rbm.hidden_bias
        + v @ rbm.weight.mT @ (h.mT)
    )


def exact_probabilities(rbm, v):
    return (-rbm(v)).softmax(0)


# ------------------------------------------------------------------ energy and log Z


def test_free_energy_sums_out_the_hidden_units(rbm, states):
    v, h = states(4), states(3)
    brute = -joint_log_weights(rbm, v, h).logsumexp(1)
    torch.testing.assert_close(rbm(v), brute)
    over_visible = joint_log_weights(rbm, v, h).logsumexp(0)
    torch.testing.assert_close(rbm.hidden_log_prob_unnormalized(h), over_visible)


@pytest.mark.parametrize("n_hidden", [3, 6])
def test_enumeration_of_either_layer(n_hidden, states, generator):
    weight = torch.randn(n_hidden, 4, generator=generator, dtype=torch.float64)
    rbm = RBM(weight, weight[:, 0], weight[0])
    brute = joint_log_weights(rbm, states(4), states(n_hidden)).flatten().logsumexp(0)
    exact = enumerated_log_normalizer(rbm)
    assert exact.log_normalizer == pytest.approx(float(brute), abs=1e-12)


def test_enumeration_of_too_many_states_is_refused():
    rbm = RBM(torch.zeros(21, 21), torch.zeros(21), torch.zeros(21))
    with pytest.raises(ValueError, match="at most 2\\^20 states"):
        enumerated_log_normalizer(rbm)


def large_machine(scale, generator):
    """18 hidden and 40 visible units: log Z by enumeration, not by few draws."""
    weight = scale * torch.randn(18, 40, generator=generator)
    return RBM(weight, -weight.sum(1) / 2, -weight.sum(0) / 2)


@pytest.mark.parametrize("scale", [0.3, 0.8])
def test_annealing_against_enumeration(scale, generator):
    rbm = large_machine(scale, generator)
    rows = BlockGibbs().run(rbm, torch.zeros(200, 40), n_steps=50, generator=generator)
    base = rbm.visible.bias(rows[0].mean(0), 200.0)
    estimate = RBMAnnealing().estimate(rbm, base, rows[0], generator)
    exact = enumerated_log_normalizer(rbm).log_normalizer
    assert estimate.trusted
    assert abs(estimate.log_normalizer - exact) < 0.1
    assert abs(estimate.reverse_log_normalizer - exact) < 0.3
    assert abs(estimate.log_normalizer - exact) < 4 * estimate.standard_error


def test_annealing_that_misses_a_mode_is_not_trusted(generator):
    """Two deep modes; independent units with the means of one lead to that one."""
    weight = torch.full((30, 60), 0.5)
    rbm = RBM(weight, -weight.sum(1) / 2, -weight.sum(0) / 2)
    base = torch.full((60,), -4.0)
    rows = torch.ones(50, 60)
    estimate = RBMAnnealing(n_temperatures=20).estimate(rbm, base, rows, generator)
    assert not estimate.trusted


def test_pseudo_likelihood_by_brute_force(rbm, states):
    v = states(4)
    log_p = exact_probabilities(rbm, v).log()
    brute = torch.zeros(len(v), dtype=torch.float64)
    for j in range(4):
        flipped = v.clone()
        flipped[:, j] = 1 - v[:, j]
        partner = (flipped @ torch.tensor([8.0, 4, 2, 1]).double()).long()
        brute += log_p - torch.logaddexp(log_p, log_p[partner])
    torch.testing.assert_close(pseudo_log_likelihood(rbm, v), brute)
    each = [pseudo_log_likelihood(rbm, v, torch.full((len(v),), j)) for j in range(4)]
    torch.testing.assert_close(torch.stack(each).mean(0), brute)


# ------------------------------------------------------------------------- gradient


def exact_gradient(rbm, data, states):
    """Gradient of the mean log-likelihood of rows by autograd over all states."""
    leaves = {k: x.clone().requires_grad_() for k, x in rbm.parameters().items()}
    machine = RBM(**leaves)
    log_z = (-machine(states(4))).logsumexp(0)
    (-machine(data).mean() - log_z).backward()
    return {k: x.grad for k, x in leaves.items()}


def contrastive(rbm, chains, generator, **options):
    settings = {"method": "pcd", "n_gibbs_steps": 1, "centered": False} | options
    offsets = (
        torch.tensor([0.2, 0.5, 0.4, 0.7]).to(rbm.weight),
        torch.tensor([0.3, 0.6, 0.5]).to(rbm.weight),
    )
    tempering = None
    if settings["method"] == "tempering":
        tempering = TemperedGibbs(torch.zeros(4).to(rbm.weight), 5)
        chains = chains.repeat(5, 1, 1)
    return ContrastiveGradient(
        chains, offsets, tempering=tempering, generator=generator, **settings
    )


def mean_gradient(rbm, data, gradient, n_calls, n_warm_up=0):
    """Average over calls at fixed parameters; with the standard error of each entry."""
    draws = []
    for call in range(n_warm_up + n_calls):
        left, right = gradient(rbm, data)
        if call >= n_warm_up:
            parts = (left.mT @ right, gradient.hidden_bias, gradient.visible_bias)
            draws.append(torch.cat([part.flatten() for part in parts]))
    draws = torch.stack(draws)
    return draws.mean(0), draws.std(0) / len(draws) ** 0.5


def flat(gradients):
    names = ("weight", "hidden_bias", "visible_bias")
    return torch.cat([gradients[name].flatten() for name in names])


@pytest.mark.parametrize("method", ["pcd", "tempering"])
@pytest.mark.parametrize("n_data", [7, 3])
def test_gradient_of_converged_chains_is_the_likelihoods(
    method, n_data, rbm, states, generator
):
    """Each phase is a mean by its own number of rows, 300 and 7 or 3."""
    data = states(4)[[1, 3, 3, 8, 9, 15, 14]][:n_data]
    chains = torch.zeros(300, 3, dtype=torch.float64)
    gradient = contrastive(rbm, chains, generator, method=method)
    mean, error = mean_gradient(rbm, data, gradient, n_calls=300, n_warm_up=100)
    exact = flat(exact_gradient(rbm, data, states))
    # Neighbouring calls are correlated: five times the error of independent ones.
    assert ((mean - exact).abs() < 15 * error + 1e-12).all()
    assert (mean - exact).abs().max() < 0.01


def test_gradient_of_cd_starts_at_data(rbm, states, generator):
    """The expectation of CD-1, summed over all states on the way."""
    data, v, h = states(4)[[1, 8, 9, 15]], states(4), states(3)
    p_h = joint_log_weights(rbm, data, h).softmax(1)
    p_v = joint_log_weights(rbm, v, h).softmax(0)
    after = (p_h @ p_v.mT).mean(0)  # of v after one step
    hidden = rbm.hidden_field(v).sigmoid()
    expected = rbm.hidden_field(data).sigmoid().mT @ data / len(data)
    expected -= (after[:, None] * hidden).mT @ v
    gradient = contrastive(rbm, torch.zeros(2, 3).double(), generator, method="cd")
    mean, error = mean_gradient(rbm, data.repeat(50, 1), gradient, n_calls=400)
    assert ((mean[:12] - expected.flatten()).abs() < 4 * error[:12]).all()
    assert (error[:12] < 0.01).all()


def test_centring_follows_its_equations(rbm, states, generator):
    data = states(4)[[1, 3, 8, 9, 15]]
    chains = torch.bernoulli(torch.full((6, 3), 0.5).double(), generator=generator)
    twins = [torch.Generator().manual_seed(5) for _ in range(2)]
    plain = contrastive(rbm, chains.clone(), twins[0])
    centred = contrastive(rbm, chains.clone(), twins[1], centered=True)
    left, right = plain(rbm, data)
    dw = left.mT @ right
    dc, db = plain.hidden_bias, plain.visible_bias
    left, right = centred(rbm, data)
    mu, lam = centred.visible_offset, centred.hidden_offset
    expected = dw - dc[:, None] * mu - lam[:, None] * db
    torch.testing.assert_close(left.mT @ right, expected)
    torch.testing.assert_close(centred.visible_bias, db - expected.mT @ lam)
    torch.testing.assert_close(centred.hidden_bias, dc - expected @ mu)


@pytest.mark.parametrize("momentum", [0.0, 0.7])
def test_ascent_reaches_the_maximum(momentum, states, generator):
    """A machine that can hold any distribution of two units learns this one."""
    data = states(2)[[0, 0, 0, 3, 3, 1]]
    rbm = RBM(
        0.1 * torch.randn(2, 2, generator=generator).double(),
        torch.zeros(2).double(),
        torch.zeros(2).double(),
    )
    offsets = data.mean(0), torch.full((2,), 0.5).double()
    gradient = ContrastiveGradient(
        torch.zeros(200, 2).double(),
        offsets,
        method="pcd",
        n_gibbs_steps=1,
        centered=True,
        tempering=None,
        generator=generator,
    )
    training = RBMAscent(rbm, gradient, momentum=momentum, averaging=0.99)
    for _ in range(1500):
        training.step(data, 0.3 * (1 - momentum))
    learned = exact_probabilities(training.average, states(2))
    expected = torch.tensor([3, 1, 0, 2]).double() / 6
    assert (learned - expected).abs().max() < 0.02


def test_weight_decay_shrinks_weights_only(rbm, generator):
    gradient = contrastive(rbm, torch.zeros(4, 3).double(), generator)
    before = rbm.weight.clone()
    results = []
    for momentum in (0.0, 1e-12):
        machine = RBM(**{k: x.clone() for k, x in rbm.parameters().items()})
        gradient.generator.manual_seed(1)
        gradient.chains.zero_()
        training = RBMAscent(machine, gradient, momentum=momentum, weight_decay=0.5)
        training.step(torch.ones(2, 4).double(), 0.1)
        results.append(machine)
    torch.testing.assert_close(results[0].weight, results[1].weight)
    gradient.generator.manual_seed(1)
    gradient.chains.zero_()
    left, right = gradient(rbm, torch.ones(2, 4).double())
    torch.testing.assert_close(results[0].weight, 0.95 * before + 0.1 * left.mT @ right)
    assert torch.equal(
        results[0].hidden_bias, rbm.hidden_bias + 0.1 * gradient.hidden_bias
    )


# --------------------------------------------------------------------------- chains


def check_frequencies(v, exact):
    numbers = (v @ torch.tensor([8.0, 4, 2, 1]).to(v)).long()
    counts = torch.bincount(numbers, minlength=16).double()
    error = (exact * (1 - exact) * len(v)).sqrt()
    assert ((counts - len(v) * exact).abs() < 4.5 * error + 1).all()


def test_gibbs_keeps_the_distribution(rbm, states, generator):
    exact = exact_probabilities(rbm, states(4))
    numbers = torch.multinomial(exact, 20_000, replacement=True, generator=generator)
    v = rbm.sample_blocks(states(4)[numbers], generator)
    check_frequencies(v, exact)


def test_tempered_chains_reach_the_distribution(rbm, states, generator):
    tempering = TemperedGibbs(torch.tensor([1.0, -1, 0, 2]).double(), 4)
    v, figures = tempering.run(rbm, 20_000, n_steps=40, generator=generator)
    check_frequencies(v, exact_probabilities(rbm, states(4)))
    assert 0.2 < figures["swap_acceptance"] < 1
    assert figures["r_hat"] < 1.2


def test_swaps_lose_no_replica(generator):
    tempering = TemperedGibbs(torch.zeros(4).double(), 6)
    tilt = torch.randn(6, 50, generator=generator).double()
    for _ in range(2):  # even pairs, then odd ones
        order = tempering._swap(tilt, generator)
        assert (order.sort(0).values == torch.arange(6)[:, None]).all()
        assert (order != torch.arange(6)[:, None]).any()


def test_tempered_machines_join_the_ends(rbm, states):
    base = torch.tensor([1.0, -1, 0, 2]).double()
    v = states(4)
    torch.testing.assert_close(rbm.tempered(1.0, base)(v), rbm(v))
    independent = -(v @ base) - 3 * torch.tensor(2.0).double().log()
    torch.testing.assert_close(rbm.tempered(0.0, base)(v), independent)


OBSERVED = [[NAN, 1.0, NAN, 0.0], [0.0, NAN, NAN, NAN], [1.0, 0.0, 1.0, 1.0]]


def conditional(rbm, observed, states):
    """The states that agree with a row, and their probabilities given it."""
    v = states(4)
    seen = ~observed.isnan()
    v = v[(v[:, seen] == observed[seen]).all(1)]
    return v, exact_probabilities(rbm, v)


def test_clamped_chains_reach_the_conditional(rbm, states, generator):
    observed = torch.tensor(OBSERVED[0], dtype=torch.float64)
    clamped = Clamped(rbm, observed.repeat(20_000, 1))
    v, _ = BlockGibbs().run(
        clamped, clamped.start(generator), n_steps=30, generator=generator
    )
    rows, p = conditional(rbm, observed, states)
    exact = torch.zeros(16, dtype=torch.float64)
    exact[(rows @ torch.tensor([8.0, 4, 2, 1]).double()).long()] = p
    check_frequencies(v, exact)


@pytest.mark.parametrize("limit", [2**10, 0])
def test_conditional_means_and_marginals(limit, rbm, states, generator, monkeypatch):
    """By summing out the missing units, and by chains."""
    import skebm.evaluation.conditionals._rbm as module

    monkeypatch.setattr(module, "MAX_STATES", limit)
    monkeypatch.setattr(module, "_N_STEPS", 2000)
    observed = torch.tensor(OBSERVED, dtype=torch.float64)
    mean_v, mean_h = conditional_means(rbm, observed, generator)
    marginal = log_marginal_unnormalized(rbm, observed)
    tolerance = 1e-9 if limit else 0.02
    for i, row in enumerate(observed):
        v, p = conditional(rbm, row, states)
        assert torch.allclose(mean_v[i], p @ v, atol=tolerance)
        exact = p @ rbm.hidden_field(v).sigmoid()
        assert torch.allclose(mean_h[i], exact, atol=tolerance)
        torch.testing.assert_close(marginal[i], (-rbm(v)).logsumexp(0))
