"""Mixtures of Student's t as predictive densities."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import t as student

from skebm.semi_supervised import PredictiveMixture


@pytest.fixture
def mixture():
    rng = np.random.RandomState(0)
    weights = rng.dirichlet(np.ones(3), 4)
    return PredictiveMixture(
        weights,
        rng.normal(size=(4, 3)) * 3,
        rng.uniform(0.2, 2, (4, 3)),
        np.broadcast_to([4.0, 8.0, 30.0], (4, 3)),
    )


def at(mixture, i, function):
    """Return a function of y of one row."""
    return lambda y: function(mixture.rows([i]))(np.array([y]))[0]


@pytest.mark.parametrize("i", range(4))
def test_density_moments_and_cdf_by_quadrature(mixture, i):
    log_prob = at(mixture, i, lambda one: one.log_prob)

    def integral(function, high=np.inf):
        def integrand(y):
            return np.exp(log_prob(y)) * function(y)

        low = quad(integrand, -np.inf, min(0.0, high))[0]
        return low if high <= 0 else low + quad(integrand, 0.0, high)[0]

    assert integral(np.ones_like) == pytest.approx(1, abs=1e-6)
    mean = mixture.mean()[i]
    assert integral(lambda y: y) == pytest.approx(mean, abs=1e-4)
    variance = integral(lambda y: (y - mean) ** 2)
    assert np.sqrt(variance) == pytest.approx(mixture.std()[i], rel=1e-3)
    cdf = at(mixture, i, lambda one: one.cdf)
    assert integral(np.ones_like, 1.0) == pytest.approx(cdf(1.0), abs=1e-6)


def test_one_part_is_students_t():
    one = np.ones((1, 1))
    part = PredictiveMixture(one, 2 * one, 3 * one, 5 * one)
    truth = student(5, 2, 3)
    y = np.array([0.3])
    assert part.log_prob(y) == pytest.approx(truth.logpdf(y))
    assert part.quantile(0.9) == pytest.approx(truth.ppf(0.9))
    assert part.quantile(1e-5) == pytest.approx(truth.ppf(1e-5))
    assert part.std() == pytest.approx(truth.std())
    assert part.mode() == pytest.approx(2, abs=1e-3)


def test_quantiles_invert_the_cdf_and_modes_are_highest(mixture):
    for probability in (0.001, 0.3, 0.999):
        found = mixture.cdf(mixture.quantile(probability))
        np.testing.assert_allclose(found, probability, atol=1e-9)
    grid = np.linspace(-15, 15, 20_001)
    best = mixture.log_prob(np.tile(grid, (4, 1))).max(axis=1)
    np.testing.assert_allclose(mixture.log_prob(mixture.mode()), best, atol=1e-4)


def test_draws_follow_the_cdf(mixture):
    draws = mixture.sample(20_000, np.random.RandomState(0))
    for probability in (0.1, 0.5, 0.9):
        below = (draws <= mixture.quantile(probability)[:, None]).mean(axis=1)
        np.testing.assert_allclose(below, probability, atol=0.015)


def test_moving_and_mixing(mixture):
    moved = mixture.moved(5.0, 2.0)
    y = np.array([0.0, 1.0, -2.0, 3.0])
    np.testing.assert_allclose(
        moved.log_prob(5 + 2 * y), mixture.log_prob(y) - np.log(2)
    )
    mixed = mixture.mixed(np.array([[0.25, 0.75], [1.0, 0.0]]))
    expected = 0.25 * mixture.rows([0]).cdf(y[:1]) + 0.75 * mixture.rows([1]).cdf(y[:1])
    np.testing.assert_allclose(mixed.cdf(y[[0, 2]])[:1], expected)
    np.testing.assert_allclose(mixed.mean()[1], mixture.mean()[2])
