"""Energy discrepancy against closed forms of Gaussians, integrals, and categories."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

from skebm.networks import EnergyModel
from skebm.objectives import Batch, EnergyDiscrepancy
from skebm.references import GaussianMixtureDensity
from skebm.tables._cells import Cells, Intervals
from skebm.tables._diffusion import CategoryDiffusion

pytestmark = pytest.mark.usefixtures("seeded")

GRID = torch.linspace(-9, 9, 601, dtype=torch.float64)[:, None]


def gaussian(mean, scale):
    one = torch.ones(1, dtype=torch.float64)
    return GaussianMixtureDensity(one, mean * one[None], scale * one[None, None])


class Quadratic(nn.Module):
    """b x + c x^2: on a normal reference the model is any Gaussian."""

    def __init__(self, mean, scale):
        super().__init__()
        slopes = torch.tensor([mean / scale**2, 0.5 - 0.5 / scale**2])
        self.slopes = nn.Parameter(slopes.double())

    def forward(self, x):
        return torch.cat([x, x * x], dim=1) @ self.slopes[:, None]


def discrepancy(t, mean, scale, data_scale):
    """Return E U(x) - E U_t(x_t) for data N(0, data_scale^2), in closed form.

    U_t is minus the log of the smoothed exp(-U), a Gaussian of variance scale^2 + t.
    """
    wide = scale**2 + t
    of_rows = (data_scale**2 + mean**2) / (2 * scale**2)
    of_noisy = (data_scale**2 + t + mean**2) / (2 * wide)
    return of_rows - of_noisy + 0.5 * math.log(scale**2 / wide)


def losses(objective, model, data, n_rows, repeats=1):
    rng = torch.Generator().manual_seed(0)
    for _ in range(repeats):
        batch = Batch(data.sample(n_rows, rng))
        yield next(iter(objective.step(model, batch, nn.Module(), rng))).value


@pytest.mark.parametrize("t", [0.2, 1.0])
@pytest.mark.parametrize("stabilization", [1e-9, 1.0])
def test_the_loss_of_gaussians_is_that_in_closed_form(t, stabilization):
    """With many points w does not matter."""
    objective = EnergyDiscrepancy((t**0.5, t**0.5), 500, stabilization)
    model = EnergyModel(Quadratic(0.4, 1.3), gaussian(0.0, 1.0))
    with torch.no_grad():
        found = torch.stack(list(losses(objective, model, gaussian(0, 0.9), 400, 20)))
    error = found.std() / len(found) ** 0.5
    exact = discrepancy(t, 0.4, 1.3, 0.9)
    assert abs(found.mean() - exact) < 3 * error + 2e-3
    assert abs(discrepancy(t, 0.0, 0.9, 0.9) - exact) > 10 * error  # of the truth


def test_the_closed_form_goes_from_score_matching_to_likelihood():
    mean, scale, data = 0.4, 1.3, 0.9
    squared = (data**2 + mean**2) / scale**4
    score_matching = 0.5 * squared - 1 / scale**2
    assert discrepancy(1e-6, mean, scale, data) / 1e-6 == pytest.approx(
        score_matching, rel=1e-4
    )
    likelihood = 0.5 * (data**2 + mean**2) / scale**2 + math.log(scale)
    best = 0.5 + math.log(data)
    t = 1e6
    gain = discrepancy(t, mean, scale, data) - discrepancy(t, 0.0, data, data)
    assert gain == pytest.approx(likelihood - best, rel=1e-3)


@pytest.mark.parametrize("w", [0.5, 1.0])
def test_one_point_against_quadrature(w):
    """M = 1: the mean over a row and a point about it, at any w."""
    s, data = 0.7, gaussian(0.3, 0.8)
    model = EnergyModel(Quadratic(-0.2, 1.1), gaussian(0.0, 1.0))
    step = float(GRID[1, 0] - GRID[0, 0])
    with torch.no_grad():
        log_ratio = model.log_prob_unnormalized(GRID)
        log_ratio = log_ratio - log_ratio[:, None]  # from row to column
        noise = gaussian(0.0, 2**0.5 * s).log_prob((GRID - GRID.mT).reshape(-1, 1))
        weight = (data.log_prob(GRID)[:, None] + noise.view(601, 601)).exp() * step**2
        exact = (weight * (softplus(log_ratio - math.log(w)) + math.log(w))).sum()
        objective = EnergyDiscrepancy((s, s), 1, w)
        found = torch.stack(list(losses(objective, model, data, 2000, 20)))
    assert abs(found.mean() - exact) < 3 * found.std() / len(found) ** 0.5


@pytest.mark.parametrize("n_noise", [1, 4])
def test_the_data_are_the_minimum_for_every_number_of_points(n_noise):
    """By the gradient, whose mean is zero there within three standard errors."""

    def z_scores(mean, scale, w=1.0):
        objective = EnergyDiscrepancy((0.3, 1.5), n_noise, w)
        model = EnergyModel(Quadratic(mean, scale), gaussian(0.0, 1.0))
        slopes = torch.stack(
            [
                torch.autograd.grad(loss, model.network.slopes)[0]
                for loss in losses(objective, model, gaussian(0.3, 0.8), 1000, 60)
            ]
        )
        return (slopes.mean(0) / slopes.std(0) * len(slopes) ** 0.5).abs()

    assert (z_scores(0.3, 0.8) < 3).all()
    assert (z_scores(0.1, 0.8) > 5).any()
    assert (z_scores(0.3, 0.9) > 5).any()
    assert (z_scores(0.3, 0.8, w=0.1) > 5).any()  # other w bias it


@pytest.mark.parametrize(
    ("category_noise", "kind"),
    [
        ("gaussian", "nominal"),
        ("heat", "nominal"),
        ("heat", "ordinal"),
        ("heat", "cyclic"),
        ("absorbing", "nominal"),
    ],
)
def test_categories_get_their_probabilities(category_noise, kind):
    """By the gradient of a tilt that is constant in each interval.

    Gaussian noise is right for columns of categories, too: they are intervals.
    """
    share = np.array([0.4, 0.3, 0.2, 0.1])
    p = torch.tensor([0.2, 0.5, 0.1, 0.2])
    intervals = [Intervals.of_categories(share)]
    noise = CategoryDiffusion([0], intervals, [kind])
    cells = Cells([0], intervals, noise)
    objective = EnergyDiscrepancy((0.3, 2.0), category_noise=category_noise)

    class Steps(nn.Module):
        def __init__(self, heights):
            super().__init__()
            self.heights = nn.Parameter(heights)

        def forward(self, z):
            return self.heights[cells.indices(z.numpy())]

    def z_scores(heights):
        model = EnergyModel(Steps(heights.double()), gaussian(0.0, 1.0))
        rng, slopes = torch.Generator().manual_seed(0), []
        for _ in range(40):
            category = torch.multinomial(p, 500, replacement=True, generator=rng)
            rows = cells.midpoints(np.zeros((500, 1)), category[:, None].numpy())
            batch = Batch(torch.from_numpy(rows).double(), cells=cells)
            loss = next(iter(objective.step(model, batch, nn.Module(), rng)))
            slopes += torch.autograd.grad(loss.value, model.network.heights)
        slopes = torch.stack(slopes)
        return (slopes.mean(0) / slopes.std(0) * len(slopes) ** 0.5).abs()

    assert (z_scores((p / torch.from_numpy(share)).log()) < 3).all()
    assert (z_scores(torch.zeros(4)) > 5).any()
