"""Reference densities against closed forms and scikit-learn."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import kstest, multivariate_normal, norm
from sklearn.mixture import GaussianMixture

from skebm.networks import MLP
from skebm.references import (
    REFERENCES,
    CopulaMixtureReference,
    Density,
    GaussianMixtureDensity,
    GaussianMixtureReference,
    GaussianReference,
    UniformBox,
)
from skebm.references._stacking import Components
from skebm.utils import column_units, dequantization_scale, isolated_rng


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def make_mixture():
    weights = torch.tensor([0.3, 0.7])
    means = torch.tensor([[0.0, 1.0, 0.0], [2.0, -1.0, 0.5]])
    factors = torch.tril(0.3 * torch.randn(2, 3, 3, generator=rng())) + torch.eye(3)
    return GaussianMixtureDensity(weights, means, factors)


def test_log_density_of_a_mixture():
    density = make_mixture()
    x = 2 * torch.randn(100, 3, generator=rng(1))
    exact = sum(
        weight * multivariate_normal(mean, factor @ factor.T).pdf(x)
        for weight, mean, factor in zip(
            density.weights.numpy(),
            density.means.numpy(),
            density.cholesky.double().numpy(),
            strict=True,
        )
    )
    np.testing.assert_allclose(density.log_prob(x), np.log(exact), atol=1e-4)


def test_draws_of_a_mixture_have_its_moments():
    density = make_mixture()
    x = density.sample(200_000, rng(2)).double()
    weights, means = density.weights.double(), density.means.double()
    factors = density.cholesky.double()
    mean = weights @ means
    second = torch.einsum("k,kij->ij", weights, factors @ factors.mT)
    second += torch.einsum("k,ki,kj->ij", weights, means, means)
    torch.testing.assert_close(x.mean(0), mean, atol=0.02, rtol=0)
    torch.testing.assert_close(x.T @ x / len(x), second, atol=0.05, rtol=0)


def test_a_density_is_rebuilt_from_its_arrays():
    density = make_mixture()
    copy = GaussianMixtureDensity(**density.arrays())
    x = torch.randn(5, 3, generator=rng())
    assert torch.equal(copy.log_prob(x), density.log_prob(x))


def test_gaussian_reference_has_the_weighted_moments():
    x = torch.randn(500, 3, generator=rng()) @ torch.randn(3, 3, generator=rng(1))
    weight = (torch.arange(500) < 200).float()
    density = GaussianReference().fit(x, weight=weight, generator=rng())
    np.testing.assert_allclose(density.means[0], x[:200].mean(0), atol=1e-5)
    covariance = np.cov(x[:200].numpy(), rowvar=False, bias=True)
    widened = covariance + 1e-3 * np.diag(x.numpy().var(0))
    found = (density.cholesky[0] @ density.cholesky[0].T).numpy()
    np.testing.assert_allclose(found, widened, rtol=1e-2, atol=1e-3)


def test_box_is_the_widened_range():
    x = torch.tensor([[0.0, 5.0], [10.0, 5.0]])
    box = REFERENCES[None]().fit(x, weight=None, generator=rng())
    assert box.low[0] == -2 and box.high[0] == 12
    assert box.low[1] < 5 < box.high[1]  # a constant column has room, too
    inside, outside = torch.tensor([[11.0, 5.0]]), torch.tensor([[13.0, 5.0]])
    volume = float((box.high - box.low).prod())
    assert box.log_prob(inside).item() == pytest.approx(-np.log(volume))
    assert box.log_prob(outside).item() == -np.inf
    draws = box.sample(1000, rng())
    assert torch.isfinite(box.log_prob(draws)).all()


def test_outside_a_box_the_slope_leads_back():
    box = UniformBox(torch.zeros(1), torch.ones(1))
    x = torch.tensor([[1.5], [-0.5], [0.5]], requires_grad=True)
    (slope,) = torch.autograd.grad(box.extended_log_prob(x).sum(), x)
    assert slope[0] < 0 < slope[1] and slope[2] == 0


@pytest.mark.parametrize("n_rows", [60, 400, 3000])
def test_stacked_mixture_beats_one_gaussian(n_rows):
    """On two half moons, at every number of rows; and GaussianMixture by BIC, here."""
    from sklearn.datasets import make_moons

    X = make_moons(n_rows + 4000, noise=0.1, random_state=0)[0]
    X = (X - X.mean(0)) / X.std(0)
    train, test = X[:n_rows], X[n_rows:]
    x = torch.tensor(train).float()
    stacked = GaussianMixtureReference().fit(x, weight=None, generator=rng())
    score = stacked.log_prob(torch.tensor(test).float()).mean().item()
    one = multivariate_normal(train.mean(0), np.cov(train.T)).logpdf(test).mean()
    candidates = [
        GaussianMixture(k, random_state=0).fit(train) for k in (1, 2, 4, 8, 16)
    ]
    by_bic = min(candidates, key=lambda mixture: mixture.bic(train))
    assert score > one
    assert score > by_bic.score(test)


def test_stacked_mixture_of_gaussian_rows_is_nearly_gaussian():
    x = torch.randn(200, 5, generator=rng())
    stacked = GaussianMixtureReference().fit(x, weight=None, generator=rng())
    test = torch.randn(5000, 5, generator=rng(1))
    exact = multivariate_normal(np.zeros(5), np.eye(5)).logpdf(test.numpy()).mean()
    assert stacked.log_prob(test).mean().item() > exact - 0.15


def test_weights_of_the_mixture_count_by_resampling():
    x = torch.randn(600, 2, generator=rng())
    x[300:] += 10
    weight = (torch.arange(600) < 300).float()
    density = GaussianMixtureReference().fit(x, weight=weight, generator=rng())
    assert density.means.abs().max() < 5


def test_units_of_columns():
    generator = np.random.RandomState(0)
    continuous = generator.normal(size=500)
    counts = generator.randint(0, 17, size=500) / 5
    constant = np.zeros(500)
    x = np.stack([continuous, counts, constant], axis=1)
    units = column_units(x)
    assert units[0] == pytest.approx(continuous.std(), rel=1e-6)
    floor = units * np.sqrt(1e-3)
    assert floor[1] == pytest.approx(0.4, rel=1e-6)  # two grid steps
    assert floor[2] == pytest.approx(np.sqrt(0.2))
    np.testing.assert_allclose(column_units(7 * x)[:2], 7 * units[:2])
    noise = dequantization_scale(x)
    assert noise[0] == 0 and noise[1:] == pytest.approx(floor[1:])


def test_torch_func_goes_through_a_box_and_an_embedding():
    """Gradients of single rows by vmap, and second derivatives, against autograd."""
    box = UniformBox(torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 0.5]))
    with isolated_rng(0, torch.device("cpu")):
        net = MLP(2, 1, hidden_features=(4,), embedding="periodic")
    with torch.no_grad():
        net.layers[-1].weight.fill_(0.5)
    x = torch.tensor([[0.3, 0.2], [1.4, -0.1], [-7.0, 3.3]], requires_grad=True)

    def value(row):
        return net(box.reflect(row[None])).sum()

    slopes = torch.func.vmap(torch.func.grad(value))(x)
    (expected,) = torch.autograd.grad(net(box.reflect(x)).sum(), x, create_graph=True)
    torch.testing.assert_close(slopes, expected)
    curvature = torch.func.vmap(torch.func.jacrev(torch.func.grad(value)))(x)
    (row,) = torch.autograd.grad(expected[:, 0].sum(), x)
    torch.testing.assert_close(curvature[:, 0], row)


def test_rows_outside_a_box_are_reflected_into_it():
    box = UniformBox(torch.tensor([-1.0, 0.1]), torch.tensor([1.0, 3.1]))
    x = torch.tensor([[0.5, 1.1], [1.25, -0.4], [-1.5, 3.6], [5.25, 6.6], [1.0, 0.1]])
    folded = [[0.5, 1.1], [0.75, 0.6], [-0.5, 2.6], [0.75, 0.6], [1.0, 0.1]]
    assert torch.allclose(box.reflect(x), torch.tensor(folded))
    far = 100 * torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
    assert box.log_prob(box.reflect(torch.cat([far, x]))).isfinite().all()


def test_a_wide_table_costs_few_decompositions(monkeypatch):
    """Those of single Gaussians: no mixture has full covariances, or treats them so."""
    decomposed = []

    def cholesky(matrices):
        decomposed.append(matrices.size // matrices.shape[-1] ** 2)
        return found(matrices)

    found = np.linalg.cholesky
    monkeypatch.setattr(np.linalg, "cholesky", cholesky)
    x = torch.randn(30, 60, generator=rng())
    x[:15] += 4  # diagonal mixtures are among the candidates that win
    density = GaussianMixtureReference().fit(x, weight=None, generator=rng())
    assert len(density.weights) > 1
    assert sum(decomposed) <= 15


def test_diagonal_components_are_their_matrices():
    draw = np.random.RandomState(0)
    variances = draw.uniform(0.5, 2, size=(3, 4))
    diagonal = Components(np.full(3, 1 / 3), draw.normal(size=(3, 4)), variances)
    full = replace(diagonal, covariances=np.stack([np.diag(v) for v in variances]))
    x = draw.normal(size=(20, 4))
    for a, b in ((diagonal, full), (diagonal.shrunk(30, 0.5), full.shrunk(30, 0.5))):
        np.testing.assert_allclose(a.log_prob(x), b.log_prob(x), rtol=1e-12)


@pytest.mark.parametrize(
    ("shape", "largest"), [((4500, 63), 64), ((1500, 241), 64), ((10_000, 784), 1)]
)
def test_sizes_that_would_take_minutes_are_not_tried(shape, largest):
    plan = GaussianMixtureReference()._plan(*shape)
    sizes = [c.n_components for group in plan for c in group if c.kind == "full"]
    assert max(sizes) == largest


def test_draws_of_a_box_follow_its_extended_density():
    box = UniformBox(torch.zeros(1), torch.ones(1))
    x = box.sample_extended(20_000, torch.Generator().manual_seed(0))[:, 0].numpy()
    tail = 0.1 * math.sqrt(2 * math.pi)

    def cumulative(t):
        low = tail * norm.cdf(np.minimum(t, 0) / 0.1)
        high = tail * (norm.cdf(np.maximum(t - 1, 0) / 0.1) - 0.5)
        return (low + np.clip(t, 0, 1) + high) / (1 + tail)

    assert kstest(x, cumulative).pvalue > 0.01


def test_a_box_tells_which_columns_hold_rows_outside():
    box = UniformBox(torch.zeros(3), torch.ones(3))
    rows = torch.tensor([[0.5, 1.5, torch.nan], [0.5, 0.5, 0.5]])
    assert box.outside(rows).tolist() == [False, True, False]
    fitted = GaussianReference().fit(rows[:, :2], weight=None, generator=rng())
    assert fitted.outside(rows[:, :2]).tolist() == [False, False]


def test_only_fine_mixtures_have_a_coarser_one():
    coarser = {name: kind().coarser() for name, kind in REFERENCES.items()}
    assert sorted(name for name, one in coarser.items() if one) == ["copula", "gmm"]
    assert coarser["gmm"].n_components == coarser["copula"].n_components == (2, 4, 8)
    small = GaussianMixtureReference(n_components=(2, 8))
    assert small.coarser() is CopulaMixtureReference(small).coarser() is None


def test_a_net_that_is_a_density_gets_a_reference_of_full_support():
    for kind in REFERENCES.values():
        reference = kind().for_normalized()
        x = torch.randn(60, 2, generator=rng())
        if kind is not REFERENCES["flow"]:
            density = reference.fit(x, weight=None, generator=rng())
            assert not density.bounded_support


def test_a_density_of_another_library_is_adapted():
    class Foreign:
        def log_prob(self, x):
            return -x.square().sum(dim=1)

        def sample(self, n_samples, generator):
            return torch.zeros(n_samples, 2)

    adapted = Density.adapt(Foreign())
    assert adapted.log_prob(torch.ones(1, 2)).tolist() == [-2.0]
    assert adapted.sample(3, rng()).shape == (3, 2)
    assert not (adapted.has_transitions or adapted.bounded_support)
    assert Density.adapt(adapted) is adapted
