"""Networks that are log densities: checked against closed forms and quadrature."""

import copy
import math
from functools import partial

import numpy as np
import pytest
import torch
from scipy import stats

from skebm.networks import (
    NETWORKS,
    NICE,
    PPCA,
    EnergyModel,
    MixtureOfGaussians,
    is_normalized,
)
from skebm.references import BoxReference, GaussianMixtureDensity, GaussianReference

pytestmark = pytest.mark.usefixtures("seeded")

CASES = {
    "ppca": PPCA,
    "ppca of full rank": partial(PPCA, n_components=2),
    "mixture": MixtureOfGaussians,
    "diagonal mixture": partial(MixtureOfGaussians, covariance="diagonal"),
    "nice": partial(NICE, hidden_features=(16,)),
    "logistic nice": partial(NICE, hidden_features=(16,), prior="logistic"),
    "nice of three couplings": partial(NICE, n_couplings=3, hidden_features=(16,)),
}


def make(name, n_features=2, scale=0.5):
    """Build the net in float64, away from where it starts."""
    network = CASES[name](n_features).double()
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            noise = torch.randn(parameter.shape, generator=rng, dtype=torch.float64)
            parameter += scale * noise
    return network


def masses(name):
    """Return the net, the points of a grid, and the mass of each."""
    network = make(name, scale=0.3)
    half_width, n = (40, 600) if "logistic" in name else (10, 300)
    axis = torch.linspace(-half_width, half_width, n, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        log_prob = network(points)
    assert log_prob.shape == (len(points), 1)
    return network, points, log_prob[:, 0].exp() * (axis[1] - axis[0]) ** 2


@pytest.mark.parametrize("name", CASES)
def test_the_density_integrates_to_one(name):
    _, _, mass = masses(name)
    assert mass.sum().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_draws_follow_the_density(name):
    """Moments by quadrature, and a KS test of the marginals."""
    network, points, mass = masses(name)
    draws = network.sample(20_000, torch.Generator().manual_seed(1))
    assert draws.dtype == torch.float64 and not draws.requires_grad
    mean = mass @ points
    covariance = (points - mean).T @ ((points - mean) * mass[:, None])
    error = (covariance.diagonal() / len(draws)).sqrt()
    assert ((draws.mean(0) - mean).abs() < 4 * error).all()
    torch.testing.assert_close(torch.cov(draws.T), covariance, rtol=0.06, atol=0.03)
    side = math.isqrt(len(points))
    axis = points[:side, 1].numpy()
    for column, other in ((0, 1), (1, 0)):
        marginal = mass.reshape(side, side).sum(other).cumsum(0).numpy()
        middle = marginal - np.diff(marginal, prepend=0) / 2  # a cell's mass is spread
        test = stats.kstest(draws[:, column], lambda x, m=middle: np.interp(x, axis, m))
        assert test.pvalue > 1e-3


def test_ppca_is_a_gaussian():
    network = PPCA(6, n_components=2).double()
    with torch.no_grad():
        network.mean.copy_(torch.arange(6.0))
        network.weight.normal_()
        network.log_noise_scale.fill_(-1.3)
    x = torch.randn(50, 6, dtype=torch.float64)
    weight = network.weight.detach().numpy()
    covariance = weight @ weight.T + math.exp(-2.6) * np.eye(6)
    exact = stats.multivariate_normal(np.arange(6.0), covariance)
    np.testing.assert_allclose(network.log_prob(x).detach(), exact.logpdf(x), 1e-10)
    np.testing.assert_allclose(network.covariance.detach(), covariance)
    draws = network.sample(50_000, torch.Generator().manual_seed(0)).numpy()
    np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.1)


def test_ppca_in_single_precision_with_little_noise():
    network = PPCA(20, n_components=19)
    with torch.no_grad():
        network.weight.normal_()
        network.log_noise_scale.fill_(math.log(1e-3))
    x = network.sample(200, torch.Generator().manual_seed(0))
    exact = copy.deepcopy(network).double().log_prob(x.double())
    torch.testing.assert_close(network.log_prob(x).double(), exact, rtol=0, atol=0.5)


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_mixture_of_gaussians_against_scipy(covariance):
    network = MixtureOfGaussians(3, n_components=4, covariance=covariance).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.5 * torch.randn_like(parameter)
    x = torch.randn(20, 3, dtype=torch.float64)
    weights = network.logits.softmax(0).detach().numpy()
    factors = network.cholesky.detach().numpy()
    density = sum(
        w * stats.multivariate_normal(m, f @ f.T).pdf(x)
        for w, m, f in zip(weights, network.means.detach(), factors, strict=True)
    )
    np.testing.assert_allclose(network.log_prob(x).detach().exp(), density, 1e-10)
    assert (covariance == "full") == bool(np.abs(np.tril(factors, -1)).max())


@pytest.mark.parametrize("n_features", [2, 5, 6])
@pytest.mark.parametrize("name", ["nice", "logistic nice", "nice of three couplings"])
def test_nice_by_the_change_of_variables(name, n_features):
    network = make(name, n_features)
    x = torch.randn(4, n_features, dtype=torch.float64)
    z = network.encode(x)
    torch.testing.assert_close(network.decode(z), x)
    log_prior = stats.logistic if network.prior == "logistic" else stats.norm
    for k, row in enumerate(x):
        jacobian = torch.autograd.functional.jacobian(
            lambda r: network.encode(r[None])[0], row
        )
        off_diagonal = jacobian - jacobian.diagonal().diag()
        assert off_diagonal.abs().max() > 1e-3  # the couplings couple
        exact = log_prior.logpdf(z[k].detach()).sum()
        exact += torch.linalg.slogdet(jacobian)[1].item()
        assert network.log_prob(row[None]).item() == pytest.approx(exact, rel=1e-9)


def test_every_column_of_nice_is_moved():
    network = make("nice", 5)
    with torch.no_grad():
        network.log_scale.zero_()
    x = torch.randn(3, 5, dtype=torch.float64)
    assert (network.encode(x) - x).abs().min() > 1e-4


NORMALIZED = [name for name, net in NETWORKS.items() if is_normalized(net)]


@pytest.mark.parametrize("name", NORMALIZED)
@pytest.mark.parametrize("n_features", [2, 7])
def test_contract_of_every_normalized_network(name, n_features):
    """Shape; about the standardised rows' scale at the start; gradients everywhere."""
    network = NETWORKS[name](n_features, 1)
    draws = network.sample(2000, torch.Generator().manual_seed(0))
    assert draws.shape == (2000, n_features)
    assert 0.5 < draws.std(0).mean() < 2
    x = torch.randn(9, n_features, requires_grad=True)
    assert network(x).shape == (9, 1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    (slope,) = torch.autograd.grad(network(x).sum(), x, create_graph=True)
    slope.square().sum().backward()  # twice differentiable
    assert x.grad.abs().min() > 0
    network(x.detach()).square().sum().backward()
    for parameter in network.parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0


@pytest.mark.parametrize("scale", [1.0, 0.1])
@pytest.mark.parametrize("name", NORMALIZED)
def test_the_reference_does_not_change_the_density(name, scale):
    network = NETWORKS[name](2, 1)
    x = torch.randn(30, 2)
    rng = torch.Generator().manual_seed(0)
    references = [
        GaussianReference().fit(3 * x + 1, weight=None, generator=rng),
        GaussianMixtureDensity(torch.ones(1), torch.zeros(1, 2), torch.eye(2)[None]),
        BoxReference().fit(x, weight=None, generator=rng),
    ]
    log_prob = network(x)[:, 0]
    for reference in references:
        model = EnergyModel(network, reference, entropy_weight=scale)
        assert model.is_normalized
        torch.testing.assert_close(model.log_prob_unnormalized(x), log_prob)
        tilted = reference.log_prob(x) - model.energy(x)
        torch.testing.assert_close(tilted, log_prob, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(model.critic(x), -scale * model.energy(x))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: PPCA(3, 2),
            "PPCA is a normalised density with one output.*n_outputs=2",
        ),
        (
            lambda: PPCA(3, n_components=4),
            "n_components.*from 1 to n_features=3. Got 4",
        ),
        (lambda: PPCA(3, n_components=0), "n_components.*Got 0"),
        (lambda: MixtureOfGaussians(3, n_components=0), "n_components.*Got 0"),
        (lambda: MixtureOfGaussians(3, covariance="tied"), "covariance.*Got 'tied'"),
        (lambda: NICE(1), "at least two columns.*n_features=1; 'mixture'"),
        (lambda: NICE(3, n_couplings=0), "n_couplings.*Got 0"),
        (
            lambda: NICE(3, prior="cauchy"),
            "'prior' parameter of NICE.*Got 'cauchy'",
        ),
    ],
)
def test_bad_options_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()
