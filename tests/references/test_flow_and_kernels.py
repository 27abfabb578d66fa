"""Kernel densities, flows and scikit-learn's estimators as references."""

import pickle
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import make_moons
from sklearn.ensemble import IsolationForest
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity as SklearnKernelDensity

from skebm import EBMDensityEstimator
from skebm.references import (
    FlowDensity,
    FlowMixtureDensity,
    FlowReference,
    GaussianReference,
    KernelDensity,
    KernelDensityReference,
)

X, _ = make_moons(400, noise=0.1, random_state=0)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def small_flow(**options):
    return FlowReference(**options, mixture=GaussianReference())


def rows(n=400, seed=0):
    X, _ = make_moons(n, noise=0.1, random_state=seed)
    return torch.from_numpy((X - X.mean(0)) / X.std(0)).float()


@pytest.fixture(scope="module")
def flow():
    reference = small_flow(transforms=2, hidden_features=(32,), max_steps=300)
    return reference.fit(rows(), weight=None, generator=rng())


@pytest.fixture(scope="module")
def mixed(flow):
    """The flow, evenly mixed with Gaussians."""
    arrays = flow.arrays() | {"share": torch.tensor(0.5)}
    return FlowMixtureDensity(**arrays)


@pytest.fixture(scope="module")
def kernels():
    return KernelDensityReference().fit(rows(), weight=None, generator=rng())


@pytest.fixture(params=["flow", "mixed", "kernels"])
def density(request):
    return request.getfixturevalue(request.param)


def grid(half=6.0, n=241):
    axis = torch.linspace(-half, half, n)
    return torch.cartesian_prod(axis, axis), float(axis[1] - axis[0]) ** 2


def test_integrates_to_one(density):
    points, cell = grid()
    with torch.no_grad():
        mass = density.log_prob(points).double().exp().sum() * cell
    assert mass.item() == pytest.approx(1, abs=0.005)


def test_draws_follow_the_density(density):
    """Moments and the shares of quadrants, against quadrature."""
    points, cell = grid()
    with torch.no_grad():
        share = density.log_prob(points).double().exp() * cell
    x = density.sample(40_000, rng(1)).double()
    points = points.double()
    for f in (
        lambda p: p,
        lambda p: p.square(),
        lambda p: p[:, :1] * p[:, 1:],
        lambda p: (p[:, :1] > 0) * (p[:, 1:] > 0).double(),
    ):
        expected = (share[:, None] * f(points)).sum(0)
        torch.testing.assert_close(f(x).mean(0), expected, atol=0.03, rtol=0)


def test_is_rebuilt_from_its_arrays(density):
    copy = type(density)(**density.arrays())
    with torch.no_grad():
        assert torch.equal(copy.log_prob(rows()), density.log_prob(rows()))
    assert not any(p.requires_grad for p in copy.parameters())


def test_has_the_gradient_of_its_log_density(density):
    x = rows()[:5].double().requires_grad_()
    copy = type(density)(**density.arrays()).double()
    (slope,) = torch.autograd.grad(copy.log_prob(x).sum(), x)
    step = torch.tensor([1e-5, 0.0], dtype=torch.float64)
    with torch.no_grad():
        difference = copy.log_prob(x + step) - copy.log_prob(x - step)
    torch.testing.assert_close(slope[:, 0], difference / 2e-5, rtol=1e-4, atol=1e-4)


def test_flow_is_better_than_one_gaussian_and_no_better_on_its_own_rows(flow):
    fresh = rows(2000, 1)
    held_out, own = flow.log_prob(fresh).mean(), flow.log_prob(rows()).mean()
    gaussian = (
        GaussianMixture(1, random_state=0).fit(rows().numpy()).score(fresh.numpy())
    )
    assert held_out > gaussian + 0.3
    assert held_out > own - 0.5  # stopped early


@pytest.mark.parametrize("passes", [2, 3, 5])
def test_draws_of_a_flow_are_zukos_inverse(passes):
    density = FlowDensity(torch.tensor([5, 2, passes, 4, 8]))
    for parameter in density.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=rng(2))
    z = torch.randn(20, 5, generator=rng(7))
    draws = density.sample(20, rng(7))
    with torch.no_grad():
        theirs = density.flow.transform().inv(z)
    torch.testing.assert_close(draws, theirs)
    assert not torch.allclose(draws, z, atol=0.1)


def test_a_flow_of_one_column():
    x = rows()[:, :1]
    reference = small_flow(transforms=1, max_steps=10)
    density = reference.fit(x, weight=None, generator=rng())
    axis = torch.linspace(-8, 8, 2001)[:, None]
    with torch.no_grad():
        share = density.log_prob(axis).exp() * 0.008
    assert share.sum().item() == pytest.approx(1, abs=1e-3)
    draws = density.sample(20_000, rng())
    assert draws.mean().item() == pytest.approx(float(share @ axis), abs=0.03)


def test_training_uses_cached_draws(flow):
    cached = flow.for_training(0)
    first, second = (cached.sample(4000, rng(k)) for k in (0, 1))
    assert not torch.equal(first, second)
    drawn = cached.flow.sample(100_000, rng(2))
    assert len(torch.unique(drawn, dim=0)) <= 32_768
    torch.testing.assert_close(first.mean(0), torch.zeros(2), atol=0.15, rtol=0)
    again = flow.for_training(0).sample(4000, rng(0))
    assert torch.equal(again, first)


def test_gaussians_hold_the_tails_of_a_flow():
    """Gaussian rows, a few of them far out: what a flow of few steps can't foretell."""
    x = torch.randn(500, 2, generator=rng())
    x[::25] *= 15
    reference = small_flow(transforms=1, hidden_features=(8,), max_steps=20)
    density = reference.fit(x, weight=None, generator=rng())
    assert 0.5 < density.share < 1
    far = torch.full((1, 2), 30.0)
    assert density.log_prob(far) > density.flow.log_prob(far) + 100


def test_flow_weighs_its_rows():
    """Rows of next to no weight, most of them, count as if they were not there."""
    x = 0.5 * torch.randn(600, 2, generator=rng())
    x[:400] -= 3.0
    weight = torch.cat([torch.full((400,), 1e-6), torch.ones(200)])
    reference = small_flow(transforms=1, hidden_features=(16,), max_steps=200)
    density = reference.fit(x, weight=weight, generator=rng())
    draws = density.sample(500, rng())
    assert draws.mean(0).abs().max() < 0.2


@pytest.mark.parametrize("passes", [None, 2])
def test_flow_of_one_seed_is_one_flow(passes):
    reference = small_flow(hidden_features=(8,), max_steps=20, passes=passes)
    x = torch.randn(100, 3, generator=rng())
    before = torch.default_generator.get_state()
    one, two = (reference.fit(x, weight=None, generator=rng(3)) for _ in range(2))
    assert torch.equal(torch.default_generator.get_state(), before)
    with torch.no_grad():
        assert torch.equal(one.log_prob(x), two.log_prob(x))


def test_kernel_density_is_scikit_learns():
    x, weight = rows(), torch.rand(400, generator=rng())
    ours = KernelDensity(x, weight / weight.sum(), torch.full((2,), 0.2))
    theirs = SklearnKernelDensity(bandwidth=0.2).fit(x, sample_weight=weight)
    fresh = torch.randn(50, 2, generator=rng())
    np.testing.assert_allclose(
        ours.log_prob(fresh), theirs.score_samples(fresh), rtol=1e-4
    )


def test_bandwidth_is_the_one_that_leave_one_out_chooses(kernels):
    x = rows().double().numpy()

    def left_out(h):
        squares = ((x[:, None] - x[None]) ** 2).sum(2)
        kernel = np.exp(-0.5 * squares / h**2) / (2 * np.pi * h**2)
        np.fill_diagonal(kernel, 0)
        return np.log(kernel.sum(1) / (len(x) - 1)).mean()

    candidates = np.geomspace(np.sqrt(1e-3), 2, 24)
    best = max(candidates, key=left_out)
    assert kernels.bandwidth[0].item() == pytest.approx(best, rel=1e-4)


def test_kernel_density_is_better_with_more_rows():
    fresh = rows(2000, 9)
    scores = [
        KernelDensityReference(n)
        .fit(rows(4000), weight=None, generator=rng())
        .log_prob(fresh)
        .mean()
        for n in (30, 300, 3000)
    ]
    assert all(a < b for a, b in pairwise(scores))


def hardly_tilted(reference, data):
    """Return scores of a model that is its reference, and how far off log Z may be."""
    model = EBMDensityEstimator(
        reference=reference, max_iter=1, learning_rate=1e-12, random_state=0
    ).fit(data)
    return model.score_samples(data), 3 * model.log_normalizer_se_ + 2e-4


@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical"])
def test_a_fitted_mixture_is_taken_in_the_units_of_X(kind):
    units = np.array([10.0, 0.1])
    data = X * units + 5
    mixture = GaussianMixture(3, covariance_type=kind, random_state=0).fit(data)
    scores, error = hardly_tilted(mixture, data)
    np.testing.assert_allclose(scores, mixture.score_samples(data), atol=error)


def test_a_fitted_kernel_density_is_taken_in_the_units_of_X():
    data = X * np.array([10.0, 0.1]) + 5
    kernels = SklearnKernelDensity(bandwidth=0.5).fit(data)
    scores, error = hardly_tilted(kernels, data)
    np.testing.assert_allclose(scores, kernels.score_samples(data), atol=error)


def test_an_unfitted_estimator_is_fitted_to_the_rows():
    mixture = GaussianMixture(3, random_state=0)
    model = clone(EBMDensityEstimator(reference=mixture, max_iter=1))
    assert len(model.fit(X).reference_.weights) == 3
    assert not hasattr(mixture, "weights_")


def test_a_frozen_estimator_survives_cloning():
    mixture = GaussianMixture(3, random_state=0).fit(X[:200])
    model = EBMDensityEstimator(
        reference=FrozenEstimator(mixture), max_iter=1, random_state=0
    )
    means = clone(model).fit(X).reference_.means.numpy() * X.std(0) + X.mean(0)
    np.testing.assert_allclose(means, mixture.means_, rtol=1e-5)


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (EBMDensityEstimator(), "GaussianMixture, KernelDensity"),
        (SklearnKernelDensity(kernel="tophat"), "kernel='gaussian'"),
        (SklearnKernelDensity(metric="manhattan"), "metric='euclidean'"),
        (IsolationForest(), "reference"),
        (GaussianMixture(2).fit(np.random.RandomState(0).rand(9, 3)), "3 columns"),
    ],
    ids=["energy", "tophat", "manhattan", "forest", "columns"],
)
def test_another_estimator_is_refused(estimator, message):
    with pytest.raises(ValueError, match=message):
        EBMDensityEstimator(reference=estimator).fit(X)


def test_without_zuko_there_is_an_error_before_training(monkeypatch):
    monkeypatch.setitem(sys.modules, "zuko", None)
    with pytest.raises(ImportError, match=r"reference 'flow'.*zuko.*skebm\[flows\]"):
        EBMDensityEstimator(reference="flow").fit(X)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"passes": 1}, "passes"),
        ({"hidden_features": ()}, "hidden_features"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"max_steps": 0}, "max_steps"),
        ({"mixture": GaussianMixture()}, "mixture"),
        ({"validation_fraction": 0.9}, "validation_fraction"),
    ],
)
def test_options_of_the_flow_are_checked(options, name):
    with pytest.raises(ValueError, match=name):
        FlowReference(**options).check_options()


def test_a_flow_may_be_the_reference_of_an_energy():
    reference = small_flow(transforms=1, hidden_features=(16,), max_steps=100)
    model = EBMDensityEstimator(
        "nce", reference=reference, max_iter=3, normalizer="importance", random_state=0
    ).fit(X)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.score_samples(X), model.score_samples(X))
