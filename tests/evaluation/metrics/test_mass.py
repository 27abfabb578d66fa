"""The mass of densities whose integral is known."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity

from skebm import EBMDensityEstimator, JEMClassifier
from skebm.evaluation import probability_mass
from skebm.exceptions import NormalizerWarning
from skebm.models import Calibration


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3)) @ rng.normal(size=(3, 3))
    X[:200] += 4
    return X * [1.0, 1e-3, 100.0] + [0.0, 5.0, -2.0]


class Shifted:
    """A density times a constant."""

    def __init__(self, model, log_factor):
        self.model, self.log_factor = model, log_factor

    def score_samples(self, X):
        return self.model.score_samples(X) + self.log_factor

    def sample(self, n_samples, random_state):
        return self.model.sample(n_samples)[0]


@pytest.mark.parametrize("log_factor", [0.0, 0.3, -0.2])
def test_mass_of_a_mixture(table, log_factor):
    mixture = GaussianMixture(4, reg_covar=1e-9, random_state=0).fit(table)
    result = probability_mass(Shifted(mixture, log_factor), table, random_state=1)
    error = abs(result.mass - np.exp(log_factor))
    assert error < 4 * result.standard_error < 0.05
    assert result.effective_sample_size > 0.5


def test_standard_error_is_honest():
    X = np.random.default_rng(0).normal(size=(300, 2)) ** 3
    kernel = KernelDensity(bandwidth=0.1).fit(X)
    z = []
    for seed in range(20):
        result = probability_mass(kernel, X, n_samples=2000, random_state=seed)
        z.append((result.mass - 1) / result.standard_error)
    assert 0.6 < np.sqrt(np.mean(np.square(z))) < 1.5


def test_a_mode_that_only_the_model_has(table):
    # The rows know of one half, the draws of both.
    X = table[:200]
    mixture = GaussianMixture(2, random_state=0, reg_covar=1e-9).fit(table)
    result = probability_mass(Shifted(mixture, 0.0), X, random_state=0)
    assert abs(result.mass - 1) < 4 * result.standard_error < 0.1


@pytest.mark.parametrize("kind", [EBMDensityEstimator, JEMClassifier])
def test_a_wrong_log_z_is_caught(table, kind):
    model = kind("nce", max_iter=5, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NormalizerWarning)
        model.fit(table, np.arange(400) % 2)
    right = probability_mass(model, table, n_samples=20_000, random_state=0)
    assert 0.95 < right.mass < 1.05
    fitted = model._fitted
    wrong = replace(fitted.estimate, log_normalizer=fitted.log_normalizer - 0.5)
    calibration = Calibration.known(wrong, fitted.detector)
    model._fitted = replace(fitted, calibration=calibration)
    wrong = probability_mass(model, table, n_samples=20_000, random_state=0)
    assert wrong.mass == pytest.approx(right.mass * np.exp(0.5))


def test_reproducible(table):
    kernel = KernelDensity(bandwidth=0.5).fit(table)
    results = [
        probability_mass(kernel, table, n_samples=100, random_state=seed)
        for seed in (3, 3, None)
    ]
    assert results[0] == results[1] != results[2]


def test_bad_models_and_rows(table):
    with pytest.raises(ValueError, match="finite numbers"):
        probability_mass(KernelDensity().fit(table), table * np.nan)
    mixture = GaussianMixture(random_state=0).fit(table)
    with pytest.raises(ValueError, match="score_samples of Shifted returns NaN"):
        probability_mass(Shifted(mixture, np.nan), table)
