"""Mixtures of Student's t as predictive densities."""

import tracemalloc

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import t as student

from skebm.semi_supervised import PredictiveMixture
from skebm.semi_supervised.regression import _predictive


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


# -------------------------------------------------- many parts, of rows with gaps


def of_completions(n_rows, n_parts=384):
    """Return mixtures of two heaps of parts, most of them of little weight."""
    rng = np.random.RandomState(0)
    shape = n_rows, n_parts
    locations = rng.normal(size=shape) * 0.5 + 4 * (rng.uniform(size=shape) < 0.3)
    weights = rng.dirichlet(np.full(n_parts, 0.1), n_rows)
    scales = rng.choice([0.03, 0.3, 1.0], shape)
    return PredictiveMixture(weights, locations, scales, rng.choice([4.0, 30.0], shape))


def test_modes_of_many_parts_are_highest_and_take_little_memory():
    mixture = of_completions(8)
    tracemalloc.start()
    found = mixture.mode()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6
    np.testing.assert_array_equal(mixture.rows([5]).mode(), found[5:6])
    some = mixture.rows(slice(2))
    best = some.log_prob(np.tile(np.linspace(-3, 7, 2001), (2, 1))).max(axis=1)
    assert (some.log_prob(found[:2]) > best - 1e-3).all()


def test_quantiles_of_many_parts_take_few_steps(monkeypatch):
    mixture, asked, stdtr = of_completions(8), [], _predictive.stdtr
    monkeypatch.setattr(
        _predictive, "stdtr", lambda nu, z: asked.append(z.size) or stdtr(nu, z)
    )
    for probability in (0.001, 0.5, 0.9):
        asked.clear()
        found = mixture.quantile(probability)
        assert sum(asked) < 25 * mixture.weights.size
        np.testing.assert_allclose(mixture.cdf(found), probability, rtol=1e-8)
        np.testing.assert_array_equal(mixture.rows([3]).quantile(probability), found[3])
