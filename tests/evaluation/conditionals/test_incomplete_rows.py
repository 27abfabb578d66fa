"""Marginals and conditionals of a tilted Gaussian, which is one, in closed form."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from skebm.evaluation import incomplete_rows
from skebm.evaluation.conditionals._incomplete import Draws, _r_hat
from skebm.references import GaussianMixtureDensity

NAN = math.nan
ROWS = torch.tensor(
    [
        [0.5, NAN, -0.3, NAN],
        [NAN, NAN, NAN, NAN],
        [-1.0, 0.4, NAN, 0.2],
        [1.5, NAN, 0.3, NAN],
    ]
)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


class TiltedGaussian:
    """N(0, C) tilted by E = |B (x - a)|^2 / 2: N(m, S), with its log Z."""

    def __init__(self, strength):
        factor = torch.tril(0.4 * torch.randn(4, 4, generator=rng(1)), -1)
        factor = factor + torch.eye(4)
        self.reference = GaussianMixtureDensity(
            torch.ones(1), torch.zeros(1, 4), factor[None]
        )
        self.B = strength * torch.randn(4, 4, generator=rng(2))
        self.a = torch.tensor([1.0, -0.5, 0.5, 0.0])
        precision = (factor @ factor.T).double().inverse()
        tilt = (self.B.T @ self.B).double()
        self.covariance = (precision + tilt).inverse()
        self.mean = self.covariance @ tilt @ self.a.double()
        at = self.mean.float()[None]
        log_p = stats.multivariate_normal(self.mean, self.covariance).logpdf(self.mean)
        log_tilted = self.reference.log_prob(at) - self.energy(at)
        self.log_normalizer = float(log_tilted) - log_p

    def energy(self, x):
        return ((x - self.a) @ self.B.T).square().sum(1) / 2

    def marginal(self, x):
        """Return log p(x_O), exactly."""
        o = ~x.isnan()
        if not o.any():
            return 0.0
        S = self.covariance[o][:, o]
        return stats.multivariate_normal(self.mean[o], S).logpdf(x[o].double())

    def conditional(self, x):
        """Return mean and covariance of x_M given x_O, exactly."""
        o, S = ~x.isnan(), self.covariance
        gain = S[~o][:, o] @ S[o][:, o].inverse()
        mean = self.mean[~o] + gain @ (x[o].double() - self.mean[o])
        return mean, S[~o][:, ~o] - gain @ S[o][:, ~o]

    def rows(self):
        rows = incomplete_rows(ROWS, self.energy, self.reference)
        return sorted(rows, key=lambda row: row.number)


@pytest.fixture(params=["importance", "annealing"])
def model(request, monkeypatch):
    if request.param == "annealing":  # as where no draw from the reference counts
        monkeypatch.setattr(
            "skebm.evaluation.conditionals._incomplete.IncompleteRow._importance_draws",
            lambda *_: None,
        )
    return TiltedGaussian(1.0)


def test_marginals_are_the_gaussians(model):
    for row in model.rows():
        estimate = row.log_normalizer(row.generator())
        score = row.log_reference + estimate.log_normalizer - model.log_normalizer
        exact = model.marginal(row.x)
        assert score == pytest.approx(exact, abs=4 * estimate.standard_error + 1e-4)
        assert estimate.standard_error < 0.1 and estimate.trusted


def test_draws_and_means_are_the_gaussians(model):
    for row in model.rows():
        mean, covariance = model.conditional(row.x)
        scale = covariance.diagonal().sqrt()
        draws = row.draws(1000, rng(3))
        assert draws.r_hat < 1.05
        n = draws.effective_sample_size
        assert n > 900
        assert ((draws.mean() - mean) / scale).abs().max() < 5 / math.sqrt(n)
        assert ((draws.median() - mean) / scale).abs().max() < 7 / math.sqrt(n)
        x = draws.sample(1000, rng(4)).double()
        error = torch.cov(x.T).reshape(covariance.shape) - covariance
        assert (error / scale / scale[:, None]).abs().max() < 0.2
        for column, m, s in zip(x.T, mean, scale, strict=True):
            assert stats.kstest(((column - m) / s).numpy(), "norm").pvalue > 1e-3
        assert len(x.unique(dim=0)) > 900


def test_a_strong_tilt_is_annealed():
    model = TiltedGaussian(20.0)
    row = model.rows()[0]
    estimate = row.log_normalizer(row.generator())
    assert estimate.method == "AnnealedImportanceSampling"
    score = row.log_reference + estimate.log_normalizer - model.log_normalizer
    error = 4 * estimate.standard_error
    assert score == pytest.approx(model.marginal(row.x), abs=error)
    mean, covariance = model.conditional(row.x)
    draws = row.draws(1, rng())
    errors = (draws.mean() - mean) / covariance.diagonal().sqrt()
    assert errors.abs().max() < 0.3


def test_a_row_is_its_own_seed_wherever_it_stands():
    model = TiltedGaussian(1.0)
    alone = next(incomplete_rows(ROWS[2:3], model.energy, model.reference))
    among = model.rows()[2]
    assert alone.log_reference == among.log_reference
    a, b = (row.log_normalizer(row.generator()) for row in (alone, among))
    assert a == b
    others = [row.generator().initial_seed() for row in model.rows()]
    assert len(set(others)) == len(ROWS)


def test_populations_that_differ_show_in_r_hat():
    x = torch.randn(2, 200, 3, generator=rng()).double()
    assert _r_hat(x) < 1.03
    x[1, :, 2] += 2.0
    assert _r_hat(x) > 1.5


def test_weighted_median():
    x = torch.tensor([[3.0, 1.0], [1.0, 2.0], [2.0, 9.0]])
    draws = Draws(x, torch.tensor([0.6, 0.3, 0.1]).double().log())
    np.testing.assert_array_equal(draws.median(), [3.0, 1.0])
    np.testing.assert_allclose(draws.mean(), [2.3, 2.1], atol=1e-6)
