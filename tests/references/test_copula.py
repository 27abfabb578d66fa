"""Mixtures of columns that are mapped first: maps, densities, the choice."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from skebm import EBMDensityEstimator
from skebm.networks import MLP, EnergyModel, EnsembleMLP
from skebm.references import (
    CopulaMixtureDensity,
    CopulaMixtureReference,
    GaussianMixtureDensity,
    GaussianMixtureReference,
    MappedMixtureDensity,
    fit_marginals,
    plain_mixture,
)
from skebm.utils import isolated_rng

#: Of the logarithms of log-normal columns.
SPREAD = 1.5
SMALL = CopulaMixtureReference(GaussianMixtureReference((2,), n_repeats=1))


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def log_normal_rows(n, seed=0, correlation=0.7):
    """Two log-normal columns that go together, and their log density."""
    covariance = [[1, correlation], [correlation, 1]]
    normal = stats.multivariate_normal([0, 0], covariance)
    z = normal.rvs(n, random_state=seed)
    log_slope = math.log(SPREAD) + SPREAD * z
    return np.exp(SPREAD * z), normal.logpdf(z) - log_slope.sum(axis=1)


@pytest.fixture(scope="module")
def density():
    """Both parts of a stack, in three columns; the maps those of odd columns."""
    x = np.random.default_rng(0).standard_normal((500, 3))
    maps = fit_marginals(np.stack([np.exp(x[:, 0]), x[:, 1] ** 3, x[:, 2]], axis=1))
    mapped = GaussianMixtureDensity(
        torch.tensor([0.4, 0.6]), torch.randn(2, 3, generator=rng(1)), _factors(2)
    )
    plain = GaussianMixtureDensity(torch.ones(1), torch.ones(1, 3), _factors(1))
    mapped = MappedMixtureDensity(**mapped.arrays(), **dict(maps.state_dict()))
    return CopulaMixtureDensity.of(torch.tensor(0.6), mapped, plain)


def _factors(k):
    factors = 0.3 * torch.randn(k, 3, 3, generator=rng(2)).tril(-1)
    return factors + 0.8 * torch.eye(3)


def test_maps_make_columns_normal_and_go_back():
    x = np.random.default_rng(0).gamma(0.7, size=(4000, 2))
    # A third of the rows in a narrow peak.
    noise = np.random.default_rng(1).uniform(-0.01, 0.01, 4000)
    x[:, 1] = np.where(x[:, 1] < 0.3, 0.0, x[:, 1]) + noise
    maps = fit_marginals(x).double()
    rows = torch.from_numpy(x)
    z, log_slope = maps(rows)
    for column in z.numpy().T:
        assert stats.kstest(column, "norm").statistic < 0.02
    torch.testing.assert_close(maps.inverse(z), rows, atol=1e-6, rtol=1e-6)
    wide = torch.cat([rows - 50, rows + 50])
    torch.testing.assert_close(maps.inverse(maps(wide)[0]), wide, atol=1e-5, rtol=1e-6)
    step = 1e-6
    numeric = (maps(rows + step)[0] - maps(rows - step)[0]) / (2 * step)
    smooth = (numeric.log().sum(dim=1) - log_slope).abs()
    assert smooth.quantile(0.99) < 1e-3


def test_a_mapped_column_has_the_estimated_density():
    """log T' + log N(T) is the log density of a known distribution, held out."""
    known = stats.expon()
    maps = fit_marginals(known.rvs((4000, 1), random_state=0)).double()
    x = known.rvs(4000, random_state=1)
    z, log_slope = maps(torch.from_numpy(x)[:, None])
    log_density = stats.norm.logpdf(z[:, 0]) + log_slope.numpy()
    assert np.mean(known.logpdf(x) - log_density) == pytest.approx(0, abs=0.05)


def test_integrates_to_one():
    x, _ = log_normal_rows(1500)
    x = torch.from_numpy(x).float()
    density = SMALL.fit(x, weight=None, generator=rng())
    assert isinstance(density, CopulaMixtureDensity)
    # Even steps in log x, beyond which and below zero next to nothing lies.
    positive = torch.linspace(-9, 6, 1200, dtype=torch.float64).exp()
    axis = torch.cat([torch.linspace(-3, 0, 400, dtype=torch.float64), positive])
    grid = torch.cartesian_prod(axis, axis).float()
    values = density.log_prob(grid).double().exp().reshape(len(axis), len(axis))
    mass = torch.trapezoid(torch.trapezoid(values, axis), axis)
    assert mass.item() == pytest.approx(1, abs=0.01)


def test_draws_follow_the_density(density):
    """The mean of exp(f - log q0) over draws is the mass of exp(f)."""
    x = density.sample(40_000, rng(3))
    z = density.to_latent(x)
    target = GaussianMixtureDensity(torch.ones(1), torch.zeros(1, 3), 0.5 * _factors(1))
    log_target = target.log_prob(z) + density.maps(x)[1]
    weight = (log_target - density.log_prob(x)).double().exp()
    error = (weight.std() / math.sqrt(len(x))).item()
    assert weight.mean().item() == pytest.approx(1, abs=4 * error)
    assert error < 0.02


def test_the_latent_space_keeps_the_measure(density):
    x = density.sample(500, rng(4))
    z, log_slope = density.maps(x)
    latent = density.in_latent_space()
    torch.testing.assert_close(
        latent.log_prob(z) + log_slope, density.log_prob(x), atol=2e-3, rtol=1e-3
    )
    torch.testing.assert_close(density.from_latent(z), x, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(latent.sample(500, rng(4)), z, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("kind", [MLP, EnsembleMLP])
def test_nets_see_the_latent_space(density, kind):
    x = density.sample(100, rng(4))
    z = density.to_latent(x)
    with isolated_rng(0, x.device):
        network = kind(3, 2)
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    model = EnergyModel(network.eval(), density)
    energy, latent = model.energy(x), model.in_latent_space()
    assert energy.std() > 0.1
    torch.testing.assert_close(latent.energy(z), energy)
    torch.testing.assert_close(latent.logits(z), model.logits(x))
    members = x.expand(model.n_members, -1, -1)
    torch.testing.assert_close(
        latent.member_logits(z.expand_as(members)), model.member_logits(members)
    )


def test_rows_of_weights_are_mapped_too():
    """Rows drawn by their weights are repeated, which makes no column tied."""
    x, _ = log_normal_rows(1000)
    x = torch.from_numpy(x).float()
    weight = 0.5 + torch.rand(1000, generator=rng())
    density = SMALL.fit(x, weight=weight, generator=rng())
    assert isinstance(density, CopulaMixtureDensity)
    assert (density.maps.slopes.amax(1) > 2 * density.maps.slopes.amin(1)).all()


def test_tied_columns_alone_leave_the_plain_mixture():
    x = torch.randn(500, 2, generator=rng()).round()
    density = SMALL.fit(x, weight=None, generator=rng())
    assert isinstance(density, GaussianMixtureDensity)


def test_is_rebuilt_from_its_arrays(density):
    x = density.sample(50, rng(5))
    copy = CopulaMixtureDensity(**density.arrays())
    assert torch.equal(copy.log_prob(x), density.log_prob(x))
    mapped = density.parts[0]
    copy = MappedMixtureDensity(**mapped.arrays())
    assert torch.equal(copy.log_prob(x), mapped.log_prob(x))


@pytest.mark.parametrize("observed", [[0], [2, 1], [0, 2]], ids=str)
def test_marginal_times_conditional_is_the_joint(density, observed):
    mask = torch.zeros(3, dtype=torch.bool)
    mask[observed] = True
    marginal, conditional = density.partition(mask)
    for row in density.sample(5, rng(6)):
        given = row[mask]
        joint = marginal.log_prob(given.double()[None])
        joint = joint + conditional(given).log_prob(row[~mask][None])
        assert joint.item() == pytest.approx(
            density.log_prob(row[None]).item(), abs=1e-2
        )


def test_conditional_draws_follow_the_conditional(density):
    observed = torch.tensor([True, False, True])
    given = density.sample(1, rng(7))[0, observed]
    conditional = density.partition(observed)[1](given)
    axis = torch.cat([-torch.logspace(1.5, -4, 4000).double(), torch.zeros(1).double()])
    axis = torch.cat([axis, -axis.flip(0)[1:]])
    mass = conditional.log_prob(axis.float()[:, None]).double().exp()
    below = torch.cumulative_trapezoid(mass, axis)
    assert below[-1].item() == pytest.approx(1, abs=0.02)
    draws = conditional.sample(20_000, rng(8))[:, 0].double()
    for level in (0.2, 0.5, 0.8):
        point = axis[1:][torch.searchsorted(below, level)]
        assert (draws < point).double().mean().item() == pytest.approx(level, abs=0.02)


def test_is_near_the_truth_where_a_plain_mixture_is_not():
    x, _ = log_normal_rows(1500)
    fresh, truth = log_normal_rows(4000, seed=1)
    x, fresh = torch.from_numpy(x).float(), torch.from_numpy(fresh).float()
    density = CopulaMixtureReference().fit(x, weight=None, generator=rng())
    plain = GaussianMixtureReference().fit(x, weight=None, generator=rng())
    gap = truth.mean() - density.log_prob(fresh).double().mean().item()
    assert gap < 0.15
    assert truth.mean() - plain.log_prob(fresh).double().mean().item() > 0.3
    # What it holds is the mixture that is fitted to columns as they are.
    assert torch.equal(plain_mixture(density).means, plain.means)


def test_normal_columns_stay_as_they_are():
    x = torch.randn(1500, 3, generator=rng())
    density = SMALL.fit(x, weight=None, generator=rng())
    assert isinstance(density, GaussianMixtureDensity)
    plain = SMALL.mixture or GaussianMixtureReference()
    plain = plain.fit(x, weight=None, generator=rng())
    assert torch.equal(density.log_prob(x), plain.log_prob(x))


@pytest.mark.parametrize("kind", ["constant", "integers", "two rows", "one value"])
def test_columns_without_a_smooth_distribution_are_mapped_finitely(kind):
    x = np.random.default_rng(0).standard_normal((2 if kind == "two rows" else 400, 2))
    if kind == "constant":
        x[:, 1] = 3.0
    elif kind == "integers":
        x[:, 1] = x[:, 1].round()
    elif kind == "one value":
        x[:, 1] = np.where(np.arange(400) % 10 == 0, x[:, 1], 0.0)
    maps = fit_marginals(x)
    z, log_slope = maps(torch.from_numpy(x).float())
    assert z.isfinite().all() and log_slope.isfinite().all()
    assert (maps.slopes > 0).all() and (maps.knots.diff(dim=1) > 0).all()
    if kind != "two rows":  # values that are repeated are no spikes: a straight line
        assert maps.slopes[1].max() == pytest.approx(maps.slopes[1].min().item())
        assert maps.slopes[1, 0] == pytest.approx(1 / (x[:, 1].std() or 1), rel=1e-4)


def test_options_are_checked():
    with pytest.raises(
        ValueError, match="'mixture' parameter of CopulaMixtureReference must"
    ):
        EBMDensityEstimator(reference=CopulaMixtureReference("gmm")).fit(np.eye(3))


def test_estimator_on_log_normal_columns():
    """The default knows long tails, in units of X, and its draws have them."""
    x, _ = log_normal_rows(1200)
    fresh, truth = log_normal_rows(3000, seed=1)
    model = EBMDensityEstimator(max_iter=10, random_state=0).fit(x)
    assert isinstance(model.reference_, CopulaMixtureDensity)
    assert truth.mean() - model.score(fresh) < 0.12
    draws = np.log(np.maximum(model.sample(2000, random_state=0), 1e-9))
    assert np.median(draws, axis=0) == pytest.approx(0, abs=0.2)
    assert np.quantile(draws, 0.95, axis=0) == pytest.approx(1.645 * SPREAD, abs=0.4)
    # log p(x_1) of a standard log-normal column, the other missing.
    points = np.array([[0.3, np.nan], [1.0, np.nan], [4.0, np.nan]])
    expected = stats.lognorm(SPREAD).logpdf(points[:, 0])
    assert model.score_samples(points) == pytest.approx(expected, abs=0.35)
