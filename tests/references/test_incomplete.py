"""Mixtures and rows with missing entries: closed forms, and EM by hand."""

import numpy as np
import pytest
import torch

from skebm.references import (
    CopulaMixtureReference,
    GaussianMixtureDensity,
    GaussianMixtureReference,
    GaussianReference,
    MixtureConditionals,
    TiedValues,
    fit_incomplete,
)


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def mixture(rng):
    roots = torch.randn(3, 4, 4, generator=rng)
    factors = torch.linalg.cholesky(roots @ roots.mT + 0.3 * torch.eye(4))
    means = torch.randn(3, 4, generator=rng)
    return GaussianMixtureDensity(torch.tensor([0.2, 0.3, 0.5]), means, factors)


def test_marginals_are_those_of_partition(mixture, rng):
    x = mixture.sample(40, rng)
    x[torch.rand(40, 4, generator=rng) < 0.4] = torch.nan
    x[0], x[1] = torch.nan, mixture.sample(1, rng)
    given = MixtureConditionals(mixture, x, rng)
    assert given.log_marginal[0].abs() < 1e-6
    assert (given.log_marginal[1] - mixture.log_prob(x[1:2])).abs() < 1e-4
    for row, log_marginal in zip(x[2:], given.log_marginal[2:], strict=True):
        observed = ~row.isnan()
        if not observed.all() and observed.any():
            marginal, _ = mixture.partition(observed)
            exact = marginal.log_prob(row[observed][None].double())
            torch.testing.assert_close(log_marginal[None], exact, atol=1e-6, rtol=0)


@pytest.mark.parametrize("missing", [[0], [1, 3], [0, 1, 2]])
def test_draws_follow_the_conditional_of_partition(mixture, rng, missing):
    row = mixture.sample(1, rng)[0]
    row[missing] = torch.nan
    observed = ~row.isnan()
    rows = row.expand(4000, -1)  # each with cached components of its own
    drawn = MixtureConditionals(mixture, rows, rng).draw(torch.arange(4000), 5, rng)
    assert (drawn[..., observed] == row[observed]).all()
    drawn = drawn.flatten(0, 1)[:, missing]
    exact = mixture.partition(observed)[1](row[observed]).sample(20_000, rng)
    scale = exact.std(0)
    assert ((drawn.mean(0) - exact.mean(0)).abs() < 0.04 * scale).all()
    assert ((drawn.std(0) / scale - 1).abs() < 0.04).all()
    between = torch.corrcoef(drawn.mT) - torch.corrcoef(exact.mT)
    assert (between.abs() < 0.05).all()


def missing_at_random(n_rows, seed=0):
    """Return rows of a Gaussian, two columns missing where the first is high."""
    rng = np.random.default_rng(seed)
    covariance = np.array([[1.0, 0.8, 0.5], [0.8, 1.0, 0.2], [0.5, 0.2, 1.0]])
    X = rng.multivariate_normal(np.zeros(3), covariance, n_rows)
    holes = X.copy()
    holes[(X[:, 0] > 0) & (rng.uniform(size=n_rows) < 0.8), 1] = np.nan
    holes[(X[:, 0] > 0.5) & (rng.uniform(size=n_rows) < 0.5), 2] = np.nan
    return X, holes


def em_of_gaussian(X, weight, n_steps=200):
    """Return mean and covariance of the greatest likelihood, by EM in closed form."""
    mean, covariance = np.nanmean(X, axis=0), np.diag(np.nanvar(X, axis=0))
    for _ in range(n_steps):
        filled, spread = X.copy(), np.zeros_like(covariance)
        for i, row in enumerate(X):
            m = np.isnan(row)
            slope = covariance[np.ix_(m, ~m)] @ np.linalg.inv(
                covariance[np.ix_(~m, ~m)]
            )
            filled[i, m] = mean[m] + slope @ (row - mean)[~m]
            rest = covariance[np.ix_(m, m)] - slope @ covariance[np.ix_(~m, m)]
            spread[np.ix_(m, m)] += weight[i] * rest
        mean = np.average(filled, axis=0, weights=weight)
        centred = filled - mean
        covariance = (centred.T * weight) @ centred + spread
        covariance /= weight.sum()
    return mean, covariance


@pytest.mark.parametrize("weighted", [False, True])
def test_a_gaussian_is_that_of_em(weighted):
    _, holes = missing_at_random(600)
    weight = np.ones(len(holes))
    if weighted:
        weight = np.where(holes[:, 0] > 1, 3.0, 1.0)
    mean, covariance = em_of_gaussian(holes, weight, n_steps=40)
    rows = torch.from_numpy(holes).float()
    means, covariances = [], []
    for seed in range(8):
        density = fit_incomplete(
            GaussianReference(),
            rows,
            weight=torch.from_numpy(weight) if weighted else None,
            generator=torch.Generator().manual_seed(seed),
        )
        means.append(density.means[0].numpy())
        covariances.append((density.cholesky[0] @ density.cholesky[0].T).numpy())
    # A fill is a draw: its error, a quarter of the estimate's own, averages out.
    np.testing.assert_allclose(np.mean(means, axis=0), mean, atol=0.03)
    np.testing.assert_allclose(np.mean(covariances, axis=0), covariance, atol=0.05)
    complete = holes[~np.isnan(holes).any(axis=1)]
    assert abs(complete.mean(axis=0) - mean).max() > 0.3


def test_a_mixture_of_rows_with_gaps_is_near_to_that_of_all_rows(rng):
    def rows(n):
        side = torch.randint(2, (n, 1), generator=rng) * 2.0 - 1
        return side + 0.2 * torch.randn(n, 3, generator=rng)

    x, test = rows(400), rows(1000)
    holes = x.clone()
    holes[torch.rand(400, 3, generator=rng) < 0.25] = torch.nan
    holes = holes[~holes.isnan().all(1)]
    reference = GaussianMixtureReference((2, 4))
    density = fit_incomplete(reference, holes, weight=None, generator=rng)
    best = reference.fit(x, weight=None, generator=rng).log_prob(test).mean()
    assert density.log_prob(test).mean() > best - 0.15


def test_fills_of_a_grid_are_on_it():
    x = torch.tensor([[0.0, 0.1], [1.0, 0.2], [3.0, torch.nan], [torch.nan, 0.7]])
    tied = TiedValues(x, torch.tensor([True, False]))
    filled = torch.tensor([[-5.0, 0.3], [0.6, 0.3], [1.9, 0.3], [9.0, 0.3]])
    snapped = tied.snap(filled)
    assert snapped[:, 0].tolist() == [0, 1, 1, 3]
    assert (snapped[:, 1] == filled[:, 1]).all()
    assert filled[0, 0] == -5


class Recorder(GaussianReference):
    """Keeps the rows that it is fitted to."""

    def fit(self, x, *, weight, generator):
        self.rows_ = x.clone()
        return super().fit(x, weight=weight, generator=generator)


def test_a_grid_with_gaps_is_one_when_it_is_filled(rng):
    """Or else its steps would look like spikes of a continuous column."""
    x = torch.randint(4, (600, 1), generator=rng).float()
    x = torch.cat([x, torch.randn(600, 1, generator=rng)], dim=1)
    x[torch.rand(600, 2, generator=rng) < 0.25] = torch.nan
    reference, holes = Recorder(), x[~x.isnan().all(1)]
    fit_incomplete(reference, holes, weight=None, generator=rng)
    rows = reference.rows_
    assert set(rows[:, 0].tolist()) == {0, 1, 2, 3}
    assert len(rows[:, 1].unique()) == len(rows)
    assert (rows == holes)[~holes.isnan()].all()


def test_few_gaps_among_many_rows(rng):
    """The rounds' subset may hold complete rows only."""
    x = torch.randn(5200, 2, generator=rng)
    x[3, 1] = torch.nan
    density = fit_incomplete(GaussianReference(), x, weight=None, generator=rng)
    complete = x[~x.isnan().any(1)]
    torch.testing.assert_close(density.means[0], complete.mean(0), atol=1e-3, rtol=0)


def test_gaps_are_filled_with_no_more_far_values_than_there_are(monkeypatch):
    """A skewed table, mapped for the most part, 5 % of a column far away."""
    monkeypatch.setattr("skebm.references._incomplete.N_GAUSSIAN_ROUNDS", 1)
    monkeypatch.setattr("skebm.references._incomplete.N_MIXTURE_ROUNDS", 1)
    monkeypatch.setattr("skebm.references._incomplete.ROUND_SIZES", (2,))
    rng = np.random.RandomState(0)
    x = np.exp(1.5 * rng.normal(size=(300, 2)))
    far, gaps = np.arange(300) < 15, rng.uniform(size=300) < 0.3
    x[far, 0] = rng.uniform(100, 101, 15)
    few = GaussianMixtureReference(n_components=(1,), n_repeats=1)
    reference = CopulaMixtureReference(few).apart(
        np.full(2, -np.inf), np.array([90.0, np.inf])
    )
    seen = []
    original = type(reference).fit

    def fit(self, x, **given):
        seen.append(x.clone())
        return original(self, x, **given)

    monkeypatch.setattr(type(reference), "fit", fit)
    holes = torch.from_numpy(np.where(gaps[:, None] & [True, False], np.nan, x))
    fit_incomplete(
        reference,
        holes.float(),
        weight=None,
        generator=torch.Generator().manual_seed(0),
    )
    assert len(seen) == 2
    assert (seen[-1][gaps, 0] > 90).float().mean() < 0.12
