"""Score matching against the Fisher divergence, by quadrature."""

import math

import numpy as np
import pytest
import torch

from skebm import EBMDensityEstimator
from skebm.networks import MLP, EnergyModel
from skebm.objectives import (
    Batch,
    CurvaturePropagation,
    DenoisingScoreMatching,
    FiniteDifferenceScoreMatching,
    ScoreMatching,
    SlicedScoreMatching,
)
from skebm.references import GaussianMixtureDensity, UniformBox

NOISE = 0.3
MODES = torch.tensor([[-0.8, 0.3], [0.9, -0.2]], dtype=torch.float64)
WIDTHS = torch.tensor([0.5, 0.7], dtype=torch.float64)
#: Each with noise and draws of the reference; the step too small to be seen.
OBJECTIVES = {
    "exact": ScoreMatching(0.4, NOISE),
    "sliced": SlicedScoreMatching(False, "gaussian", 2, 0.4, NOISE),
    "variance reduced": SlicedScoreMatching(True, "rademacher", 1, 0.4, NOISE),
    "finite difference": FiniteDifferenceScoreMatching(1e-3, 0.4, NOISE),
    "denoising": DenoisingScoreMatching((NOISE,), 0.4),
    "curvature propagation": CurvaturePropagation(0.4, NOISE),
}


def gaussians(means, widths):
    """An even mixture of round Gaussians, float64."""
    weights = torch.full((len(means),), 1 / len(means), dtype=torch.float64)
    eye = torch.eye(means.shape[1], dtype=torch.float64)
    return GaussianMixtureDensity(weights, means, widths[:, None, None] * eye)


def data(d, noise=0.0):
    return gaussians(MODES[:, :d], (WIDTHS**2 + noise**2).sqrt())


def make_model(d, reference=None, embedding=None):
    """A small net with curvature, float64."""
    rng = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = MLP(d, 1, (8, 8), embedding=embedding).double()
    if embedding == "waves":
        net.embedding.resolution = 0.5  # that the grid of a quadrature sees it
    with torch.no_grad():
        net.layers[-1].weight.normal_(generator=rng)
    if reference is None:
        one = torch.full((1,), 1.2, dtype=torch.float64)
        reference = gaussians(torch.zeros(1, d, dtype=torch.float64), one)
    return EnergyModel(net, reference)


def gradient(loss, model):
    parameters = list(model.network.parameters())  # a constant has no score
    parts = torch.autograd.grad(loss, parameters, materialize_grads=True)
    return torch.cat([part.flatten() for part in parts])


def grid(d):
    """Nodes and the weight of each, by the trapezoidal rule."""
    axis = torch.linspace(-7, 7, 4001 if d == 1 else 101, dtype=torch.float64)
    nodes = torch.cartesian_prod(*[axis] * d).view(-1, d)
    return nodes, (axis[1] - axis[0]) ** d


def fisher_gradient(model, p, share):
    """Gradient of the divergence of (1 - w) p_E + w q0 from (1 - w) p + w q0."""
    x, weight = grid(p.means.shape[1])
    x.requires_grad_()
    log_q = model.reference.extended_log_prob(x)
    log_mass = torch.logsumexp(log_q.detach(), 0) + weight.log()  # walls are soft
    log_rest = math.log(share) if share else -math.inf
    log_r = torch.logaddexp(
        p.log_prob(x) + math.log1p(-share), log_q - log_mass + log_rest
    )
    log_model = log_q + torch.logaddexp(
        model.critic(x) + math.log1p(-share), torch.full_like(log_q, log_rest)
    )
    (score,) = torch.autograd.grad(log_r.sum(), x, retain_graph=True)
    (model_score,) = torch.autograd.grad(log_model.sum(), x, create_graph=True)
    distance = (model_score - score).square().sum(dim=1)
    return gradient(
        0.5 * weight * (log_r.detach().exp() * distance).sum(), model
    ), log_r


def assert_mean(draws, exact):
    """Within 3 standard errors, which are small, along the exact gradient and aside."""
    aside = torch.randn(
        exact.shape, generator=torch.Generator().manual_seed(9), dtype=exact.dtype
    )
    for direction in (exact, aside):
        unit = direction / direction.norm()
        along = torch.stack(draws) @ unit
        error = along.std() / math.sqrt(len(along))
        assert abs(along.mean() - exact @ unit) < 3 * error
        assert error < 0.05 * exact.norm()


@pytest.mark.parametrize(
    ("share", "embedding"), [(0.0, None), (0.3, None), (0.3, "waves")]
)
def test_exact_trace(share, embedding):
    """Integration by parts, with and without draws of the reference."""
    model = make_model(2, embedding=embedding)
    exact, log_r = fisher_gradient(model, data(2), share)
    x, weight = grid(2)
    losses = ScoreMatching(share).row_losses(model, x, torch.Generator())
    found = gradient(weight * (log_r.detach().exp() * losses).sum(), model)
    assert (found - exact).norm() < 1e-4 * exact.norm()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_step_descends_the_fisher_divergence(name):
    """From the rows to the loss: of the smoothed density mixed with the reference."""
    model = make_model(2)
    exact, _ = fisher_gradient(model, data(2, NOISE), 0.4)
    assert_mean(step_gradients(OBJECTIVES[name], model, data(2), 60), exact)


@pytest.mark.parametrize("name", ["exact", "denoising"])
def test_a_box_has_soft_walls(name):
    """The same where the reference is zero outside of a box."""
    low, high = -2.5 * torch.ones(2, 1, dtype=torch.float64) * torch.tensor([[1], [-1]])
    model = make_model(1, UniformBox(low, high))
    exact, _ = fisher_gradient(model, data(1, NOISE), 0.4)
    assert_mean(step_gradients(OBJECTIVES[name], model, data(1), 100), exact)


def step_gradients(objective, model, p, n_steps):
    rng = torch.Generator().manual_seed(1)
    state = objective.init(model, model.reference, rng)
    draws = []
    for _ in range(n_steps):
        batch = Batch(p.sample(400, rng))
        (loss,) = objective.step(model, batch, state, rng)
        draws.append(gradient(loss.value, model))
    return draws


def test_several_levels_learn_the_mean_of_the_smoothed_densities():
    model = make_model(1)
    smoothed = [data(1, 0.2), data(1, 0.6)]
    both = gaussians(
        MODES[:, :1].repeat(2, 1),
        torch.cat([p.cholesky[:, 0, 0] for p in smoothed]),
    )
    exact, _ = fisher_gradient(model, both, 0.4)
    objective = DenoisingScoreMatching((0.2, 0.6), 0.4)
    assert_mean(step_gradients(objective, model, data(1), 100), exact)


@pytest.mark.parametrize(
    "objective",
    [
        SlicedScoreMatching(),
        SlicedScoreMatching(projections="gaussian"),
        SlicedScoreMatching(variance_reduced=False),
        CurvaturePropagation(),
    ],
    ids=str,
)
def test_random_traces_are_unbiased(objective):
    """On the same rows, over projections alone."""
    waves = isinstance(objective, CurvaturePropagation)  # sines are layers, too
    model = make_model(2, embedding="waves" if waves else None)
    rng = torch.Generator().manual_seed(2)
    x = data(2).sample(16, rng)
    exact = gradient(ScoreMatching().row_losses(model, x, rng).mean(), model)
    many = x.repeat(25, 1)
    draws = [
        gradient(objective.row_losses(model, many, rng).mean(), model)
        for _ in range(40)
    ]
    assert_mean(draws, exact)


def test_signs_are_exact_in_one_column():
    model = make_model(1)
    rng = torch.Generator().manual_seed(3)
    x = data(1).sample(8, rng)
    exact = ScoreMatching().row_losses(model, x, rng)
    for reduced in (True, False):
        sliced = SlicedScoreMatching(variance_reduced=reduced)
        torch.testing.assert_close(sliced.row_losses(model, x, rng), exact)


def test_more_projections_have_less_variance():
    model = make_model(2)
    rng = torch.Generator().manual_seed(4)
    x = data(2).sample(1, rng).repeat(4000, 1)
    one, four = (
        SlicedScoreMatching(False, "gaussian", n).row_losses(model, x, rng).detach()
        for n in (1, 4)
    )
    assert float(four.var()) == pytest.approx(float(one.var()) / 4, rel=0.2)


def test_finite_differences_err_by_the_square_of_the_step():
    """Towards the sliced loss along the same directions."""
    model = make_model(2)
    x = data(2).sample(32, torch.Generator().manual_seed(5))

    def gradient_of(objective):
        rng = torch.Generator().manual_seed(6)
        return gradient(objective.row_losses(model, x, rng).mean(), model)

    exact = gradient_of(SlicedScoreMatching(variance_reduced=False))
    errors = [
        (gradient_of(FiniteDifferenceScoreMatching(step)) - exact).norm() / exact.norm()
        for step in (0.04, 0.02, 0.01)
    ]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.05)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.05)
    assert errors[2] < 1e-3


def test_the_masses_of_distant_modes_are_seen():
    """Not so without draws of the reference: a moved mass leaves the scores alone."""
    means = torch.tensor([[-3.0], [3.0]], dtype=torch.float64)
    p = gaussians(means, torch.full((2,), 0.3, dtype=torch.float64))
    model = make_model(1)
    shift = torch.nn.Parameter(torch.tensor(0.5, dtype=torch.float64))

    def slope(share):
        def energy(x):
            moved = shift * torch.tanh(20 * x[:, 0])
            return model.reference.log_prob(x) - p.log_prob(x) - moved

        model.energy = energy
        x, weight = grid(1)
        log_q = model.reference.log_prob(x)
        r = (1 - share) * p.log_prob(x).exp() + share * log_q.exp()
        losses = ScoreMatching(share).row_losses(model, x, torch.Generator())
        return float(torch.autograd.grad(weight * (r * losses).sum(), shift)[0])

    assert abs(slope(0.0)) < 1e-6
    assert slope(0.3) > 0.01


def test_pairs_that_do_not_go_together():
    X = np.random.RandomState(0).normal(size=(20, 101))
    with pytest.raises(ValueError, match="sliced_score_matching"):
        EBMDensityEstimator("score_matching", reference="gaussian").fit(X)
    with pytest.raises(ValueError, match="Linear don't go together"):
        EBMDensityEstimator("curvature_propagation", network=torch.nn.Linear).fit(
            X[:, :2]
        )
