"""Losses of RBMs without chains: definitions by enumeration, minima, and fits.

The contract of every loss; a new one is a line of DEFINITIONS.
"""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch

from skebm import BernoulliRBM, GaussianRBM, SoftmaxRBM
from skebm.networks import RBM, SoftmaxUnits
from skebm.objectives import DISCRETE_LOSSES, DiscreteGradient
from skebm.objectives.boltzmann.discrete import _concrete_score, _gradient
from skebm.objectives.boltzmann.discrete._probability_flow import MAX_EXPONENT

#: Of the ratios u = p(v') / p(v) of all neighbours, by unit.
DEFINITIONS = {
    "pseudo_likelihood": lambda u: sum(math.log(1 + sum(unit)) for unit in u),
    "ratio_matching": lambda u: sum((x / (1 + x)) ** 2 for unit in u for x in unit),
    "minimum_probability_flow": lambda u: sum(x**0.5 for unit in u for x in unit),
}
EXACT = list(DEFINITIONS)
SIZES = {"binary": (2, 2, 2, 2), "categories": (2, 3, 4)}


def machine(kind, seed=0, scale=1.0):
    """An RBM of 3 hidden units in float64, and its states as visible units."""
    rng = torch.Generator().manual_seed(seed)
    sizes = SIZES[kind]
    values = list(itertools.product(*map(range, sizes)))
    if kind == "binary":
        n, options, v = 4, {}, torch.tensor(values).double()
    else:
        n, options = sum(sizes), {"visible": SoftmaxUnits(sizes)}
        one_hot = [torch.eye(size, dtype=torch.float64) for size in sizes]
        v = torch.stack(
            [torch.cat([e[k] for e, k in zip(one_hot, x, strict=True)]) for x in values]
        )
    w, c, b = (
        scale * torch.randn(shape, generator=rng, dtype=torch.float64)
        for shape in ((3, n), (3,), (n,))
    )
    return RBM(w, c, b, **options), v, values


def neighbours(values, sizes):
    """Return the numbers of the neighbours of each state, by unit."""
    place = {x: i for i, x in enumerate(values)}
    return [
        [
            [place[(*x[:i], k, *x[i + 1 :])] for k in range(size) if k != x[i]]
            for i, size in enumerate(sizes)
        ]
        for x in values
    ]


def leaves_of(rbm):
    leaves = {k: x.clone().requires_grad_() for k, x in rbm.parameters().items()}
    return RBM(**leaves, visible=rbm.visible), list(leaves.values())


def slopes(loss, rbm, v, p):
    """Return the gradient of the mean loss over states of probabilities p."""
    trained, leaves = leaves_of(rbm)
    (p @ loss(trained, v, torch.Generator())).backward()
    return torch.cat([x.grad.flatten() for x in leaves])


def test_every_loss_is_tested():
    assert {*EXACT, "concrete_score_matching"} == set(DISCRETE_LOSSES)


@pytest.mark.parametrize("kind", SIZES)
@pytest.mark.parametrize("name", EXACT)
def test_the_loss_is_its_definition(name, kind):
    rbm, v, values = machine(kind)
    p = (-rbm(v)).softmax(0).tolist()
    expected = [
        DEFINITIONS[name]([[p[j] / p[i] for j in unit] for unit in near])
        for i, near in enumerate(neighbours(values, SIZES[kind]))
    ]
    found = DISCRETE_LOSSES[name](rbm, v, torch.Generator())
    if name == "minimum_probability_flow":  # else the tangent is in the place of some
        assert max(expected) < math.exp(MAX_EXPONENT)
    torch.testing.assert_close(found, torch.tensor(expected).double())


@pytest.mark.parametrize("kind", SIZES)
@pytest.mark.parametrize("name", EXACT)
def test_the_true_distribution_is_the_minimum(name, kind):
    rbm, v, _ = machine(kind)
    loss, p = DISCRETE_LOSSES[name], (-rbm(v)).softmax(0)
    assert slopes(loss, rbm, v, p).abs().max() < 1e-12
    for seed in range(1, 4):
        pairs = zip(parts(rbm), parts(machine(kind, seed)[0]), strict=True)
        mixed = (0.9 * a + 0.1 * b for a, b in pairs)
        other = RBM(*mixed, visible=rbm.visible)
        assert slopes(loss, other, v, p).abs().max() > 1e-3
        best, found = (p @ loss(m, v, torch.Generator()) for m in (rbm, other))
        assert found > best + 1e-4


def parts(rbm):
    return rbm.weight, rbm.hidden_bias, rbm.visible_bias


def noise_between(values, sizes, odds):
    """Return q(row to column): each unit keeps its value with odds against others."""
    return torch.tensor(
        [
            [
                math.prod(
                    (odds if a == b else 1) / (odds + size - 1)
                    for a, b, size in zip(x, y, sizes, strict=True)
                )
                for y in values
            ]
            for x in values
        ]
    ).double()


@pytest.mark.parametrize("kind", SIZES)
def test_concrete_scores_are_those_of_noisy_rows(kind, monkeypatch):
    """The mean loss is the squared error of the noisy rows' ratios, and a constant."""
    odds = 4.0
    monkeypatch.setattr(_concrete_score, "ODDS", odds)
    truth, v, values = machine(kind, 7)
    p = (-truth(v)).softmax(0)
    q = noise_between(values, SIZES[kind], odds)
    noisy = p @ q
    near = [[*itertools.chain(*x)] for x in neighbours(values, SIZES[kind])]
    loss, constants = DISCRETE_LOSSES["concrete_score_matching"], []
    for seed in range(2):
        rbm, _, _ = machine(kind, seed, 0.2)
        model = (-rbm(v)).softmax(0)
        assert all(model[k] < odds * model[j] for j in range(len(v)) for k in near[j])
        exact = sum(
            p[i] * q[i, j] * (model[k] / model[j] - q[i, k] / q[i, j]) ** 2
            for i in range(len(v))
            for j in range(len(v))
            for k in near[j]
        )
        error = sum(
            noisy[j] * (model[k] / model[j] - noisy[k] / noisy[j]) ** 2
            for j in range(len(v))
            for k in near[j]
        )
        constants.append(float(exact - error))
        rng = torch.Generator().manual_seed(0)
        drawn = torch.multinomial(p, 20_000, replacement=True, generator=rng)
        draws = odds * loss(rbm, v[drawn], rng)
        standard_error = float(draws.std()) / len(draws) ** 0.5
        assert abs(float(draws.mean() - exact)) < 3 * standard_error
    assert constants[0] == pytest.approx(constants[1], rel=1e-9)


# ------------------------------------------------------------------------- gradient


@pytest.mark.parametrize("name", DISCRETE_LOSSES)
@pytest.mark.parametrize("kind", SIZES)
def test_the_gradient_comes_in_factors_and_chunks(name, kind, monkeypatch):
    rbm, v, _ = machine(kind)
    rows = v[[0, 3, 3, 5, 7]]
    n, h = rbm.weight.shape[1], 3

    def factors(centered):
        offsets = torch.linspace(0.2, 0.7, n).double(), torch.full((h,), 0.3).double()
        gradient = DiscreteGradient(
            DISCRETE_LOSSES[name],
            torch.zeros(2, 3).double(),
            offsets,
            centered=centered,
            generator=torch.Generator().manual_seed(0),
        )
        left, right = gradient(rbm, rows)
        return left.mT @ right, gradient

    dw, plain = factors(False)
    trained, leaves = leaves_of(rbm)
    loss = DISCRETE_LOSSES[name](trained, rows, torch.Generator().manual_seed(0))
    (-loss.mean()).backward()
    found = dw, plain.hidden_bias, plain.visible_bias
    for slope, leaf in zip(found, leaves, strict=True):
        torch.testing.assert_close(slope, leaf.grad)
    centred_dw, centred = factors(True)
    mu, lam = centred.visible_offset, centred.hidden_offset
    dc, db = plain.hidden_bias, plain.visible_bias
    torch.testing.assert_close(centred_dw, dw - dc[:, None] * mu - lam[:, None] * db)
    torch.testing.assert_close(centred.hidden_bias, dc - centred_dw @ mu)
    torch.testing.assert_close(centred.visible_bias, db - centred_dw.mT @ lam)
    monkeypatch.setattr(_gradient, "MAX_NUMBERS", 2 * rbm.weight.numel())
    if name != "concrete_score_matching":  # its noise is drawn by chunks
        torch.testing.assert_close(factors(False)[0], dw)


# ----------------------------------------------------------------------- estimators


@pytest.fixture(scope="module")
def rows():
    """Rows of an RBM of six binary units and two hidden ones."""
    rng = np.random.RandomState(0)
    W = np.array([[2.0, 2, 2, -2, -2, -2], [2.0, -2, 2, -2, 2, -2]])
    states = np.array(list(itertools.product([0.0, 1.0], repeat=6)))
    log_p = np.logaddexp(0, states @ W.T - 1).sum(1) - states @ W.sum(0) / 3
    p = np.exp(log_p - np.logaddexp.reduce(log_p))
    return states[rng.choice(64, size=1000, p=p)], states, p


def divergence(model, states, p):
    return float(p @ (np.log(p) - model.score_samples(states)))


@pytest.fixture(scope="module")
def learnt(rows):
    """How far models are from the truth that learnt nothing, and by CD."""
    X = rows[0]
    models = BernoulliRBM(4, n_iter=0, random_state=0), learner("cd")
    return [divergence(model.fit(X), *rows[1:]) for model in models]


def learner(method):
    options = {"n_iter": 30, "batch_size": 50, "learning_rate": 0.5, "random_state": 0}
    return BernoulliRBM(4, method=method, **options)


@pytest.mark.parametrize("method", DISCRETE_LOSSES)
def test_every_loss_learns_about_as_well_as_cd(method, rows, learnt):
    nothing, by_cd = learnt
    found = divergence(learner(method).fit(rows[0]), *rows[1:])
    assert found < by_cd + 0.05
    assert found < 0.15 * nothing


@pytest.mark.parametrize("method", DISCRETE_LOSSES)
def test_categories_with_gaps_are_learnt(method):
    rng = np.random.RandomState(0)
    a = rng.randint(3, size=400)
    b = np.where(rng.uniform(size=400) < 0.8, a, rng.randint(3, size=400))
    X = pd.DataFrame({"a": a, "b": b}).astype(float)
    X = X.mask(rng.uniform(size=(400, 2)) < 0.1)
    with torch.inference_mode():
        model = SoftmaxRBM(4, method=method, n_iter=10, random_state=0).fit(X)
        nothing = SoftmaxRBM(4, n_iter=0, random_state=0).fit(X)
        gain = model.score(X) - nothing.score(X)
    assert gain > 0.15


def test_grey_values_are_drawn():
    """A constant grey of 0.5 is learnt as fair coins, not as its mirror image."""
    X = np.tile([0.5, 0.9], (200, 1))
    model = BernoulliRBM(
        1, method="pseudo_likelihood", n_iter=20, weight_averaging=0.9, random_state=0
    ).fit(X)
    p = np.exp(model.score_samples([[1.0, 1.0], [0.0, 1.0]]))
    np.testing.assert_allclose(p, 0.45, atol=0.06)


def test_chains_are_left_alone_and_training_goes_on(rows):
    X = rows[0][:100]
    model = BernoulliRBM(3, method="ratio_matching", n_iter=2, random_state=0).fit(X)
    before = model.h_samples_, model.components_
    model.partial_fit(X)
    np.testing.assert_array_equal(model.h_samples_, before[0])
    assert not np.array_equal(model.components_, before[1])


def test_real_columns_have_no_such_method():
    with pytest.raises(ValueError, match="'method' parameter of GaussianRBM"):
        GaussianRBM(2, method="ratio_matching").fit(np.eye(4))
