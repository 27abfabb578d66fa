"""GaussianRBM on clusters, on wild values, and in other units."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from skebm import GaussianRBM
from skebm.exceptions import DataWarning, DivergenceError

QUICK = {"n_components": 6, "n_iter": 10, "random_state": 0}
#: Mean log densities of two blobs by the truth and by the Gaussian of their moments.
TRUTH, ONE_GAUSSIAN = -2.13, -3.2


def two_blobs(n, seed):
    rng = np.random.RandomState(seed)
    return np.where(rng.rand(n, 1) < 0.5, -2, 2) + 0.5 * rng.normal(size=(n, 2))


def test_clusters_far_apart_have_their_shares():
    model = GaussianRBM(8, n_iter=60, random_state=0).fit(two_blobs(600, 0))
    assert model.score(two_blobs(2000, 100)) > TRUTH - 0.1
    share = (model.sample(1000, 0, method="tempering", n_steps=200)[:, 0] > 0).mean()
    assert share == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("n_components", [1, 4, 40])
@pytest.mark.parametrize("options", [{}, {"whiten": False}, {"variance": "fixed"}])
def test_training_starts_near_the_gaussian_of_the_rows(n_components, options):
    X = np.random.RandomState(0).normal(size=(300, 4)) @ np.triu(np.ones((4, 4)))
    model = GaussianRBM(n_components, n_iter=0, random_state=0, **options).fit(X)
    if options.get("variance") != "fixed":
        v = np.linalg.inv(np.linalg.inv(model.covariance_) - curvature(model))
        np.testing.assert_allclose(np.trace(v), np.trace(np.cov(X.T)), rtol=0.15)
    if "whiten" in options:  # given h the columns themselves are independent
        return
    trained = model.set_params(n_iter=10).fit(X)
    gaussian = multivariate_normal(X.mean(axis=0), np.cov(X.T)).logpdf(X).mean()
    assert trained.score(X) > gaussian - 0.3


def curvature(model):
    """The second derivative of the sum of log cosh at its centre, in units of X."""
    units, encoder = model._fitted.units, model._codec.encoder
    axes = np.eye(4) if units.axes is None else units.axes.numpy()
    to_statistic = axes.T / units.scale.numpy()[:, None] / encoder.scale
    W = model.components_ @ to_statistic
    return W.T @ W / 4


def test_many_hidden_units_do_not_run_away_at_once():
    X = np.random.RandomState(0).normal(size=(60, 3))
    for n_iter in (0, 2):
        model = GaussianRBM(300, n_iter=n_iter, random_state=0).fit(X[:40])
        assert model.score(X) > -5.5  # the Gaussian has -4.3


@pytest.mark.filterwarnings("ignore:The log-likelihood of training rows")
@pytest.mark.parametrize("method", ["tempering", "pcd"])
def test_a_rate_far_too_high_is_told_or_does_no_harm(method):
    X = two_blobs(600, 0)
    options = {"n_components": 10, "n_iter": 20, "method": method, "random_state": 0}
    for rate in (1.0, 10.0):
        model = GaussianRBM(learning_rate=rate, **options)
        try:
            score = model.fit(X).score(X)
        except DivergenceError as error:
            assert "learning_rate" in str(error)
        else:
            assert score > ONE_GAUSSIAN - 0.5
    model = GaussianRBM(**options).fit(X).set_params(learning_rate=10.0)
    before = model.score_samples(X)
    with pytest.raises(DivergenceError, match="mean log density of its rows fell"):
        for _ in range(5):
            model.partial_fit(X)
            before = model.score_samples(X)
    np.testing.assert_array_equal(model.score_samples(X), before)


# -------------------------------------------------------------------- columns


@pytest.fixture(scope="module")
def rows():
    return np.random.RandomState(0).normal(size=(250, 3))


@pytest.fixture(scope="module")
def fresh():
    return np.random.RandomState(1).normal(size=(1000, 3))


@pytest.mark.parametrize("factor, shift", [(1e6, 0), (1e-6, 0), (1, 1e6), (1e-200, 0)])
def test_units_of_columns_change_nothing(factor, shift, rows):
    scores = GaussianRBM(**QUICK).fit(rows).score_samples(rows)
    moved = rows.copy()
    moved[:, 1] = factor * moved[:, 1] + shift
    again = GaussianRBM(**QUICK).fit(moved).score_samples(moved)
    if factor > 1e-100:
        np.testing.assert_allclose(again + np.log(factor), scores, atol=1e-3)
    else:  # the variance underflows: a constant
        assert np.isfinite(again).all()


@pytest.mark.filterwarnings("ignore:X holds values far:skebm.exceptions.DataWarning")
def test_one_wild_value_spoils_nothing(rows, fresh):
    wild = rows.copy()
    wild[200, 0] = 1000.0
    clean, model = (GaussianRBM(**QUICK).fit(X) for X in (rows, wild))
    assert model.score(fresh) > clean.score(fresh) - 0.02
    far = np.array([[8.0, 0.0, 0.0]])
    assert model.predict(far) == -1
    assert np.isfinite(model.score_samples(wild)).all()
    assert np.isfinite(model.sample(50, 0, n_steps=50)).all()


@pytest.mark.filterwarnings("ignore:X holds values far:skebm.exceptions.DataWarning")
def test_a_density_with_a_wild_column_integrates_to_one(rows):
    wild = rows[:, :1].copy()
    wild[:3] = [[1000.0], [-500.0], [800.0]]
    model = GaussianRBM(**QUICK).fit(wild)
    grid = np.sinh(np.linspace(-30, 30, 200_001))
    density = np.exp(model.score_samples(grid[:, None]))
    assert np.trapezoid(density, grid) == pytest.approx(1, abs=1e-3)


def test_a_value_that_repeats_far_away_is_told_or_missing(rows, fresh):
    coded = rows.copy()
    coded[::20, 0] = -9999
    clean = GaussianRBM(**QUICK).fit(rows)
    with pytest.warns(DataWarning, match=r"column 0 \(-9999 in 5.2%.*'missing'\.$"):
        GaussianRBM(**QUICK).fit(coded)
    model = GaussianRBM(**QUICK, sentinels="missing").fit(coded)
    assert model.score(fresh) > clean.score(fresh) - 0.1
    filled = model.impute(coded)
    assert np.abs(filled[::20, 0]).max() < 4
    np.testing.assert_array_equal(
        np.delete(filled, np.s_[::20], 0), np.delete(rows, np.s_[::20], 0)
    )
    np.testing.assert_array_equal(filled[:, 1:], rows[:, 1:])
    with pytest.raises(ValueError, match="NaN in column 0"):
        model.gibbs(coded)


@pytest.mark.parametrize("unit", [1.0, 1e-6, 1e6])
def test_a_constant_column_that_moves_is_seen(unit, rows):
    X = np.c_[rows, np.full(250, 3 * unit)]
    model = GaussianRBM(**QUICK).fit(X)
    assert (model.predict(X) == 1).mean() > 0.9
    X[:, 3] *= 1.01
    assert (model.predict(X) == -1).all()
