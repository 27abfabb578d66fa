"""Marginals, draws given some columns and imputation of the faces."""

import copy
import pickle
import warnings
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from skebm import EBMDensityEstimator, JEMClassifier
from skebm.exceptions import NormalizerWarning, TrainingWarning
from skebm.models._calibration import Calibration
from skebm.networks import MLP, NICE, PPCA, MixtureOfGaussians
from skebm.references import (
    Density,
    GaussianMixtureDensity,
    GaussianReference,
    Reference,
)

SMALL = partial(MLP, hidden_features=(32, 32))


def crescent(n_rows, random_state=0):
    """Rows that no Gaussian fits, in units of their own."""
    rng = np.random.RandomState(random_state)
    x0 = rng.normal(size=n_rows)
    x1 = x0**2 + 0.5 * rng.normal(size=n_rows)
    return np.stack([100 + 3 * x0, x1], axis=1)


def make(**options):
    defaults = {
        "objective": "nce",
        "network": SMALL,
        "reference": "gaussian",
        "max_iter": 15,
        "learning_rate": 5e-3,
        "random_state": 0,
    }
    return EBMDensityEstimator(**(defaults | options))


@pytest.fixture(scope="module")
def model():
    return make().fit(crescent(1000))


def three_columns(n_rows=300):
    X = crescent(n_rows, random_state=3)
    return np.column_stack([X, X[:, 1] + np.random.RandomState(4).normal(size=n_rows)])


@pytest.fixture(scope="module")
def model_of_three():
    return make(early_stopping=False).fit(three_columns())


def with_gaps(X, random_state=0):
    """Return a copy with a fifth of the entries missing, the first row wholly."""
    X = X.copy()
    X[np.random.RandomState(random_state).uniform(size=X.shape) < 0.2] = np.nan
    X[0] = np.nan
    return X


def profile(model, x0, n=4000):
    """Return x1 over a grid, p(x1 | x0) on it and log p(x0), by quadrature."""
    x1 = np.linspace(-8, 20, n)
    log_p = model.score_samples(np.column_stack([np.full(n, x0), x1]))
    mass = np.exp(log_p).sum() * (x1[1] - x1[0])
    return x1, np.exp(log_p) / mass, np.log(mass)


# ------------------------------------------------------------------ against quadrature


@pytest.mark.parametrize("x0", [97.0, 100.5, 104.0])
def test_marginals_and_conditionals_are_those_of_quadrature(model, x0):
    x1, density, log_mass = profile(model, x0)
    row = np.array([[x0, np.nan]])
    assert model.score_samples(row)[0] == pytest.approx(log_mass, abs=0.15)

    step = x1[1] - x1[0]
    mean = (x1 * density).sum() * step
    scale = np.sqrt(((x1 - mean) ** 2 * density).sum() * step)
    median = x1[np.searchsorted(density.cumsum() * step, 0.5)]
    assert model.impute(row)[0, 1] == pytest.approx(mean, abs=0.2 * scale)
    found = model.impute(row, strategy="median")[0, 1]
    assert found == pytest.approx(median, abs=0.3 * scale)

    draws = model.sample(1000, random_state=0, given=row)
    assert (draws[:, 0] == x0).all()
    cdf = np.cumsum(density) * step
    test = stats.kstest(draws[:, 1], lambda x: np.interp(x, x1, cdf))
    assert test.pvalue > 1e-3
    assert draws[:, 1].mean() == pytest.approx(mean, abs=0.2 * scale)


def test_a_model_without_log_z_leaves_it_out_of_marginals(model):
    X = np.array([[99.0, np.nan], [np.nan, np.nan]])
    scores = model.score_samples(X)
    assert scores[1] == 0.0
    without = copy.copy(model)
    calibration = Calibration.known(None, model._fitted.detector)
    without._fitted = replace(model._fitted, calibration=calibration)
    assert without.log_normalizer_ is None
    expected = scores + model.log_normalizer_
    np.testing.assert_allclose(without.score_samples(X), expected, atol=0.2)


# ------------------------------------------------------------------ one row, one answer


def test_answers_depend_on_the_row_alone(model_of_three):
    X = with_gaps(three_columns(60))
    scores, filled = model_of_three.score_samples(X), model_of_three.impute(X)
    assert np.isfinite(scores).all() and np.isfinite(filled).all()
    np.testing.assert_array_equal(filled[~np.isnan(X)], X[~np.isnan(X)])
    for rows in (slice(None, None, -1), slice(7, 12), slice(0, 1)):
        np.testing.assert_array_equal(
            model_of_three.score_samples(X[rows]), scores[rows]
        )
        np.testing.assert_array_equal(model_of_three.impute(X[rows]), filled[rows])
    complete = ~np.isnan(X).any(axis=1)
    np.testing.assert_array_equal(
        model_of_three.score_samples(X[complete]), scores[complete]
    )


def test_draws_follow_the_random_state(model_of_three):
    X = with_gaps(three_columns(10))
    draws = model_of_three.sample(3, random_state=0, given=X)
    assert draws.shape == (30, 3)
    repeated = X.repeat(3, axis=0)
    held = ~np.isnan(repeated)
    np.testing.assert_array_equal(draws[held], repeated[held])
    assert len(np.unique(draws[:3], axis=0)) == 3
    again = model_of_three.sample(3, random_state=0, given=X)
    np.testing.assert_array_equal(again, draws)
    imputed = [
        model_of_three.impute(X, strategy="draw", random_state=s) for s in (0, 0, 1)
    ]
    np.testing.assert_array_equal(imputed[0], imputed[1])
    assert (imputed[0] != imputed[2]).any()


def test_a_frame_with_names(model_of_three):
    X = pd.DataFrame(three_columns(), columns=["a", "b", "c"])
    named = make(max_iter=1).fit(X)
    holes = X.head(2).copy()
    holes.loc[0, "b"] = np.nan
    holes.loc[1, ["a", "c"]] = None
    assert named.impute(holes).shape == (2, 3)
    assert named.sample(2, given=holes).shape == (4, 3)
    assert np.isfinite(named.score(holes))
    nullable = holes.convert_dtypes()
    np.testing.assert_array_equal(named.impute(nullable), named.impute(holes))


# ------------------------------------------------------------------ other densities


def exact_gaussian(X, row):
    """Return log N(x_O) and E[x_M | x_O] for the moments of X."""
    o, mean, S = ~np.isnan(row), X.mean(0), np.cov(X.T, bias=True)
    score = stats.multivariate_normal(mean[o], S[o][:, o]).logpdf(row[o])
    gain = S[~o][:, o] @ np.linalg.inv(S[o][:, o])
    return score, mean[~o] + gain @ (row[o] - mean[o])


@pytest.mark.parametrize("network", [PPCA, MixtureOfGaussians])
def test_networks_of_closed_form_are_exact(network):
    X = np.random.RandomState(0).normal(size=(400, 3)) @ np.array(
        [[1.0, 0.5, 0.2], [0.0, 1.0, 0.7], [0.0, 0.0, 0.5]]
    )
    options = {"n_components": 1} if network is MixtureOfGaussians else {}
    model = make(objective="mle", network=partial(network, **options), max_iter=1)
    model.fit(X)
    # The maximum of the likelihood is known; training would only come near.
    encoder = model._fitted.encoder
    Z = encoder.encode(X).astype(np.float64)
    with torch.no_grad():
        covariance = torch.from_numpy(np.cov(Z.T, bias=True)).float()
        if network is PPCA:
            values, vectors = torch.linalg.eigh(covariance)
            noise = values[:2].mean()
            model.network_.mean.zero_()
            model.network_.log_noise_scale.copy_(noise.log() / 2)
            model.network_.weight.copy_(vectors[:, 2:] * (values[2:] - noise).sqrt())
            covariance = model.network_.covariance
        else:
            factor = torch.linalg.cholesky(covariance)
            model.network_.means.zero_()
            model.network_.log_scales.copy_(factor.diagonal().log()[None])
            model.network_.lower.copy_(factor[[1, 2, 2], [0, 0, 1]][None])
    factor = np.linalg.cholesky(covariance.double().numpy())
    white = (Z - Z.mean(0)) @ np.linalg.inv(
        np.linalg.cholesky(np.cov(Z.T, bias=True))
    ).T
    exact = encoder.decode(white @ factor.T)  # its moments
    rows = np.array([[0.3, np.nan, np.nan], [np.nan, 1.0, -0.4]])
    for row, score, filled in zip(
        rows, model.score_samples(rows), model.impute(rows), strict=True
    ):
        log_p, mean = exact_gaussian(exact, row)
        assert score == pytest.approx(log_p, abs=1e-4)
        np.testing.assert_allclose(filled[np.isnan(row)], mean, atol=0.15)


def test_a_flow_is_sampled_by_importance():
    model = make(objective="mle", network=NICE, max_iter=10).fit(crescent(600))
    _, _, log_mass = profile(model, 101.0)
    score = model.score_samples(np.array([[101.0, np.nan]]))[0]
    assert score == pytest.approx(log_mass, abs=0.15)


class OpaqueDensity(Density):
    """A Gaussian that hides its closed forms."""

    def __init__(self, weights, means, cholesky):
        super().__init__()
        self.hidden = GaussianMixtureDensity(weights, means, cholesky)

    def log_prob(self, x):
        return self.hidden.log_prob(x)

    def sample(self, n_samples, generator):
        return self.hidden.sample(n_samples, generator)

    def arrays(self):
        return self.hidden.arrays()


class OpaqueReference(Reference):
    def fit(self, x, *, weight, generator):
        fitted = GaussianReference().fit(x, weight=weight, generator=generator)
        return OpaqueDensity(**fitted.arrays())


def test_a_reference_without_closed_conditionals(monkeypatch):
    monkeypatch.setattr("skebm.models._missing.N_PROPOSAL_ROWS", 1000)
    opaque = make(reference=OpaqueReference()).fit(crescent(1000))
    row = np.array([[101.0, np.nan]])
    _, _, log_mass = profile(opaque, 101.0)
    score = opaque.score_samples(row)
    assert score[0] == pytest.approx(log_mass, abs=0.15)
    again = pickle.loads(pickle.dumps(opaque))
    np.testing.assert_array_equal(again.score_samples(row), score)


def test_outside_the_box_the_density_is_zero():
    model = make(reference=None, max_iter=2).fit(crescent(300))
    rows = np.array([[1e6, np.nan], [100.0, np.nan]])
    scores = model.score_samples(rows)
    assert scores[0] == -np.inf and np.isfinite(scores[1])
    assert np.isfinite(model.impute(rows)).all()


def test_the_classifier_has_them_too(blobs):
    X, y = blobs
    model = JEMClassifier(
        "nce",
        network=SMALL,
        reference="gaussian",
        max_iter=120,
        learning_rate=1e-2,
        early_stopping=False,
        random_state=0,
    ).fit(X, y)
    rows = np.array([[6.0, np.nan], [np.nan, 6.0]])
    filled = model.impute(rows)
    assert np.isfinite(model.score_samples(rows)).all()
    assert np.abs(filled[0, 1]) < 2.5
    draws, labels = model.sample(20, random_state=0, given=rows)
    assert draws.shape == (40, 2) and (labels[:20] == 1).mean() > 0.6
    draws, labels = model.sample(50, random_state=0, y=0, given=[[np.nan, 0.0]])
    assert (labels == 0).all() and abs(draws[:, 0].mean()) < 1.0
    free, _ = model.sample(50, random_state=0, given=[[np.nan, 0.0]])
    assert free[:, 0].mean() > 1.5
    with pytest.raises(ValueError, match="'y' parameter must be one class"):
        model.sample(2, y=[0, 1], given=[[np.nan, 0.0]])


# ------------------------------------------------------------------ errors, warnings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((2, 3)), "'given' parameter holds no NaN"),
        (np.full((2, 2), np.nan), "2 features, but EBMDensityEstimator is expecting 3"),
        (
            [[np.inf, np.nan, 0.0]],
            "infinity in column 0; .*values and NaN only",
        ),
        ([["a", np.nan, 0.0]], "must hold numbers|could not convert"),
        ([np.nan, 0.0, 0.0], "Expected 2D array"),
    ],
)
def test_bad_rows_are_refused(model_of_three, given, message):
    with pytest.raises(ValueError, match=message):
        model_of_three.sample(given=given)


def test_bad_options_are_refused(model_of_three):
    X = [[np.nan, 0.0, 0.0]]
    with pytest.raises(ValueError, match=r"'strategy' .*'median'.* Got 'mode'"):
        model_of_three.impute(X, strategy="mode")
    with pytest.raises(ValueError, match="'n_samples'"):
        model_of_three.sample(0, given=X)
    with pytest.raises(ValueError, match="infinity in column 1"):
        model_of_three.impute([[np.nan, np.inf, 0.0]])


def test_what_cannot_be_trusted_is_told(model_of_three, monkeypatch):
    monkeypatch.setattr("skebm.models._conditioning.MAX_R_HAT", 0.5)
    X = [[np.nan, 0.0, 0.0]]
    with pytest.warns(TrainingWarning, match="1 of 1 incomplete rows can't be trusted"):
        model_of_three.impute(X)
    with pytest.warns(TrainingWarning, match="R-hat"):
        model_of_three.sample(2, given=X)
    monkeypatch.setattr("skebm.evaluation.normalizers._log_weights._MIN_DRAWS", 1e9)
    with pytest.warns(NormalizerWarning, match="1 of 1 .* standard errors are up to"):
        model_of_three.score_samples(X)


def test_trusted_answers_come_without_a_word(model_of_three):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model_of_three.impute(with_gaps(three_columns(5)))
