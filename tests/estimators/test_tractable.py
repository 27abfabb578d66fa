"""Normalised networks as the model: everything about them is exact."""

import pickle
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from scipy import stats

from skebm import EBMDensityEstimator, JEMClassifier
from skebm.networks import NICE, PPCA, MixtureOfGaussians
from skebm.references import BoxReference
from skebm.training import Loop

NAMES = ["mixture", "nice", "ppca"]


def make(network="mixture", objective="mle", **options):
    defaults = {"reference": "gaussian", "max_iter": 5, "random_state": 0}
    return EBMDensityEstimator(objective, network, **(defaults | options))


def rows(n=300):
    rng = np.random.RandomState(0)
    return rng.normal(size=(n, 2)) * [3.0, 0.1] + rng.choice([-5, 5], size=(n, 1))


def exact_scores(model, X):
    z = torch.from_numpy(model._fitted.encoder.encode(X))
    with torch.no_grad():
        log_prob = model.network_(z)[:, 0].double().numpy()
    return log_prob + model._fitted.encoder.log_jacobian(z).numpy()


@pytest.mark.parametrize("objective", ["mle", "vera"])
@pytest.mark.parametrize("reference", ["gaussian", "gmm", None])
@pytest.mark.parametrize("network", NAMES)
def test_scores_are_the_networks_whatever_trained_it(network, reference, objective):
    X = rows()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = make(network, objective, reference=reference).fit(X)
        model.score(X)
    np.testing.assert_allclose(model.score_samples(X), exact_scores(model, X), 1e-6)
    assert model.log_normalizer_ == 0.0 and model.log_normalizer_se_ == 0.0
    assert model.normalizer_result_.trusted
    assert set(model.history_["metric"]) == {"log_likelihood"}
    assert set(model.history_["effective_share"]) == {1.0}
    far = model.score_samples([[1e3, -1e3]])
    assert np.isfinite(far).all() and far < model.score_samples(X).min()


@pytest.mark.parametrize("normalizer", ["auto", "importance", "ais", None])
def test_log_z_is_known_whatever_the_normalizer(normalizer):
    X = rows()
    model = make(normalizer=normalizer).fit(X)
    assert model.log_normalizer_ == 0.0 and model.log_normalizer_se_ == 0.0
    model.partial_fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.score(X) == pytest.approx(exact_scores(model, X).mean())
    assert model.log_normalizer_ == 0.0


def test_the_density_integrates_to_one_in_the_units_of_x():
    X = rows()
    model = make("nice", max_iter=20).fit(X)
    low, high = X.mean(axis=0) - 12 * X.std(axis=0), X.mean(axis=0) + 12 * X.std(axis=0)
    axes = np.linspace(low, high, 500).T
    points = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    cell = np.prod(axes[:, 1] - axes[:, 0])
    mass = np.exp(model.score_samples(points)).sum() * cell
    assert mass == pytest.approx(1, abs=1e-3)


def test_no_reference_means_no_box():
    model = make(reference=None).fit(rows())
    assert not model.reference_.bounded_support
    model = make(reference=BoxReference()).fit(rows())
    assert not model.reference_.bounded_support


def test_samples_are_drawn_from_the_network(monkeypatch):
    model = make("ppca", max_iter=20).fit(rows())
    draws = model.sample(4000, random_state=0)
    np.testing.assert_array_equal(draws, model.sample(4000, random_state=0))
    covariance = model.network_.covariance.detach().numpy()
    encoder = model._fitted.encoder
    scale = encoder.scale
    mean = encoder.location + scale * model.network_.mean.detach().numpy()
    for j in range(2):
        exact = stats.norm(mean[j], scale[j] * covariance[j, j] ** 0.5)
        assert stats.kstest(draws[:, j], exact.cdf).pvalue > 1e-3
    monkeypatch.setattr(
        PPCA, "sample", lambda self, n, generator: torch.full((n, 2), 7.0)
    )
    np.testing.assert_allclose(
        model.sample(3),
        np.tile(encoder.decode([[7, 7]]), (3, 1)),
    )


def test_early_stopping_watches_the_exact_likelihood():
    X = rows()
    model = make("mixture", max_iter=3).fit(X)
    assert len(model.history_["validation_log_likelihood"]) == 3
    # An average over held-out rows: standardised, and near the training rows' score.
    best = max(model.history_["validation_log_likelihood"])
    log_scale = np.log(model._fitted.encoder.scale).sum()
    level = model.score(X) + log_scale
    assert best == pytest.approx(level, abs=0.3)


@pytest.mark.parametrize("network", NAMES)
def test_fitted_models_pickle(network):
    X = rows()
    model = make(network).fit(X)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.score_samples(X), model.score_samples(X))
    np.testing.assert_array_equal(
        copy.sample(5, random_state=0), model.sample(5, random_state=0)
    )


def test_mixture_recovers_a_mixture():
    """Exact maximum likelihood comes near the truth that made the rows."""
    rng = np.random.RandomState(1)
    centers = np.array([[-3.0, 0.0], [3.0, 0.0], [0.0, 4.0]])

    def draw(n):
        return centers[rng.randint(3, size=n)] + 0.5 * rng.normal(size=(n, 2))

    model = make(max_iter=60, learning_rate=1e-2).fit(draw(2000))
    fresh = draw(5000)
    parts = [stats.multivariate_normal(c, 0.25).pdf(fresh) / 3 for c in centers]
    assert np.log(sum(parts)).mean() - model.score(fresh) < 0.05


@pytest.mark.parametrize(
    "network", ["ppca", PPCA, partial(NICE, prior="logistic"), MixtureOfGaussians]
)
def test_a_classifier_takes_no_normalized_network(network, monkeypatch):
    monkeypatch.setattr(Loop, "fit", lambda *_: pytest.fail("training started"))
    X, y = rows(60), np.arange(60) % 3
    with pytest.raises(
        ValueError,
        match=r"JEMClassifier and network .* don't go together.*'ensemble_mlp'",
    ):
        JEMClassifier(network=network).fit(X, y)


@pytest.mark.parametrize("objective", ["sliced_score_matching", "fd_score_matching"])
def test_score_matching_comes_near_the_likelihoods_best(objective):
    """The reference, one wide Gaussian, must not hide thin directions of the net."""
    rng = np.random.RandomState(0)
    X = rng.normal(size=(1000, 3)) @ rng.normal(size=(3, 12))
    X += 0.3 * rng.normal(size=X.shape)
    options = {"max_iter": 40, "learning_rate": 1e-2, "early_stopping": False}
    network = partial(PPCA, n_components=3)
    best = make(network, **options).fit(X).score(X)
    assert best - make(network, objective, **options).fit(X).score(X) < 0.3
