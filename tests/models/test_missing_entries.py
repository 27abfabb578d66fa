"""Fits to rows with missing entries: against known densities, and what is refused."""

import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from skebm import EBMDensityEstimator
from skebm.exceptions import DivergenceError
from skebm.models import _missing, _rows, _train
from skebm.networks import MLP
from skebm.references import CopulaMixtureDensity
from skebm.tables import TableEncoder

COVARIANCE = np.array([[1.0, 0.8, 0.5], [0.8, 1.0, 0.2], [0.5, 0.2, 1.0]])
TRUTH = stats.multivariate_normal([10.0, 0.0, -5.0], COVARIANCE)
SMALL = partial(MLP, hidden_features=(32, 32))


def make(**options):
    defaults = {
        "network": SMALL,
        "reference": "gaussian",
        "ood_score": "log_density",
        "max_iter": 10,
        "random_state": 0,
    }
    return EBMDensityEstimator(**(defaults | options))


def missing_at_random(n_rows, seed=0):
    """Return rows of it, entries missing by what the first column is."""
    rng = np.random.default_rng(seed)
    X = TRUTH.rvs(n_rows, random_state=rng)
    X[(X[:, 0] > 10) & (rng.uniform(size=n_rows) < 0.7), 1] = np.nan
    X[(X[:, 0] > 10.5) & (rng.uniform(size=n_rows) < 0.5), 2] = np.nan
    return X


def with_gaps(X, share=0.25, seed=0):
    """Return a copy with entries missing, but for one in each row."""
    mask = np.random.default_rng(seed).uniform(size=X.shape) < share
    mask[mask.all(axis=1), 0] = False
    return np.where(mask, np.nan, X)


def rings(n_rows, seed):
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, 2 * np.pi, n_rows)
    radius = rng.choice([1.0, 3.0], n_rows) + 0.1 * rng.normal(size=n_rows)
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    return np.stack([x, y, 0.5 * x + 0.3 * rng.normal(size=n_rows)], axis=1)


@pytest.fixture(scope="module")
def fitted():
    """Of rows with gaps, with all the scores of outliers that are free."""
    return make().fit(missing_at_random(1000))


# ------------------------------------------------------------------ known densities


def test_what_is_missing_at_random_does_not_bias_the_density(fitted):
    X = missing_at_random(1000)
    test = TRUTH.rvs(2000, random_state=np.random.default_rng(1))
    best = TRUTH.logpdf(test).mean()
    assert fitted.score(test) > best - 0.04
    complete = X[~np.isnan(X).any(axis=1)]
    means = np.where(np.isnan(X), np.nanmean(X, axis=0), X)
    assert make().fit(complete).score(test) < best - 0.15
    assert make().fit(means).score(test) < best - 0.15


def test_scores_integrate_to_one_and_marginals_agree(fitted):
    """Against quadrature over a missing column, in the units of X."""
    grid = np.linspace(-6, 6, 2001)
    line = np.stack([np.full_like(grid, 10.7), grid, np.full_like(grid, -4)], axis=1)
    mass = np.exp(fitted.score_samples(line)).sum() * (grid[1] - grid[0])
    row = np.array([[10.7, np.nan, -4.0]])
    assert abs(fitted.score_samples(row)[0] - np.log(mass)) < 0.1
    assert abs(fitted.log_normalizer_) < 0.2
    assert fitted.log_normalizer_se_ < 0.05


def test_a_tilt_is_learnt_from_gaps():
    """Fills follow the tilted density: by the Gaussian's the gain is a half of this."""
    X, test = with_gaps(rings(1000, 0)), rings(2000, 1)
    options = {"network": "auto", "max_iter": 50}
    model = make(**options).fit(X)
    log_tilt = -model.energy(test).mean() - model.log_normalizer_
    assert log_tilt > 1.0
    alone = make(**options).fit(X[~np.isnan(X).any(axis=1)])
    assert model.score(test) > alone.score(test) + 0.15


def test_thresholds_hold_for_complete_rows():
    model = make(ood_score="combined", max_iter=5).fit(missing_at_random(1000))
    test = TRUTH.rvs(2000, random_state=np.random.default_rng(1))
    assert abs((model.predict(test) == -1).mean() - 0.05) < 0.04
    assert (model.predict([[10.0, 9.0, -5.0]]) == -1).all()
    assert np.isfinite(model.offset_)


# ------------------------------------------------------------------ every face of fit


@pytest.mark.parametrize(
    "options",
    [
        {"reference": None},
        {"reference": "kde"},
        {"objective": "vera"},
        {"objective": "denoising_score_matching", "network": "auto"},
        {"objective": "mle", "network": "mixture", "learning_rate": 1e-2},
        {"early_stopping": False, "weight_averaging": 0},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_any_objective_and_reference_takes_gaps(options):
    X = missing_at_random(200)
    model = make(**({"max_iter": 2} | options)).fit(X)
    assert np.isfinite(model.score_samples(X[:5])).all()
    assert not np.isnan(model.impute(X[:5])).any()


def test_complete_tables_are_left_alone(monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("no row has a gap")

    monkeypatch.setattr(_rows, "hot_deck", never)
    monkeypatch.setattr(_missing, "fit_incomplete", never)
    monkeypatch.setattr(_missing, "ResampledCompletion", never)
    monkeypatch.setattr(_train, "IncompleteRowsMonitor", never)
    X = TRUTH.rvs(100, random_state=0)
    model = make(max_iter=1).fit(X)
    model.partial_fit(X).score_samples(X)


def test_rows_of_nothing_are_left_out():
    X = missing_at_random(100)
    more = np.insert(X, [0, 50], np.nan, axis=0)
    weight = np.linspace(1, 2, 100)
    scores = [
        make(max_iter=1).fit(rows, sample_weight=w).score_samples(X[:5])
        for rows, w in ((X, weight), (more, np.insert(weight, [0, 50], 9.0)))
    ]
    np.testing.assert_array_equal(*scores)


def test_moments_are_those_of_what_is_observed():
    X = missing_at_random(9000)  # more than a chunk
    weight = np.random.default_rng(0).uniform(size=len(X))
    observed = np.ma.masked_invalid(X)
    mean = np.ma.average(observed, axis=0, weights=weight)
    variance = np.ma.average((observed - mean) ** 2, axis=0, weights=weight)
    encoder = TableEncoder.fit(X, weight)
    np.testing.assert_allclose(encoder.location, mean)
    np.testing.assert_allclose(encoder.scale, np.sqrt(variance))


def test_one_seed_gives_one_result_and_pickles():
    X = pd.DataFrame(missing_at_random(200), columns=["a", "b", "c"])
    first, second = (make(max_iter=2).fit(X) for _ in range(2))
    scores = first.score_samples(X[:20])
    np.testing.assert_array_equal(scores, second.score_samples(X[:20]))
    again = pickle.loads(pickle.dumps(first))
    np.testing.assert_array_equal(scores, again.score_samples(X[:20]))


def test_partial_fit_and_warm_start():
    X = missing_at_random(400)
    model = make().partial_fit(X[:200])
    chunk = X[200:].copy()
    chunk[:, 2] = np.nan
    stale = pickle.loads(pickle.dumps(model.partial_fit(chunk)))
    test = TRUTH.rvs(500, random_state=np.random.default_rng(1))
    assert abs(stale.score(test) - TRUTH.logpdf(test).mean()) < 0.3
    model.set_params(warm_start=True, max_iter=2).fit(X)
    assert abs(model.score(test) - TRUTH.logpdf(test).mean()) < 0.3


def test_columns_of_a_few_values():
    """They keep the noise that their steps ask for, and what is filled is on them."""
    rng = np.random.default_rng(0)
    X = np.stack([rng.integers(4, size=400), rng.normal(size=400)], axis=1)
    X[:, 1] += X[:, 0]
    complete, model = (make(max_iter=2).fit(rows) for rows in (X, with_gaps(X)))
    noise, expected = (m._fitted.assembly.tie_scale for m in (model, complete))
    np.testing.assert_allclose(noise, expected, rtol=0.1)
    encoder = model._fitted.encoder
    z = encoder.encode(with_gaps(X, seed=1))
    filled = encoder.decode(model._fitted.complete_rows(z, 0))
    assert set(filled[:, 0].round(4)) <= {0, 1, 2, 3}


def test_a_decision_is_by_the_mean_score_of_completions(fitted):
    """For a Gaussian, E[log p(x)] given x_O is log p(x_O) less an entropy."""
    rows = np.array([[10.7, np.nan, -4.0], [9.0, np.nan, -5.5], [10.0, 0.0, -5.0]])
    inverse = np.linalg.inv(COVARIANCE)
    entropy = 0.5 * np.log(2 * np.pi * np.e / inverse[1, 1])
    expected = fitted.score_samples(rows) - np.array([entropy, entropy, 0.0])
    scores = fitted.ood_scores(rows)
    np.testing.assert_allclose(scores, expected, atol=0.3)
    np.testing.assert_array_equal(fitted.ood_scores(rows[1:]), scores[1:])
    outliers = [[10.0, np.nan, 3.0], [np.nan, 30.0, np.nan]]
    assert fitted.predict(outliers).tolist() == [-1, -1]
    assert (fitted.predict(missing_at_random(100, seed=3)) == 1).mean() > 0.9


# ------------------------------------------------------------------ what is refused


def frame(**columns):
    rng = np.random.default_rng(0)
    values = {"a": rng.normal(size=60), "b": rng.normal(size=60)}
    return pd.DataFrame(values | columns, index=range(60))


@pytest.mark.parametrize(
    ("X", "options", "message"),
    [
        (frame(b=np.nan), {}, "NaN only in column 'b'"),
        (frame(a=np.nan, b=np.nan), {}, "NaN only in columns 'a' and 'b'"),
        (
            frame(a=[1.0] + [np.nan] * 59, b=[2.0] + [np.nan] * 59),
            {},
            "at least 2 rows",
        ),
        (frame(b=[np.inf, np.nan] * 30), {}, "infinity in column 'b'"),
    ],
)
def test_tables_that_nothing_can_be_learnt_from(X, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options).fit(X)


def test_long_tails_with_gaps_under_the_default_reference():
    """Log-normal columns, a fifth missing: near the truth, by the copula."""
    rng = np.random.default_rng(0)
    z = rng.multivariate_normal([0, 0], [[1, 0.7], [0.7, 1]], size=1500)
    X, test = np.exp(1.5 * z[:500]), z[900:]
    model = make(reference="auto", network="auto", max_iter=5).fit(with_gaps(X, 0.2))
    assert isinstance(model.reference_, CopulaMixtureDensity)
    truth = stats.multivariate_normal([0, 0], [[1, 0.7], [0.7, 1]]).logpdf(test)
    truth = truth - (1.5 * test + np.log(1.5)).sum(axis=1)
    assert model.score(np.exp(1.5 * test)) > truth.mean() - 0.3


def test_one_gap_past_the_rows_that_are_watched():
    X = np.random.default_rng(0).normal(size=(400, 2))
    X[:, 1] += X[:, 0]
    X[3, 1] = np.nan
    model = make(max_iter=2, normalizer=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_train, "MAX_MONITORED", 0)
        assert model.fit(X).score_samples(X).shape == (400,)


def test_divergence_with_gaps_is_told_as_such():
    X = with_gaps(np.random.default_rng(0).normal(size=(300, 3)))
    with pytest.raises(DivergenceError, match="Lower learning_rate"):
        make(learning_rate=1e20, max_iter=3).fit(X)


@pytest.mark.parametrize("n_gaps", [0, 1])
def test_a_model_far_worse_than_its_reference_is_refused(n_gaps):
    X = rings(200, 0)
    X[:n_gaps, 1] = np.nan
    model = make(learning_rate=1.0, max_iter=3, early_stopping=False)
    with pytest.raises(DivergenceError, match="nats less than the untrained reference"):
        model.fit(X)
