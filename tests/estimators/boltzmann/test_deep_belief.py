"""Deep belief networks against enumeration of all their layers."""

import itertools
import pickle

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.special import logsumexp
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.utils.estimator_checks import parametrize_with_checks

from skebm import BernoulliRBM, DeepBeliefNetwork, GaussianRBM, SoftmaxRBM
from skebm.exceptions import DivergenceError, NormalizerWarning, TrainingWarning
from skebm.networks import RBM, DeepBeliefNet, DirectedLayer
from skebm.objectives import UpDown


def states(n):
    rows = list(itertools.product((0.0, 1.0), repeat=n))
    return torch.tensor(rows, dtype=torch.float64)


def random_net(sizes=(4, 3, 2, 3), seed=0):
    """Return a net over so many units a layer; the last two are the top machine's."""
    rng = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=rng, dtype=torch.float64)

    layers = tuple(
        DirectedLayer(normal(m, n), normal(n), normal(m, n), normal(m))
        for n, m in itertools.pairwise(sizes[:-1])
    )
    n, m = sizes[-2:]
    return DeepBeliefNet(layers, RBM(normal(m, n), normal(m), normal(n)))


def exact_log_prob(net):
    """Return log p(v) of every v by the layers' tables, from the top down."""
    top = states(len(net.top.visible_bias))
    log_prob = -net.top(top)
    log_prob = log_prob - log_prob.logsumexp(0)
    above = top
    for layer in reversed(net.layers):
        below = states(len(layer.bias))
        log_odds = above @ layer.weight + layer.bias
        table = (below[:, None] * log_odds).sum(2) - log_odds.exp().log1p().sum(1)
        log_prob, above = (table + log_prob).logsumexp(1), below
    return log_prob


def log_z(net):
    return (-net.top(states(len(net.top.visible_bias)))).logsumexp(0)


def test_the_bound_lies_below_and_rises():
    net = random_net()
    exact, v = exact_log_prob(net), states(4)
    assert exact.logsumexp(0).abs() < 1e-12
    one = torch.stack(
        [
            net.log_bound_unnormalized(v, 1, torch.Generator().manual_seed(seed))
            for seed in range(1000)
        ]
    )
    one -= log_z(net)
    error = one.std(0) / len(one) ** 0.5
    assert (one.mean(0) + 4 * error < exact).all()
    # The bound itself, E_q[log p - log q], by enumeration of h_1 and h_2.
    h1, h2 = (
        t.reshape(-1, t.shape[-1])
        for t in (
            states(3)[:, None].expand(-1, 4, -1),
            states(2)[None].expand(8, -1, -1),
        )
    )
    bound = []
    for row in v:
        table = [row.expand(32, -1), h1, h2]
        log_q = net.recognition_log_prob(table)
        assert log_q.logsumexp(0).abs() < 1e-12
        log_p = net.log_prob_unnormalized(table) - log_z(net)
        assert float(log_p.logsumexp(0)) == pytest.approx(float(exact[len(bound)]))
        bound.append((log_q.exp() * (log_p - log_q)).sum())
    assert ((one.mean(0) - torch.stack(bound)).abs() < 4 * error).all()
    many = net.log_bound_unnormalized(v, 4000, torch.Generator().manual_seed(0))
    assert ((many - log_z(net)) - exact).abs().max() < 0.2


def test_up_down_gradient_in_closed_form():
    """Outer products of errors and inputs, on the draws that autograd sees."""
    net = random_net((4, 3, 2))
    layer, top = net.layers[0], net.top
    names = ("weight", "bias", "recognition_weight", "recognition_bias")
    parameters = [getattr(layer, name) for name in names]
    parameters += top.parameters().values()
    objective, n = UpDown(2), 50
    v = states(4)[torch.arange(n) % 16]
    awake, asleep = objective.draw(net, v, torch.Generator().manual_seed(0))
    for parameter in parameters:
        parameter.requires_grad_()
    loss = objective.loss(net, awake, asleep)
    found = torch.autograd.grad(-loss, parameters)
    with torch.no_grad():
        (v, h), (v2, h2) = awake, asleep
        error = v - torch.sigmoid(layer.bias + h @ layer.weight)
        surprise = h2 - torch.sigmoid(
            layer.recognition_bias + v2 @ layer.recognition_weight.T
        )
        up = torch.sigmoid(top.hidden_bias + h @ top.weight.T)
        up2 = torch.sigmoid(top.hidden_bias + h2 @ top.weight.T)
        expected = [
            h.T @ error / n,
            error.mean(0),
            surprise.T @ v2 / n,
            surprise.mean(0),
            (up.T @ h - up2.T @ h2) / n,
            (up - up2).mean(0),
            (h - h2).mean(0),
        ]
    for a, b in zip(found, expected, strict=True):
        assert b.norm() > 1e-3
        assert (a - b).norm() < 1e-10 * b.norm()


def test_waking_is_the_gradient_of_the_bound():
    """In expectation, for the layers that generate."""
    net = random_net((3, 2, 2))
    layer, v = net.layers[0], states(3)
    parameters = [layer.weight.requires_grad_(), layer.bias.requires_grad_()]
    h = states(2)
    with torch.no_grad():
        field = layer.field(v)
        log_q = (h[:, None] * field).sum(2) - field.exp().log1p().sum(1)
    log_p = torch.stack([layer.log_prob(v, h[k].expand(8, -1)) for k in range(4)])
    exact = torch.autograd.grad((log_q.exp() * log_p).sum(0).mean(), parameters)
    n = 40_000
    objective = UpDown(1)
    with torch.no_grad():
        rows = v.repeat(n // 8, 1)
    draws = objective.draw(net, rows, torch.Generator().manual_seed(0))
    found = torch.autograd.grad(-objective.loss(net, *draws), parameters)
    for a, b in zip(found, exact, strict=True):
        assert (a - b).abs().max() < 4 / n**0.5


def small_table(n=600):
    """Rows of eight columns: three noisy patterns and their complements."""
    rng = np.random.RandomState(0)
    patterns = rng.randint(2, size=(3, 8))
    rows = np.abs(patterns[rng.randint(3, size=n)] - rng.randint(2, size=(n, 1)))
    return np.abs(rows - (rng.uniform(size=(n, 8)) < 0.05)) * 1.0


@pytest.fixture(scope="module")
def fitted():
    return DeepBeliefNetwork((3, 6), n_iter=30, random_state=2).fit(small_table())


def test_scores_are_a_bound_on_a_density_that_sums_to_one(fitted):
    exact = exact_log_prob(fitted._fitted.net(np.float64)).numpy()
    assert logsumexp(exact) == pytest.approx(0, abs=1e-9)
    V = states(8).numpy()
    assert np.abs(exact - fitted.score_samples(V)).max() < 0.2
    np.testing.assert_array_equal(
        fitted.score_samples(V)[5:7], fitted.score_samples(V[5:7])
    )


def test_a_second_layer_raises_the_likelihood(fitted):
    """By enumeration: over its first machine alone, with and without fine-tuning."""
    X = small_table()
    numbers = (X @ 2 ** np.arange(8)[::-1]).astype(int)

    def likelihood(model):
        return exact_log_prob(model._fitted.net(np.float64)).numpy()[numbers].mean()

    first = clone(fitted.rbms_[0]).set_params(normalizer="exact").fit(X)
    tuned = clone(fitted).set_params(n_fine_tuning_iter=10).fit(X)
    assert likelihood(fitted) > first.score(X) + 0.01
    assert likelihood(tuned) > first.score(X) + 0.01
    assert not np.allclose(
        tuned.generative_components_[0], tuned.recognition_components_[0]
    )
    assert np.isfinite(tuned.rbms_[-1].partial_fit(np.ones((4, 3))).components_).all()


def test_samples_follow_the_net(fitted):
    exact = exact_log_prob(fitted._fitted.net(np.float64)).exp().numpy()
    n = 20_000
    X = fitted.sample(n, random_state=0, n_steps=500)
    found = np.bincount((X @ 2 ** np.arange(8)[::-1]).astype(int), minlength=256) / n
    assert np.abs(found - exact).max() < 4 * (exact.max() / n) ** 0.5


def test_one_layer_is_its_machine():
    X = small_table()
    net = DeepBeliefNetwork((5,), random_state=0).fit(X)
    machine = net.rbms_[0]
    np.testing.assert_allclose(net.score_samples(X), machine.score_samples(X))
    np.testing.assert_allclose(net.transform(X), machine.transform(X))
    assert set(np.unique(net.sample(5, random_state=0))) <= {0, 1}


def test_three_layers_of_digits_sparse_and_dense():
    X = (load_digits().data > 7) * 1.0
    net = DeepBeliefNetwork(
        (32, 16, 8), n_iter=2, batch_size=50, n_fine_tuning_iter=2, random_state=0
    )
    dense, rare = clone(net).fit(X), clone(net).fit(sparse.csr_matrix(X))
    assert dense.transform(X).shape == (1797, 8)
    np.testing.assert_allclose(dense.transform(X), rare.transform(X), atol=1e-4)
    copy = pickle.loads(pickle.dumps(dense))
    np.testing.assert_array_equal(copy.score_samples(X[:9]), dense.score_samples(X[:9]))
    assert len(dense.get_feature_names_out()) == 8


@pytest.mark.parametrize(
    ("bottom", "X"),
    [
        (GaussianRBM(8, n_iter=3), np.random.RandomState(0).normal(size=(200, 3))),
        (SoftmaxRBM(8, n_iter=3), np.random.RandomState(0).randint(4, size=(200, 3))),
    ],
    ids=["real", "categorical"],
)
def test_other_machines_at_the_bottom(bottom, X):
    net = DeepBeliefNetwork((bottom, 4), n_fine_tuning_iter=2, random_state=0).fit(X)
    assert np.isfinite(net.score(X))
    assert net.transform(X).shape == (200, 4)
    drawn = net.sample(300, random_state=0, n_steps=50)
    assert drawn.shape == (300, 3)
    assert np.abs(drawn.astype(float).mean(0) - X.mean(0)).max() < 0.6


def test_bad_input():
    X = small_table(20)
    with pytest.raises(ValueError, match="at least one layer"):
        DeepBeliefNetwork(()).fit(X)
    with pytest.raises(ValueError, match="ints of at least 1"):
        DeepBeliefNetwork((4, 0)).fit(X)
    with pytest.raises(ValueError, match="see binary units"):
        DeepBeliefNetwork((4, GaussianRBM(2))).fit(X)
    with pytest.raises(ValueError, match=r"NaN in columns .* DeepBeliefNetwork"):
        DeepBeliefNetwork((4,)).fit(np.where(X == 1, np.nan, X))
    with pytest.raises(ValueError, match="fine_tuning_rate"):
        DeepBeliefNetwork((4,), fine_tuning_rate=0).fit(X)


def test_lower_machines_keep_their_options():
    lower = BernoulliRBM(5, momentum=0.5, n_iter=1)
    net = DeepBeliefNetwork((lower, 2), n_iter=2, random_state=0).fit(small_table(50))
    assert net.rbms_[0].momentum == 0.5
    assert net.rbms_[0] is not lower
    assert [rbm.n_iter_ for rbm in net.rbms_] == [1, 2]


@pytest.fixture
def numpy_state():
    """Put NumPy's global state back: some checks draw from it themselves."""
    state = np.random.get_state()
    yield
    np.random.set_state(state)


@pytest.mark.filterwarnings("ignore::skebm.exceptions.SkebmWarning")
@pytest.mark.usefixtures("numpy_state")
@parametrize_with_checks(
    [DeepBeliefNetwork((5, 3), n_iter=1, n_fine_tuning_iter=1, n_draws=5)]
)
def test_estimator_check(estimator, check):
    check(estimator)


def test_fine_tuning_out_of_all_bounds_is_divergence():
    model = DeepBeliefNetwork(
        (4, 3), n_iter=2, n_fine_tuning_iter=2, fine_tuning_rate=1e30, random_state=0
    )
    with pytest.raises(DivergenceError, match="largest parameter"):
        model.fit(small_table())


def test_an_interrupt_of_fine_tuning_leaves_a_usable_model(monkeypatch):
    draw, calls = UpDown.draw, []

    def interrupted(self, *args):
        calls.append(1)
        if len(calls) == 70:
            raise KeyboardInterrupt
        return draw(self, *args)

    monkeypatch.setattr(UpDown, "draw", interrupted)
    model = DeepBeliefNetwork((4, 3), n_iter=2, n_fine_tuning_iter=5, random_state=0)
    with pytest.warns(TrainingWarning, match="fine-tuning after 1 epochs"):
        model.fit(small_table())
    assert np.exp(model.score_samples(states(8))).sum() < 1.2


def test_a_score_without_log_z_says_so():
    model = DeepBeliefNetwork((4, 3), n_iter=1, normalizer=None, random_state=0)
    with pytest.warns(NormalizerWarning, match="leaves out log Z"):
        model.fit(small_table()).score(small_table())


def test_the_number_of_draws_is_checked_when_it_is_used():
    model = DeepBeliefNetwork((5, 3), n_iter=1, n_fine_tuning_iter=1).fit(np.eye(6))
    with pytest.raises(ValueError, match="'n_draws' parameter of DeepBelief"):
        model.set_params(n_draws=0.5).score_samples(np.eye(6))
