"""The learned Stein discrepancy against integrals and its closed-form optimum."""

from functools import partial

import pytest
import torch
from torch import nn

from skebm.networks import MLP, EnergyModel
from skebm.objectives import Batch, SteinDiscrepancy
from skebm.references import GaussianMixtureDensity

pytestmark = pytest.mark.usefixtures("seeded")

AXIS = torch.linspace(-6, 6, 31, dtype=torch.float64)
GRID = torch.cartesian_prod(AXIS, AXIS)
MEAN = torch.tensor([[0.5, -0.3]], dtype=torch.float64)
SCALE = torch.tensor([[[0.8, 0.0], [0.5, 0.9]]], dtype=torch.float64)
DATA = GaussianMixtureDensity(torch.ones(1).double(), MEAN, SCALE)
REFERENCE = GaussianMixtureDensity(
    torch.ones(1).double(), torch.zeros(1, 2).double(), torch.eye(2).double()[None]
)
#: The grid as a weighted sample: means over it are sums over a known density.
BATCH = Batch(GRID, weight=DATA.log_prob(GRID).exp())


def score(log_prob, x):
    x = x.detach().requires_grad_()
    return torch.autograd.grad(log_prob(x).sum(), x)[0]


def make_case(objective, stir=0.4):
    model = EnergyModel(MLP(2, 1, (8,)).double(), REFERENCE)
    state = objective.init(model, REFERENCE, torch.Generator().manual_seed(0))
    state = state.double()
    for parameter in [*model.network.parameters(), *state.parameters()]:
        noise = torch.randn(parameter.shape, dtype=torch.float64)
        parameter.data += stir * noise
    return model, state


def gradients(objective, model, state, rng):
    """Return the gradient of each step's losses, by group."""
    found = {}
    groups = objective.parameter_groups(model, state)
    for loss in objective.step(model, BATCH, state, rng):
        parts = torch.autograd.grad(
            loss.value, groups[loss.group].parameters, materialize_grads=True
        )
        found[loss.group] = torch.cat([part.flatten() for part in parts])
    return found


def exact_losses(model, state, penalty, share):
    """Integrals with the full Jacobian's trace in the place of a random projection."""
    data = BATCH.weight / BATCH.weight.sum()
    noise = REFERENCE.log_prob(GRID).exp()
    density = (1 - share) * data + share * noise / noise.sum()
    x = GRID.clone().requires_grad_()
    log_prob = REFERENCE.log_prob(x)
    log_prob = log_prob + torch.log((1 - share) * model.critic(x).exp() + share)
    (s,) = torch.autograd.grad(log_prob.sum(), x, create_graph=True)
    f = state(x)
    trace = sum(
        torch.autograd.grad(f[:, j].sum(), x, create_graph=True)[0][:, j]
        for j in range(2)
    )
    discrepancy = density @ ((s * f).sum(1) + trace)
    size = density @ f.square().sum(1)
    return {"energy": discrepancy, "stein_critic": penalty * size - discrepancy}


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_gradients_are_unbiased(share):
    """Within three standard errors; exact where nothing is drawn."""
    smooth = partial(MLP, hidden_features=(8,))  # a grid resolves it
    objective = SteinDiscrepancy(
        0.7, 1, critic=smooth, reference_share=share, noise_scale=0.0
    )
    model, state = make_case(objective)
    losses = exact_losses(model, state, 0.7, share)
    rng = torch.Generator().manual_seed(0)
    draws = [gradients(objective, model, state, rng) for _ in range(60)]
    for name, group in objective.parameter_groups(model, state).items():
        parts = torch.autograd.grad(
            losses[name], group.parameters, materialize_grads=True, retain_graph=True
        )
        exact = torch.cat([part.flatten() for part in parts])
        found = torch.stack([draw[name] for draw in draws])
        if name == "energy" and not share:
            assert (found - exact).norm(dim=1).max() < 1e-4 * exact.norm()
            continue
        directions = torch.randn(len(exact), 5, dtype=torch.float64)
        directions[:, 0] = exact
        error = (found - exact) @ directions
        standard_error = error.std(dim=0) / len(draws) ** 0.5
        assert exact.square().sum() > 20 * standard_error[0]
        assert (error.mean(dim=0).abs() < 3 * standard_error).all()


def test_the_best_critic_is_the_difference_of_the_scores():
    """On a line and by Newton's step: (s_model - s_data) / (2 lambda), and the value.

    Gaussians have linear scores, so a linear critic holds the best of all.
    """
    penalty, mean, scale = 0.7, 0.5, 0.6
    x = torch.linspace(-5, 6, 2001, dtype=torch.float64)[:, None]
    one = torch.ones(1, 1, dtype=torch.float64)
    data = GaussianMixtureDensity(one[0], mean * one, scale * one[None])
    normal = GaussianMixtureDensity(one[0], 0 * one, one[None])
    model = EnergyModel(MLP(1, 1, (8,)).double(), normal)  # flat, so the model is q0
    objective = SteinDiscrepancy(
        penalty, critic=nn.Linear, reference_share=0.0, noise_scale=0.0
    )
    state = objective.init(model, normal, torch.Generator()).double()
    batch = Batch(x, weight=data.log_prob(x).exp())

    def loss_and_discrepancy():
        rng = torch.Generator().manual_seed(0)
        loss = next(iter(objective.step(model, batch, state, rng)))
        return loss.value, loss.figures["stein_discrepancy"]

    parameters = list(state.parameters())
    for parameter in parameters:
        parameter.data.zero_()
    slopes = torch.autograd.grad(
        loss_and_discrepancy()[0], parameters, create_graph=True
    )
    slope = torch.cat([s.flatten() for s in slopes])
    rows = [torch.autograd.grad(s, parameters, retain_graph=True) for s in slope]
    hessian = torch.stack([torch.cat([r.flatten() for r in row]) for row in rows])
    best = -torch.linalg.solve(hessian, slope.detach())
    difference = torch.stack(
        [1 / scale**2 - 1.0 + 0 * best[0], -mean / scale**2 + 0 * best[0]]
    )
    torch.testing.assert_close(best, difference / (2 * penalty), rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        for parameter, value in zip(parameters, best, strict=True):
            parameter.fill_(value)
    gap = (difference[0] * x + difference[1]).square()[:, 0]
    loss, discrepancy = loss_and_discrepancy()
    divergence = batch.mean(gap).item()
    assert -loss.item() == pytest.approx(divergence / (4 * penalty), rel=1e-4)
    assert discrepancy.item() == pytest.approx(divergence / (2 * penalty), rel=1e-4)
