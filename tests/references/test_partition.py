"""Marginals and conditionals of references, against closed forms."""

from itertools import product

import pytest
import torch
from scipy.stats import multivariate_normal

from skebm.references import Density, GaussianMixtureDensity, UniformBox

PATTERNS = [p for p in product([False, True], repeat=3) if not all(p)]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def make_mixture():
    weights = torch.tensor([0.3, 0.7])
    means = torch.tensor([[0.0, 1.0, 0.0], [2.0, -1.0, 0.5]])
    factors = torch.tril(0.6 * torch.randn(2, 3, 3, generator=rng()), -1)
    return GaussianMixtureDensity(weights, means, factors + torch.eye(3))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_marginal_of_a_mixture(pattern):
    density, observed = make_mixture(), torch.tensor(pattern)
    marginal, _ = density.partition(observed)
    x = torch.randn(20, 3, generator=rng(1)).double()[:, observed]
    exact = torch.zeros(20).double()
    if any(pattern):
        covariances = density.cholesky @ density.cholesky.mT
        parts = [
            weight
            * multivariate_normal(mean[observed], c[observed][:, observed]).pdf(x)
            for weight, mean, c in zip(
                density.weights.numpy(), density.means, covariances, strict=True
            )
        ]
        exact = torch.from_numpy(sum(parts)).log().flatten()
    torch.testing.assert_close(marginal.log_prob(x), exact, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["mixture", "box"])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_marginal_and_conditional_make_the_whole(pattern, kind):
    density = make_mixture()
    if kind == "box":
        density = UniformBox(torch.zeros(3), torch.tensor([1.0, 2.0, 3.0]))
    observed = torch.tensor(pattern)
    marginal, conditional = density.partition(observed)
    for x in density.sample(5, rng(2)):
        rest = conditional(x[observed])
        parts = marginal.log_prob(x[observed].double()[None])
        parts = parts + rest.log_prob(x[~observed][None])
        whole = density.log_prob(x[None]).double()
        torch.testing.assert_close(parts, whole, atol=1e-4, rtol=0)
        assert rest.sample(7, rng()).shape == (7, int((~observed).sum()))
        assert rest.sample(1, rng()).dtype == torch.float32


def test_far_rows_keep_the_nearest_component_alone():
    density = make_mixture()
    _, conditional = density.partition(torch.tensor([True, False, False]))
    rest = conditional(torch.tensor([1e12]))
    assert len(rest.weights) == 1
    assert rest.sample(5, rng()).isfinite().all()


def test_others_say_that_they_have_none():
    class Flow(Density):
        def log_prob(self, x):
            return x.sum(1)

        def sample(self, n_samples, generator):
            return torch.zeros(n_samples, 2)

    assert not Flow.has_conditionals
    with pytest.raises(NotImplementedError, match="Flow has no closed forms"):
        Flow().partition(torch.tensor([True, False]))
