"""The face of the machine of real columns."""

import pickle
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.exceptions import NotFittedError
from sklearn.mixture import GaussianMixture
from sklearn.utils.estimator_checks import parametrize_with_checks

from skebm import GaussianRBM
from skebm.exceptions import TrainingWarning

QUICK = {"n_components": 6, "n_iter": 40, "random_state": 0}


@pytest.fixture(scope="module")
def iris():
    return np.random.RandomState(0).permutation(load_iris().data)


@pytest.fixture(scope="module")
def fitted(iris):
    return GaussianRBM(**QUICK).fit(iris)


def mixture(model):
    """Weights, means and covariance of the model's Gaussians in units of X."""
    m = len(model.components_)
    h = (np.arange(2**m)[:, None] >> np.arange(m)) & 1
    theta = model.intercept_visible_ + h @ model.components_
    log_weight = h @ model.intercept_hidden_ + (theta**2).sum(axis=1) / 2
    units = model._fitted.units
    z = theta * units.scale.numpy()
    z = z if units.axes is None else z @ units.axes.numpy().T
    means = model._codec.encoder.location + model._codec.encoder.scale * z
    weight = np.exp(log_weight - log_weight.max())
    return weight / weight.sum(), means, model.covariance_


def log_mixture(rows, weight, means, covariance):
    parts = [
        w * multivariate_normal(mean, covariance).pdf(rows)
        for w, mean in zip(weight, means, strict=True)
    ]
    return np.log(np.sum(parts, axis=0))


@pytest.mark.parametrize("options", [{}, {"whiten": False}, {"variance": "fixed"}])
def test_scores_are_log_densities_in_the_units_of_x(options, iris):
    X = iris * [1.0, 100.0, 0.01, 1.0] + [0, 0, 5, 1e4]
    model = GaussianRBM(**QUICK, **options, early_stopping=False).fit(X)
    exact = log_mixture(X, *mixture(model))
    np.testing.assert_allclose(model.score_samples(X), exact, rtol=1e-6)
    assert model.log_normalizer_se_ == 0


def test_a_missing_entry_is_integrated_out(fitted, iris):
    weight, means, covariance = mixture(fitted)
    gaps = iris[:5].copy()
    gaps[:, 1] = np.nan
    seen = [0, 2, 3]
    exact = log_mixture(
        gaps[:, seen], weight, means[:, seen], covariance[np.ix_(seen, seen)]
    )
    np.testing.assert_allclose(fitted.score_samples(gaps), exact, rtol=1e-6)
    filled = fitted.impute(gaps)
    np.testing.assert_allclose(filled[:, seen], gaps[:, seen], rtol=1e-12)
    assert np.abs(filled[:, 1] - iris[:5, 1]).mean() < iris[:, 1].std()


def test_samples_and_conditional_samples_follow_the_mixture(fitted, iris):
    weight, means, covariance = mixture(fitted)
    drawn = fitted.sample(3000, random_state=0, method="tempering", n_steps=300)
    mean = weight @ means
    np.testing.assert_allclose(drawn.mean(axis=0), mean, atol=0.15)
    given = np.array([[np.nan, np.nan, 1.5, 0.2]])
    gain = covariance[:2, 2:] @ np.linalg.inv(covariance[2:, 2:])
    pull = weight * multivariate_normal([0, 0], covariance[2:, 2:]).pdf(
        given[:, 2:] - means[:, 2:]
    )
    centers = means[:, :2] + (given[:, 2:] - means[:, 2:]) @ gain.T
    exact = pull @ centers / pull.sum()
    draws = fitted.sample(2000, random_state=0, given=given, n_steps=100)
    np.testing.assert_allclose(draws[:, 2:], np.tile([1.5, 0.2], (2000, 1)), rtol=1e-5)
    np.testing.assert_allclose(draws[:, :2].mean(axis=0), exact, atol=0.05)
    np.testing.assert_allclose(fitted.impute(given)[0, :2], exact, rtol=1e-6)


@pytest.mark.parametrize(
    "load, n_iter", [(load_iris, 100), (load_wine, 100), (load_breast_cancer, 20)]
)
def test_defaults_beat_a_diagonal_gaussian_and_hold_against_a_full_one(load, n_iter):
    X = np.random.RandomState(1).permutation(load().data)
    cut = len(X) * 4 // 5
    train, test = X[:cut], X[cut:]
    model = GaussianRBM(n_iter=n_iter, random_state=0)
    # But for iris the gain of rows left out is within its standard error.
    unsure = load is not load_iris
    with pytest.warns(TrainingWarning, match="kept") if unsure else nullcontext():
        model.fit(train)
    scaled, units = (train - train.mean(0)) / train.std(0), np.log(train.std(0)).sum()
    held_out = (test - train.mean(0)) / train.std(0)
    one = [
        GaussianMixture(covariance_type=kind).fit(scaled).score(held_out) - units
        for kind in ("diag", "full")
    ]
    assert model.score(test) > one[0] + 1
    assert model.score(test) > one[1] - 0.5


@pytest.mark.parametrize("options", [{}, {"whiten": False}])
def test_a_high_rate_does_not_explode(options, iris):
    model = GaussianRBM(64, learning_rate=0.3, n_iter=30, random_state=0, **options)
    model.set_params(normalizer=None)
    model.fit(iris)
    assert np.abs(model.components_).max() < 50
    assert np.isfinite(model.history_["negative_free_energy"]).all()


def test_training_takes_missing_entries(iris):
    gaps = iris.copy()
    gaps[np.random.RandomState(0).uniform(size=iris.shape) < 0.2] = np.nan
    model = GaussianRBM(**QUICK).fit(gaps)
    whole = GaussianRBM(**QUICK).fit(iris)
    assert model.score(iris) > whole.score(iris) - 1
    assert np.isfinite(model.score_samples(gaps)).all()


def test_columns_on_grids_and_constant_ones_have_finite_densities():
    rng = np.random.RandomState(0)
    X = np.column_stack([rng.randint(3, size=200), np.full(200, 7.0), rng.randn(200)])
    model = GaussianRBM(**QUICK).fit(X)
    assert model.score_samples(X).max() < 10
    assert (np.diag(model.covariance_) > 1e-4).all()


def test_partial_fit_goes_on_where_it_was(iris):
    model = GaussianRBM(**QUICK)
    for part in np.array_split(np.tile(iris, (20, 1)), 30):
        model.partial_fit(part)
    one = GaussianRBM(**{**QUICK, "n_iter": 0}).fit(iris)
    assert model.score(iris) > one.score(iris) + 1
    learnt = model._fitted.units.scale.numpy()
    model.partial_fit(iris[:50])
    scale = model._fitted.units.scale.numpy()
    assert not np.array_equal(scale, learnt)
    np.testing.assert_allclose(scale, learnt, rtol=0.2)


def test_one_seed_one_model_and_copies_score_alike(fitted, iris):
    again = clone(fitted).fit(iris)
    copied = pickle.loads(pickle.dumps(fitted))
    expected = fitted.score_samples(iris)
    np.testing.assert_array_equal(again.score_samples(iris), expected)
    np.testing.assert_array_equal(copied.score_samples(iris), expected)


def test_bad_input_is_named(iris):
    with pytest.raises(TypeError, match="toarray"):
        GaussianRBM().fit(sparse.csr_matrix(iris))
    gaps = iris.copy()
    gaps[:, 2] = np.nan
    with pytest.raises(ValueError, match="No value of column 2 is observed"):
        GaussianRBM().fit(gaps)
    with pytest.raises(ValueError, match="variance"):
        GaussianRBM(variance="free").fit(iris)
    with pytest.raises(ValueError, match="at most 20 units"):
        GaussianRBM(30, normalizer="exact").fit(iris)


@pytest.fixture(autouse=True)
def numpy_state():
    """Put NumPy's global state back: some checks draw from it themselves."""
    state = np.random.get_state()
    yield
    np.random.set_state(state)


@pytest.mark.filterwarnings("ignore::skebm.exceptions.SkebmWarning")
@parametrize_with_checks([GaussianRBM(2, n_iter=2)])
def test_estimator_check(estimator, check):
    check(estimator)


def test_gibbs_follows_the_conditionals(fitted, iris):
    v = np.tile(iris[:1], (4000, 1))
    drawn = fitted.gibbs(v)
    h = fitted.transform(iris[:1])[0]
    units, encoder = fitted._fitted.units, fitted._codec.encoder
    theta = fitted.intercept_visible_ + h @ fitted.components_
    z = theta * units.scale.numpy()
    z = z if units.axes is None else z @ units.axes.numpy().T
    expected = encoder.location + encoder.scale * z
    error = 5 * iris.std(axis=0) / np.sqrt(len(v))
    assert np.all(np.abs(drawn.mean(axis=0) - expected) < error)


def test_gibbs_needs_a_fit():
    with pytest.raises(NotFittedError):
        GaussianRBM().gibbs([[0.0]])


def test_a_gibbs_step_keeps_the_index_and_rounds_nothing():
    X = pd.DataFrame({"a": [0, 1, 2, 3] * 5, "b": [1, 5, 2, 7] * 5}, index=range(7, 27))
    drawn = GaussianRBM(2, n_iter=1, random_state=0).fit(X).gibbs(X.astype(float))
    assert drawn.index.equals(X.index)
    assert (drawn != drawn.round()).all(axis=None)


def test_a_gap_in_every_row():
    X = np.random.default_rng(0).normal(size=(60, 3))
    holes = X.copy()
    holes[np.arange(60), np.arange(60) % 3] = np.nan
    model = GaussianRBM(3, n_iter=3, random_state=0).fit(holes)
    assert np.mean(model.predict(X) == -1) < 0.3
