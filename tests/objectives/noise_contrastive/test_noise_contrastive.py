"""The noise-contrastive objectives against integrals on a line, and their optima."""

import dataclasses
import sys

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from torch import nn
from torch.nn.functional import softplus

from skebm import EBMDensityEstimator, JEMClassifier
from skebm.networks import MLP, EnergyModel
from skebm.objectives import (
    NCE,
    Batch,
    ConditionalNCE,
    FlowContrastive,
    Joint,
    Telescoping,
)
from skebm.references import GaussianMixtureDensity, KernelDensity, UniformBox

pytestmark = pytest.mark.usefixtures("seeded")

GRID = torch.linspace(-9, 9, 401, dtype=torch.float64)[:, None]
STEP = 18 / 400


def gaussian(mean, scale):
    """Return the density N(mean, scale^2) on the line, in float64."""
    one = torch.ones(1, dtype=torch.float64)
    return GaussianMixtureDensity(one, mean * one[None], scale * one[None, None])


def two_modes():
    weights = torch.tensor([0.3, 0.7], dtype=torch.float64)
    means = torch.tensor([[-1.5], [1.0]], dtype=torch.float64)
    scales = torch.tensor([0.6, 0.8], dtype=torch.float64)[:, None, None]
    return GaussianMixtureDensity(weights, means, scales)


class Quadratic(nn.Module):
    """a + b x + c x^2, which is what log ratios of Gaussians are."""

    def __init__(self, n_outputs=1):
        super().__init__()
        self.layer = nn.Linear(3, n_outputs, bias=False).double()
        nn.init.zeros_(self.layer.weight)

    def forward(self, x):
        return self.layer(torch.cat([torch.ones_like(x), x, x * x], dim=1))


def make_model(reference, network=None):
    network = network or MLP(1, 1, (8,)).double()
    for parameter in network.parameters():
        parameter.data += 0.4 * torch.randn(parameter.shape, dtype=torch.float64)
    return EnergyModel(network, reference)


def integral(values):
    return torch.trapezoid(values, dx=STEP)


def gradient_of(loss, parameters):
    parts = torch.autograd.grad(loss, parameters)
    return torch.cat([part.flatten() for part in parts])


def assert_agrees(objective, model, state, exact, *, group="energy", repeats=60, n=400):
    """Compare the mean gradient over many batches with that of the exact loss.

    Along the exact gradient and some random directions, within three standard errors,
    and so many draws that the gradient itself is tens of them.
    """
    rng = torch.Generator().manual_seed(1)
    parameters = objective.parameter_groups(model, state)[group].parameters
    exact = gradient_of(exact, parameters)
    directions = torch.randn(len(exact), 4, generator=rng, dtype=torch.float64)
    directions = torch.cat([exact[:, None], directions], dim=1)
    directions = directions / directions.norm(dim=0)
    draws = []
    for _ in range(repeats):
        batch = Batch(two_modes().sample(n, rng), progress=0.9)
        for loss in objective.step(model, batch, state, rng):
            if loss.group == group:
                draws.append(gradient_of(loss.value, parameters) @ directions)
    draws = torch.stack(draws)
    error = draws.mean(dim=0) - exact @ directions
    standard_error = draws.std(dim=0) / len(draws) ** 0.5
    assert exact.norm() > 20 * standard_error[0]
    assert (error.abs() < 3 * standard_error).all(), error / standard_error


def init(objective, model):
    state = objective.init(model, model.reference, torch.Generator().manual_seed(0))
    return state.double()


# ------------------------------------------------------------------------------ NCE


class Midpoints(UniformBox):
    """A box whose draws are midpoints of equal cells: means over them are integrals."""

    def sample(self, n_samples, generator):
        cell = (self.high - self.low) / n_samples
        return self.low + cell * (torch.arange(n_samples).double()[:, None] + 0.5)


def exact_nce(model, log_prob_data, noise_ratio):
    critic = model.critic(GRID)
    noise = model.reference.log_prob(GRID).exp()
    data = log_prob_data(GRID).exp()
    shift = np.log(noise_ratio)
    terms = data * softplus(shift - critic)
    return integral(terms + noise_ratio * noise * softplus(critic - shift))


def test_nce_on_a_grid_is_the_exact_objective():
    box = Midpoints(*torch.tensor([[-9.0], [9.0]], dtype=torch.float64))
    model = make_model(box)
    x = box.sample(1500, None)
    batch = Batch(x, weight=two_modes().log_prob(x).exp())
    (loss,) = NCE(noise_ratio=3).step(model, batch, nn.Module(), torch.Generator())
    parameters = list(model.network.parameters())
    found = gradient_of(loss.value, parameters)
    exact = exact_nce(model, two_modes().log_prob, 3)
    exact = gradient_of(exact, parameters)
    assert (found - exact).norm() < 1e-4 * exact.norm()


def test_nce_gradient_is_unbiased():
    model = make_model(gaussian(0.3, 2.0))
    exact = exact_nce(model, two_modes().log_prob, 2)
    assert_agrees(NCE(noise_ratio=2), model, nn.Module(), exact)


@pytest.mark.parametrize("offset", [0.0, 0.3])
def test_nce_is_at_rest_where_the_model_is_the_data_and_normalised(offset):
    """A critic that is off by a constant is not at rest: the constant is learnt."""
    box = Midpoints(*torch.tensor([[-9.0], [9.0]], dtype=torch.float64))
    model = make_model(box)
    x = box.sample(1500, None)
    log_density = model.log_prob_unnormalized(x).detach()
    log_normalizer = torch.logsumexp(log_density, 0) + np.log(18 / 1500)
    last = list(model.network.parameters())[-1]
    last.data -= log_normalizer - offset
    batch = Batch(x, weight=log_density.exp())
    (loss,) = NCE(noise_ratio=3).step(model, batch, nn.Module(), torch.Generator())
    norm = gradient_of(loss.value, list(model.network.parameters())).norm()
    assert norm < 1e-4 if offset == 0 else norm > 0.05


def test_nce_within_components_is_unbiased():
    """A double integral over rows, components and draws of the component."""
    reference = two_modes()
    model = make_model(reference)
    objective = NCE(noise_ratio=2, component_weight=3.0)
    shares = reference._log_joint(GRID).softmax(dim=1)
    critic = model.critic(GRID)
    losses = softplus(critic - critic.unsqueeze(1))  # of row i and draw j
    parts = [gaussian(-1.5, 0.6), gaussian(1.0, 0.8)]
    means = torch.stack(
        [STEP * losses @ part.log_prob(GRID).exp() for part in parts], dim=1
    )
    pairs = integral(two_modes().log_prob(GRID).exp() * (shares * means).sum(dim=1))
    exact = exact_nce(model, two_modes().log_prob, 2) + 3 * pairs
    assert_agrees(objective, model, nn.Module(), exact)


def test_nce_within_components_is_at_rest_where_the_model_is_the_data():
    """The critic log(p / q0) of a reference that is off: neither term pulls."""
    data, reference = gaussian(0.5, 1.0), gaussian(0.0, 1.0)
    network = Quadratic()  # log N(x; 0.5, 1) - log N(x; 0, 1)
    network.layer.weight.data = torch.tensor([[-0.125, 0.5, 0.0]]).double()
    model = EnergyModel(network, reference)
    rng = torch.Generator().manual_seed(0)
    objective = NCE(noise_ratio=2, component_weight=3.0)
    gradients = []
    for _ in range(100):
        batch = Batch(data.sample(400, rng))
        (loss,) = objective.step(model, batch, nn.Module(), rng)
        gradients.append(gradient_of(loss.value, list(network.parameters())))
    gradients = torch.stack(gradients)
    error = gradients.std(dim=0) / 10
    assert (gradients.mean(dim=0).abs() < 3.5 * error).all()


def test_references_without_transitions_are_told_from_noise_alone():
    reference = KernelDensity(
        torch.tensor([[-1.0], [1.0]]), torch.ones(2) / 2, torch.ones(1)
    )
    losses = []
    for objective in (NCE(), NCE.stratified()):
        model = make_model(reference.double(), Quadratic())
        rng = torch.Generator().manual_seed(0)
        model.network.layer.weight.data.fill_(0.1)
        batch = Batch(two_modes().sample(50, rng))
        (loss,) = objective.step(model, batch, nn.Module(), rng)
        losses.append(loss.value.item())
    assert losses[0] == losses[1]


# ------------------------------------------------------------------ conditional NCE


def exact_conditional_nce(model, log_prob_data, scales):
    """A double integral, over pairs and, by Gauss-Legendre, over the scale."""
    nodes, weights = np.polynomial.legendre.leggauss(12)
    low, high = np.log(scales)
    distance = GRID - GRID.T
    kernel = sum(
        weight / 2 * gaussian(0.0, scale).log_prob(distance.reshape(-1, 1)).exp()
        for weight, scale in zip(
            weights, np.exp(low + (high - low) * (nodes + 1) / 2), strict=True
        )
    ).reshape(distance.shape)
    f = model.log_prob_unnormalized(GRID)
    inner = STEP * (kernel * softplus(f[:, None] - f)).sum(dim=0)
    return 2 * integral(log_prob_data(GRID).exp() * inner)


def test_conditional_nce_gradient_is_unbiased():
    model = make_model(gaussian(0.3, 2.0))
    objective = ConditionalNCE(noise_scale=(0.5, 2.0), n_noise=2)
    exact = exact_conditional_nce(model, two_modes().log_prob, (0.5, 2.0))
    assert_agrees(objective, model, nn.Module(), exact)


def test_conditional_nce_is_at_rest_where_the_model_is_the_data():
    model = make_model(gaussian(0.3, 1.5))
    log_normalizer = integral(model.log_prob_unnormalized(GRID).detach().exp()).log()

    def log_prob(x):
        return model.log_prob_unnormalized(x).detach() - log_normalizer

    exact = exact_conditional_nce(model, log_prob, (0.5, 2.0))
    assert gradient_of(exact, list(model.network.parameters())).norm() < 1e-4


def test_conditional_noise_beyond_the_walls_is_told_for_certain():
    box = UniformBox(*torch.tensor([[-0.1], [0.1]], dtype=torch.float64))
    model = make_model(box)
    rng = torch.Generator().manual_seed(0)
    (loss,) = ConditionalNCE((50.0, 50.0), 1).step(
        model, Batch(box.sample(20, rng)), nn.Module(), rng
    )
    assert loss.value < 0.1  # hardly any noise row inside
    assert torch.isfinite(
        gradient_of(loss.value, list(model.network.parameters()))
    ).all()


# ------------------------------------------------------------------ flow-contrastive


class AffineFlow(nn.Module):
    """x = m + s z, a flow whose density is a Gaussian's."""

    def __init__(self, n_features):
        super().__init__()
        self.mean = nn.Parameter(torch.tensor([0.4]))
        self.log_scale = nn.Parameter(torch.tensor([0.5]))

    def transform(self):
        shift, scale = self.mean, self.log_scale.exp()
        return Affine(-shift / scale, -self.log_scale)


class Affine:
    """Maps x to shift + x e^log_scale, with the protocol of zuko's transforms."""

    def __init__(self, shift, log_scale):
        self.shift, self.log_scale = shift, log_scale

    def call_and_ladj(self, x):
        return self.shift + self.log_scale.exp() * x, self.log_scale.expand(len(x))

    @property
    def inv(self):
        return Affine(-self.shift / self.log_scale.exp(), -self.log_scale)


def exact_flow_contrast(model, flow):
    density = torch.distributions.Normal(flow.mean, flow.log_scale.exp())
    log_q = density.log_prob(GRID)[:, 0]
    ratio = model.log_prob_unnormalized(GRID) - log_q
    data = two_modes().log_prob(GRID).exp()
    return integral(data * softplus(-ratio) + log_q.exp() * softplus(ratio))


@pytest.mark.parametrize(("group", "sign"), [("energy", 1), ("flow", -1)])
def test_flow_contrast_descends_and_the_flow_ascends(group, sign):
    """The flow's gradient goes through its draws and through its density."""
    model = make_model(gaussian(0.3, 2.0))
    objective = FlowContrastive(flow=AffineFlow)
    state = init(objective, model)
    exact = sign * exact_flow_contrast(model, state.flow)
    assert_agrees(objective, model, state, exact, group=group, repeats=100, n=1000)


def test_the_flow_begins_by_likelihood():
    model = make_model(gaussian(0.3, 2.0))
    objective = FlowContrastive(flow=AffineFlow)
    state = init(objective, model)
    x = torch.randn(50, 1, dtype=torch.float64)
    losses = objective.step(model, Batch(x, progress=0.0), state, torch.Generator())
    normal = torch.distributions.Normal(0.4, float(np.exp(0.5)))
    expected = -normal.log_prob(x).mean()
    assert list(losses)[1].value.item() == pytest.approx(expected.item(), abs=1e-6)


def test_flow_noise_knows_its_density():
    objective = FlowContrastive()
    model = EnergyModel(MLP(2, 1), UniformBox(torch.zeros(2), torch.ones(2)))
    state = init(objective, model)
    for parameter in state.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, dtype=torch.float64)
    x, log_q = state.draw(torch.randn(50, 2, dtype=torch.float64))
    torch.testing.assert_close(state.log_prob(x), log_q)
    axis = torch.linspace(-8, 8, 201, dtype=torch.float64)
    with torch.no_grad():
        mass = state.log_prob(torch.cartesian_prod(axis, axis)).exp().sum() * 0.08**2
    assert mass.item() == pytest.approx(1, abs=0.01)


def test_without_zuko_there_is_an_error_before_training(monkeypatch):
    monkeypatch.setitem(sys.modules, "zuko", None)
    X = np.random.RandomState(0).normal(size=(30, 2))
    with pytest.raises(ImportError, match=r"flow_contrastive.*zuko.*skebm\[flows\]"):
        EBMDensityEstimator(objective="flow_contrastive").fit(X)


# ---------------------------------------------------------------------- telescoping


def gaussian_log_ratio(mean, variance):
    """Coefficients of log N(x; mean, variance) - log N(x; 0, 1)."""
    constant = -0.5 * (np.log(variance) + mean**2 / variance)
    return constant, mean / variance, 0.5 - 0.5 / variance


WAYMARKS = (0.3, 0.7)
MEAN, SCALE = 0.5, 0.2


def waymark_ratios():
    """Closed-form log ratio of the data and each waymark to the noise."""
    for a in (0.0, *WAYMARKS):
        keep = np.sqrt(1 - a**2)
        yield gaussian_log_ratio(keep * MEAN, (keep * SCALE) ** 2 + a**2)


def minimize(objective, model, state, x):
    """Bring the loss of one large sample to its minimum."""
    (group,) = objective.parameter_groups(model, state).values()
    optimizer = torch.optim.LBFGS(
        group.parameters, max_iter=100, history_size=20, line_search_fn="strong_wolfe"
    )

    def closure():
        rng = torch.Generator().manual_seed(2)
        (loss,) = objective.step(model, Batch(x), state, rng)
        optimizer.zero_grad()
        loss.value.backward()
        return loss.value

    optimizer.step(closure)


@pytest.mark.parametrize("span_weight", [0.0, 1.0])
def test_telescoping_bridges_are_the_closed_form_of_gaussians(span_weight):
    """The loss of a large sample, convex here, is minimised; all K ratios are known."""
    n_rows = 20_000
    x = gaussian(MEAN, SCALE).sample(n_rows, torch.Generator().manual_seed(1))
    model = EnergyModel(Quadratic(), gaussian(0.0, 1.0))
    objective = Telescoping(WAYMARKS, span_weight, ratios=lambda d, k: Quadratic(k))
    state = init(objective, model)
    minimize(objective, model, state, x)
    near = gaussian(MEAN, SCALE).sample(300, torch.Generator().manual_seed(3))
    powers = torch.cat([torch.ones_like(near), near, near**2], dim=1)
    exact = powers @ torch.tensor(list(waymark_ratios()), dtype=torch.float64).T
    with torch.no_grad():
        found = torch.cat([model.network(near), state(near)], dim=1)
    assert exact.abs().mean() > 0.5
    assert (found - exact).abs().mean(dim=0).max() < 0.05


class QuadraticForm(nn.Module):
    """a + x^T W x for each output: the log ratio of Gaussians with one mean."""

    def __init__(self, n_features, n_outputs):
        super().__init__()
        shape = (n_outputs, n_features, n_features)
        self.weight = nn.Parameter(torch.zeros(shape, dtype=torch.float64))
        self.bias = nn.Parameter(torch.zeros(n_outputs, dtype=torch.float64))

    def forward(self, x):
        return torch.einsum("ni,kij,nj->nk", x, self.weight, x) + self.bias


def test_telescoping_carries_over_a_gap_that_nce_does_not():
    """Correlated columns against independent ones, 11.6 nats apart; 2000 rows."""
    n_features = 20
    pair = torch.tensor([[1.0, 0.95], [0.95, 1.0]], dtype=torch.float64)
    eye = torch.eye(n_features, dtype=torch.float64)
    factor = torch.linalg.cholesky(torch.block_diag(*[pair] * (n_features // 2)))
    one, zero = eye[0, :1], 0 * eye[:1]
    data = GaussianMixtureDensity(one, zero, factor[None])
    reference = GaussianMixtureDensity(one, zero, eye[None])
    rng = torch.Generator().manual_seed(0)
    x, fresh = data.sample(2000, rng), data.sample(2000, rng)
    exact = data.log_prob(fresh) - reference.log_prob(fresh)
    errors = {}
    for objective in (NCE(), Telescoping(ratios=QuadraticForm)):
        model = EnergyModel(QuadraticForm(n_features, 1), reference)
        minimize(objective, model, objective.init(model, reference, rng), x)
        error = (model.critic(fresh) - exact).square().mean().sqrt()
        errors[type(objective)] = error.item()
    assert errors[Telescoping] < 3
    assert errors[NCE] > 10 * errors[Telescoping]


def test_nce_trains_the_density_of_a_classifier(blobs):
    X, y = blobs
    model = JEMClassifier(objective="nce", max_iter=20, random_state=0).fit(X, y)
    assert model.score(X, y) > 0.98
    far = np.array([[20.0, 20.0]])
    assert model.score_samples(X).min() > model.score_samples(far)[0]


@pytest.mark.parametrize("objective", ["conditional_nce", "flow_contrastive"])
def test_columns_with_ties_in_a_box(objective):
    X = load_iris().data
    options = {"reference": None, "max_iter": 30, "random_state": 0}
    model = EBMDensityEstimator(objective, **options).fit(X)
    assert model.history_["n_rollbacks"][-1] == 0


def test_the_flow_of_a_classifier_keeps_its_interval():
    """Every third of the density's steps, however many make an epoch."""
    rng = torch.Generator().manual_seed(0)
    reference = GaussianMixtureDensity(
        torch.ones(1), torch.zeros(1, 2), torch.eye(2)[None]
    )
    model = EnergyModel(MLP(2, 2, (8,)), reference)
    objective = Joint(FlowContrastive(flow_interval=3))
    state = objective.init(model, reference, rng)
    x = reference.sample(16, rng)
    batch = Batch(x, labeled=Batch(x, torch.arange(16) % 2))
    groups = [
        loss.group
        for index in (0, 1, 2, 3) * 6
        for loss in objective.step(
            model, dataclasses.replace(batch, number=index), state, rng
        )
    ]
    assert groups.count("energy") == 24
    assert groups.count("flow") == 4
