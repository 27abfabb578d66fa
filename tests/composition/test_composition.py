"""Products, mixtures and negations against closed forms, sums and integrals."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.exceptions import NotFittedError
from sklearn.mixture import GaussianMixture

from skebm import BernoulliRBM, EBMDensityEstimator, GaussianRBM, JEMClassifier
from skebm.composition import MixtureOfExperts, Negation, ProductOfExperts, _base
from skebm.evaluation import ImportanceSampling
from skebm.exceptions import NormalizerWarning, TrainingWarning

TINY = {"reference": "gaussian", "max_iter": 1, "random_state": 0}
STATES = np.array([[a, b, c] for a in (0, 1) for b in (0, 1) for c in (0, 1)], float)


class Gaussian:
    """A known density, as a part."""

    def __init__(self, mean, covariance, names=None):
        self.mean, self.covariance = np.array(mean, float), np.array(covariance, float)
        self.n_features_in_ = len(self.mean)
        if names is not None:
            self.feature_names_in_ = np.array(names, dtype=object)

    def score_samples(self, X):
        if hasattr(self, "feature_names_in_"):
            assert list(X.columns) == list(self.feature_names_in_)
        law = multivariate_normal(self.mean, self.covariance)
        return np.atleast_1d(law.logpdf(np.asarray(X)))

    def sample(self, n_samples=1, random_state=None):
        rng = np.random.RandomState(random_state)
        X = rng.multivariate_normal(self.mean, self.covariance, n_samples)
        names = getattr(self, "feature_names_in_", None)
        return X if names is None else pd.DataFrame(X, columns=names)


def product_of_gaussians(parts, weights):
    """Precisions add up, and means are weighed by them."""
    weighed = list(zip(parts, weights, strict=True))
    precisions = [w * np.linalg.inv(part.covariance) for part, w in weighed]
    covariance = np.linalg.inv(sum(precisions))
    pulls = zip(precisions, parts, strict=True)
    return Gaussian(covariance @ sum(p @ part.mean for p, part in pulls), covariance)


def pair(d):
    a, b = np.random.RandomState(d).normal(size=(2, d, d)) / d**0.5
    means = np.full(d, -0.7), np.full(d, 0.7)
    return [
        Gaussian(mean, factor @ factor.T + 0.5 * np.eye(d))
        for mean, factor in ((means[0], a), (means[1], b))
    ]


@pytest.mark.parametrize(
    ("d", "weights"), [(1, [1, 1]), (2, [0.5, 2]), (2, [2, -0.3]), (4, [1, 1])]
)
def test_a_product_of_gaussians_is_a_gaussian(d, weights):
    parts = pair(d)
    exact = product_of_gaussians(parts, weights)
    model = ProductOfExperts(parts, weights, random_state=0)
    X = exact.sample(500, 0)
    error = np.abs(model.score_samples(X) - exact.score_samples(X))
    assert error.mean() < 0.05
    # In the axes of the product, where draws are standard normal.
    drawn = model.sample(1000, random_state=0) - exact.mean
    z = np.linalg.solve(np.linalg.cholesky(exact.covariance), drawn.T)
    np.testing.assert_allclose(z.mean(1), 0, atol=0.15)
    np.testing.assert_allclose(np.cov(z), np.eye(d), atol=0.2)


def test_fitted_densities_multiply():
    """Two known densities, as two estimators learn them."""
    parts = pair(2)
    fitted = [
        EBMDensityEstimator(**TINY).fit(part.sample(4000, k))
        for k, part in enumerate(parts)
    ]
    exact = product_of_gaussians(parts, [1, 1])
    model = ProductOfExperts(fitted, random_state=0)
    X = exact.sample(500, 0)
    assert np.abs(model.score_samples(X) - exact.score_samples(X)).mean() < 0.05


def test_a_mixture_adds_its_parts():
    parts = pair(2)
    model = MixtureOfExperts(parts, [3, 1])
    X = parts[0].sample(50, 0)
    expected = logsumexp(
        [p.score_samples(X) for p in parts], axis=0, b=[[0.75], [0.25]]
    )
    np.testing.assert_allclose(model.score_samples(X), expected)
    assert model.log_normalizer_ == 0 and model.score(X) == pytest.approx(
        expected.mean()
    )
    drawn = model.sample(4000, random_state=0)
    assert drawn.mean(0) == pytest.approx([-0.35, -0.35], abs=0.08)
    np.testing.assert_array_equal(drawn, model.sample(4000, random_state=0))


@pytest.mark.parametrize("weight", [1.0, 3.0])
def test_a_negation_integrates_to_one(weight):
    """On a grid; half of its mass is gone where the negated one is."""
    wanted, negated = Gaussian([0, 0], np.eye(2)), Gaussian([1.5, 0], 0.2 * np.eye(2))
    model = Negation(wanted, negated, weight, random_state=0)
    axis = np.linspace(-6, 6, 301)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    step = (axis[1] - axis[0]) ** 2
    density = np.exp(model.score_samples(grid))
    assert density.sum() * step == pytest.approx(1, abs=5e-3)
    p, q = (np.exp(part.score_samples(grid)) for part in (wanted, negated))
    unnormalized = p / (1 + (q / p) ** weight)
    exact = unnormalized / (unnormalized.sum() * step)
    kept = exact > 1e-9
    np.testing.assert_allclose(density[kept], exact[kept], rtol=5e-3)
    drawn = model.sample(2000, random_state=0)
    near = np.linalg.norm(drawn - [1.5, 0], axis=1) < 0.4
    exact_near = exact[np.linalg.norm(grid - [1.5, 0], axis=1) < 0.4].sum() * step
    assert near.mean() == pytest.approx(exact_near, abs=0.02)


def test_compositions_are_parts_of_others():
    a, b = pair(2)
    either = MixtureOfExperts([a, b])
    inner = ProductOfExperts([either, Gaussian([0, 0], 4 * np.eye(2))], random_state=0)
    model = Negation(inner, b, random_state=0)
    axis = np.linspace(-8, 8, 201)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    mass = np.exp(model.score_samples(grid)).sum() * (axis[1] - axis[0]) ** 2
    assert mass == pytest.approx(1, abs=0.01)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.score_samples(grid), model.score_samples(grid))


# ------------------------------------------------------------------ values, tables


@pytest.fixture
def few_draws(monkeypatch):
    """Draws of machines and of mixed tables take time."""
    monkeypatch.setattr(_base, "N_DRAWS", 600)


@pytest.fixture(scope="module")
def machines():
    rng = np.random.RandomState(0)
    X = (rng.uniform(size=(200, 3)) < [0.7, 0.4, 0.5]).astype(float)
    X[:, 2] = np.where(rng.uniform(size=200) < 0.8, X[:, 0], X[:, 2])
    V = (rng.uniform(size=(200, 3)) < [0.3, 0.6, 0.8]).astype(float)
    return [BernoulliRBM(2, n_iter=5, random_state=0).fit(rows) for rows in (X, V)]


def test_products_of_boltzmann_machines_by_enumeration(machines, few_draws):
    model = ProductOfExperts(machines, random_state=0)
    log_p = sum(machine.score_samples(STATES) for machine in machines)
    exact = log_p - logsumexp(log_p)
    np.testing.assert_allclose(model.score_samples(STATES), exact, atol=0.15)
    numbers = model.sample(30, random_state=0) @ [4, 2, 1]
    share = np.bincount(numbers.astype(int), minlength=8) / 30
    np.testing.assert_allclose(share, np.exp(exact), atol=0.25)
    without = Negation(*machines, random_state=0).score_samples(STATES)
    assert np.exp(without).sum() == pytest.approx(1, abs=0.15)


def test_tables_of_categories_and_names(few_draws):
    rng = np.random.RandomState(0)
    X = pd.DataFrame(
        {"sky": rng.choice(["sun", "rain"], size=200), "warmth": rng.normal(size=200)}
    )
    parts = [EBMDensityEstimator(**TINY).fit(X)] * 2
    model = ProductOfExperts(parts, [1, 0.5], random_state=0)
    drawn = model.sample(5, random_state=0)
    assert list(drawn.columns) == ["sky", "warmth"] and set(drawn["sky"]) <= {*X["sky"]}
    assert np.isfinite(model.score_samples(drawn)).all()
    # exp of it adds up to one over both categories and a grid of warmth.
    axis = np.linspace(-6, 6, 60)
    mass = sum(
        np.exp(model.score_samples(pd.DataFrame({"sky": sky, "warmth": axis}))).sum()
        for sky in ("sun", "rain")
    )
    assert mass * (axis[1] - axis[0]) == pytest.approx(1, abs=0.15)
    with pytest.raises(ValueError, match="normalizer='ais' anneals columns of numbers"):
        ProductOfExperts(parts, normalizer="ais")


def test_names_and_whole_numbers_come_back():
    names = ["age", "visits"]

    class Counts(Gaussian):
        def sample(self, n_samples=1, random_state=None):
            X = super().sample(n_samples, random_state).round({"visits": 0})
            return X.astype({"visits": int})

    a, b = (Counts([30 + k, 5], [[20, 0], [0, 4]], names) for k in range(2))
    drawn = ProductOfExperts([a, b], random_state=0).sample(10, random_state=1)
    assert list(drawn.columns) == names
    assert drawn["visits"].dtype == int and (drawn["age"] % 1 != 0).any()


def test_a_classifiers_density_is_a_part():
    X = np.random.RandomState(0).normal(size=(60, 2))
    y = (X[:, 0] > 0).astype(int)
    options = {"stacking": False, "max_iter": 1, "random_state": 0}
    model = JEMClassifier(normalizer="importance", **options).fit(X, y)
    mixture = MixtureOfExperts([model, EBMDensityEstimator(**TINY).fit(X)])
    assert mixture.sample(5, random_state=0).shape == (5, 2)


# ----------------------------------------------------------------------- bad input


def fitted(X=None, **options):
    X = np.random.RandomState(0).normal(size=(30, 2)) if X is None else X
    return EBMDensityEstimator(**TINY, **options).fit(X)


def test_parts_that_do_not_go_together_are_named(machines):
    one, X = fitted(), np.random.RandomState(0).normal(size=(30, 2))
    with pytest.raises(NotFittedError, match=r"estimators\[1\].*not fitted"):
        ProductOfExperts([one, EBMDensityEstimator()])
    with pytest.raises(ValueError, match="numbers of columns are 2 and 3"):
        MixtureOfExperts([one, fitted(np.random.RandomState(0).normal(size=(30, 3)))])
    named = [fitted(pd.DataFrame(X, columns=list(names))) for names in ("ab", "ac")]
    with pytest.raises(ValueError, match=r"names of columns.*'b'.*'c'"):
        Negation(*named)
    with pytest.raises(ValueError, match=r"names of columns are None and \['a', 'b'\]"):
        ProductOfExperts([one, named[0]])
    with pytest.raises(ValueError, match="scores are densities and probabilities"):
        real = GaussianRBM(2, n_iter=1, random_state=0).fit(np.eye(3)[[0, 1, 2] * 9])
        ProductOfExperts([real, machines[0]])
    with pytest.raises(ValueError, match="has normalizer=None"):
        ProductOfExperts([one, fitted(normalizer=None)])
    with pytest.raises(TypeError, match=r"estimators\[0\] must be a fitted density"):
        MixtureOfExperts(["rbm"])
    with pytest.raises(TypeError, match="must take n_samples and random_state"):
        MixtureOfExperts([GaussianMixture(random_state=0).fit(X)])


@pytest.mark.parametrize("weights", [[1], [1, 0], [1, np.nan], "ab", 2, [-1, -1]])
def test_wrong_weights_are_refused(weights):
    for kind in (ProductOfExperts, MixtureOfExperts):
        with pytest.raises(ValueError, match="'weights' parameter must be"):
            kind(pair(2), weights)


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match="'weights' parameter must be"):
        MixtureOfExperts(pair(2), [2, -1])
    with pytest.raises(ValueError, match="'weight' parameter must be a number above 0"):
        Negation(*pair(2), weight=0)
    with pytest.raises(ValueError, match="'estimators' parameter"):
        ProductOfExperts([])
    with pytest.raises(ValueError, match="'estimators' parameter"):
        ProductOfExperts(fitted())
    with pytest.raises(ValueError, match="'normalizer' parameter"):
        ProductOfExperts(pair(2), normalizer="exact")


def test_without_log_z_and_with_a_normalizer_of_choice():
    parts = pair(2)
    X = parts[0].sample(10, 0)
    model = ProductOfExperts(parts, normalizer=None)
    np.testing.assert_array_equal(model.score_samples(X), -model.energy(X))
    assert model.log_normalizer_ is None and model.log_normalizer_se_ is None
    with pytest.warns(NormalizerWarning, match="leaves out log Z"):
        model.score(X)
    chosen = ProductOfExperts(parts, normalizer=ImportanceSampling(500), random_state=0)
    assert chosen.normalizer_result_.n_samples == 500


def test_parts_that_have_nothing_in_common_are_warned_of(few_draws):
    far = [
        BernoulliRBM(1, n_iter=30, random_state=0).fit(np.tile(row, (300, 1)))
        for row in (np.zeros(12), np.ones(12))
    ]
    model = ProductOfExperts(far, weights=[5, 5], random_state=0)
    with pytest.warns(TrainingWarning, match="too little in common"):
        model.sample(3, random_state=0)


def test_parts_without_a_common_row_are_refused():
    X = np.random.RandomState(0).normal(size=(30, 2))
    boxes = [
        EBMDensityEstimator(reference=None, max_iter=1, random_state=0).fit(rows)
        for rows in (X, X + 50)
    ]
    model = ProductOfExperts(boxes, random_state=0)
    assert np.isneginf(-model.energy(X)).all()
    for ask in (model.sample, lambda: model.score_samples(X)):
        with pytest.raises(ValueError, match="have nothing in common: of 4000 rows"):
            ask()


class Box(Gaussian):
    """Uniform on (-1, 1)."""

    def score_samples(self, X):
        inside = (np.abs(np.asarray(X)) < 1).all(axis=1)
        return np.where(inside, -np.log(2), -np.inf)


def test_a_quotient_that_is_infinite_is_told():
    parts = [Gaussian([0.0], [[4.0]]), Box([0.0], [[0.1]])]
    quotient = ProductOfExperts(parts, weights=[1, -1])
    with pytest.raises(ValueError, match="one of negative weight has no density"):
        quotient.score_samples(np.zeros((2, 1)))
