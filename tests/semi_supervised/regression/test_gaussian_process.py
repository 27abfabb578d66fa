"""Gaussian processes of few labels, against closed forms."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from skebm.semi_supervised.regression import _gaussian_process
from skebm.semi_supervised.regression._gaussian_process import (
    JITTER,
    GaussianProcess,
    _tune,
    kernels,
)

NAMES = ("constant", "linear", "additive", "smooth", "rough")


@pytest.fixture(scope="module")
def labels():
    rng = np.random.RandomState(0)
    x = rng.normal(size=(25, 3))
    y = x[:, 0] + np.sin(2 * x[:, 1]) + 0.1 * rng.normal(size=25)
    return x, (y - y.mean()) / y.std(), rng.uniform(0.5, 2, 25)


@pytest.fixture(scope="module")
def process(labels):
    return GaussianProcess.fit(*labels, NAMES)


def joint(process, x, weight, new):
    """Return the covariance of the labels and of one more."""
    rows = np.r_[x, new]
    matrices = kernels(rows, rows, NAMES, process.length)
    covariance = np.tensordot(process.weights[:-1], matrices, 1)
    noise = process.weights[-1] / np.r_[weight, 1.0]
    jitter = np.r_[JITTER * (1 + np.diag(covariance)[:-1]), 0.0]
    return covariance + np.diag(noise + jitter)


def test_predictions_are_the_conditional_normal(process, labels):
    x, y, weight = labels
    new = np.array([[0.3, -1.0, 0.5]])
    c = joint(process, x, weight, new)
    mean = c[-1, :-1] @ np.linalg.solve(c[:-1, :-1], y)
    variance = c[-1, -1] - c[-1, :-1] @ np.linalg.solve(c[:-1, :-1], c[:-1, -1])
    found = process.predict(new)
    assert found[0][0] == pytest.approx(mean)
    assert found[1][0] == pytest.approx(np.sqrt(variance))


def test_labels_are_left_out_exactly(process, labels):
    x, y, weight = labels
    c = joint(process, x, weight, x[:1])[:-1, :-1]
    center, width = process.left_out(y)
    for i in (0, 7):
        rest = np.arange(len(y)) != i
        solved = np.linalg.solve(c[np.ix_(rest, rest)], np.c_[y, c[i]][rest])
        mean, shrunk = c[i, rest] @ solved
        assert center[i] == pytest.approx(mean)
        assert width[i] == pytest.approx(np.sqrt(c[i, i] - shrunk))


def test_the_weights_maximise_likelihood_times_prior(labels):
    x, y, weight = labels
    matrices = kernels(x, x, NAMES, 1.0)
    best, weights = _tune(matrices, y, weight)

    def loss(log_weights):
        a = np.exp(log_weights)
        matrix = np.tensordot(a[:-1], matrices, 1)
        matrix += np.diag(a[-1] / weight + JITTER * (1 + np.diag(matrix)))
        score = multivariate_normal(np.zeros(len(y)), matrix).logpdf(y)
        prior = (log_weights - np.log(0.3)) / 2
        return -score - len(y) / 2 * np.log(2 * np.pi) + prior @ prior / 2

    at_best = np.log(weights)
    assert loss(at_best) == pytest.approx(best, abs=1e-4)
    slope = [loss(at_best + step) - loss(at_best - step) for step in 1e-4 * np.eye(6)]
    assert np.abs(slope).max() / 2e-4 < 0.05


def test_a_process_of_many_labels_takes_a_thousand(labels):
    rng = np.random.RandomState(0)
    x = rng.normal(size=(1100, 1))
    process = GaussianProcess.fit(x, x[:, 0], np.ones(1100), ("linear",))
    assert len(process.x) == 1000
    np.testing.assert_allclose(process.predict(x)[0], x[:, 0], atol=0.01)


def test_stored_as_arrays(process, labels):
    again = GaussianProcess.from_arrays(process.to_arrays())
    np.testing.assert_array_equal(
        again.predict(labels[0])[0], process.predict(labels[0])[0]
    )


def test_many_rows_are_predicted_some_at_a_time(process, labels, monkeypatch):
    x, sizes = labels[0], []
    mean, deviation = process.predict(x)
    monkeypatch.setattr(_gaussian_process, "CHUNK_ROWS", 10)
    monkeypatch.setattr(
        _gaussian_process,
        "kernels",
        lambda a, *rest: sizes.append(len(a)) or kernels(a, *rest),
    )
    found = process.predict(x)
    assert sizes == [10, 10, 5]
    np.testing.assert_allclose(found[0], mean)
    np.testing.assert_allclose(found[1], deviation)
    assert process.predict(x[:0])[0].shape == (0,)
