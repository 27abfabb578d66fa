"""The classifier: p(y | x), p(x) and both together."""

from functools import partial

import numpy as np
import pytest
from scipy.special import log_softmax, logsumexp, softmax
from sklearn.datasets import load_digits, make_moons
from sklearn.linear_model import LogisticRegression

from skebm import JEMClassifier
from skebm.evaluation import ImportanceSampling
from skebm.models import labeled_split
from skebm.networks import MLP, EnsembleMLP
from skebm.objectives import VERA

NETWORKS = {
    "mlp": partial(MLP, hidden_features=(32,)),
    "ensemble": partial(EnsembleMLP, hidden_features=(32,)),
}
DEEP = partial(EnsembleMLP, hidden_features=(64, 64))


def make(objective="vera", network="mlp", **options):
    defaults = {
        "reference": "gaussian",
        "normalizer": "importance",
        "max_iter": 100,
        "learning_rate": 1e-2,
        "random_state": 0,
    }
    network = NETWORKS.get(network, network)
    return JEMClassifier(objective, network, **(defaults | options))


def overlapping(n_rows=400, random_state=0):
    """Three classes of unlike shares that overlap, in two columns."""
    rng = np.random.RandomState(random_state)
    y = rng.choice(3, size=n_rows, p=[0.5, 0.3, 0.2])
    centers = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0]])
    return centers[y] + rng.normal(size=(n_rows, 2)), y


@pytest.fixture(scope="module", params=list(NETWORKS))
def trained(request):
    X, y = overlapping()
    words = np.array(["ant", "bee", "cat"])[y]
    words[300:] = "-1"
    normalizer = ImportanceSampling(100_000)
    return make(network=request.param, normalizer=normalizer).fit(X, words)


@pytest.fixture(scope="module")
def plain():
    """p(y | x) alone, of two classes."""
    X, y = overlapping()
    return make(None, normalizer=None).fit(X, np.where(y == 0, 5, 7))


def grid(n=200):
    edges = np.linspace(-6, 9, n, endpoint=False)
    step = edges[1] - edges[0]
    points = np.stack(np.meshgrid(edges, edges, indexing="ij"), axis=-1)
    return points.reshape(-1, 2) + step / 2, step**2


# ------------------------------------------------------------------ probabilities


def test_probabilities_are_the_softmax_of_the_logits(trained):
    X, _ = overlapping(1500, 1)
    logits = trained.decision_function(X) / trained.temperature_
    assert logits.shape == (1500, 3)
    probability = trained.predict_proba(X)
    np.testing.assert_allclose(probability, softmax(logits, axis=1), atol=1e-12)
    np.testing.assert_allclose(probability.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(
        trained.predict_log_proba(X), log_softmax(logits, axis=1), atol=1e-12
    )
    np.testing.assert_array_equal(
        trained.predict(X), trained.classes_[probability.argmax(axis=1)]
    )


def test_the_energy_is_minus_the_logsumexp_of_the_logits(trained):
    """E = -logsumexp_y g_y(x) / lambda, with lambda = 1."""
    X, _ = overlapping(50, 1)
    expected = -logsumexp(trained.decision_function(X), axis=1)
    np.testing.assert_allclose(trained.energy(X), expected, atol=1e-4)


def test_the_energy_is_divided_by_the_entropy_weight():
    X, y = overlapping(100)
    model = make(VERA(entropy_weight=0.25), max_iter=5).fit(X, y)
    expected = -4 * logsumexp(model.decision_function(X), axis=1)
    np.testing.assert_allclose(model.energy(X), expected, atol=1e-4)


def test_the_decision_of_two_classes_is_one_column(plain):
    X, y = overlapping(200, 1)
    decision = plain.decision_function(X)
    assert decision.shape == (200,)
    probability = plain.predict_proba(X)
    assert probability.shape == (200, 2)
    expected = 1 / (1 + np.exp(-decision / plain.temperature_))
    np.testing.assert_allclose(probability[:, 1], expected)
    np.testing.assert_array_equal(plain.predict(X), np.where(decision > 0, 7, 5))
    assert plain.score(X, np.where(y == 0, 5, 7)) > 0.85


def test_without_an_objective_no_generator_is_trained(plain):
    assert "generator_loss" not in plain.history_
    assert plain.objective_ is None
    assert plain.history_["cross_entropy"][-1] < plain.history_["cross_entropy"][0]


def test_probabilities_are_those_of_logistic_regression():
    """Classes of equal covariance: the truth is linear, both have to find it."""
    X, y = overlapping(1500)
    fresh, _ = overlapping(500, 1)
    model = make(
        None,
        normalizer=None,
        prediction_entropy_weight=0,
        vat_weight=0,
        balance_weight=0,
        max_iter=40,
    ).fit(X, y)
    linear = LogisticRegression().fit(X, y)
    difference = model.predict_proba(fresh) - linear.predict_proba(fresh)
    assert np.abs(difference).mean() < 0.03


def test_class_weights_move_the_border(blobs):
    X, y = overlapping(400)
    pair = y < 2
    X, y = X[pair], y[pair]
    options = {
        "normalizer": None,
        "prediction_entropy_weight": 0,
        "vat_weight": 0,
        "balance_weight": 0,
        "max_iter": 60,
    }

    def share(**more):
        return (make(None, **options, **more).fit(X, y).predict(X) == 1).mean()

    plain = share()
    assert share(class_weight={1: 20.0}) > plain + 0.05
    assert share(class_weight={0: 20.0}) < plain - 0.05
    counts = np.bincount(y)
    balanced = {k: len(y) / (2 * counts[k]) for k in (0, 1)}
    assert share(class_weight="balanced") == share(class_weight=balanced)


def test_class_weights_are_by_the_users_labels():
    X, y = overlapping(60)
    names = np.array(["ant", "bee", "cat"])[y]
    model = make(None, normalizer=None, max_iter=1, class_weight={"cat": 4})
    assert model.fit(X, names)._fitted.objective.class_weights == (1.0, 1.0, 4.0)
    model.set_params(class_weight={"ant": 2, "dog": 4})
    with pytest.raises(
        ValueError, match=r"'class_weight'.*\['ant', 'bee', 'cat'\].*dog"
    ):
        model.fit(X, names)


def test_sample_weights_move_the_border():
    X, y = overlapping(400)
    pair = y < 2
    X, y = X[pair], y[pair]
    options = {"normalizer": None, "prediction_entropy_weight": 0, "vat_weight": 0}
    model = make(None, balance_weight=0, **options)
    plain = (model.fit(X, y).predict(X) == 1).mean()
    weighted = model.fit(X, y, sample_weight=np.where(y == 1, 20.0, 1.0))
    assert (weighted.predict(X) == 1).mean() > plain + 0.05


# ------------------------------------------------------------------ density, samples


def test_the_density_integrates_to_one(trained):
    points, area = grid()
    mass = np.exp(trained.score_samples(points)).sum() * area
    assert mass == pytest.approx(1, abs=0.005 + 4 * trained.log_normalizer_se_)


def assert_moments(drawn, points, mass, limit=6):
    for function in (
        lambda x: x[:, 0],
        lambda x: x[:, 1],
        lambda x: x[:, 0] ** 2,
        lambda x: x[:, 0] * x[:, 1],
        lambda x: (x[:, 0] > 1.5).astype(float),
    ):
        expected = mass @ function(points) / mass.sum()
        error = function(drawn).std() / np.sqrt(len(drawn)) + 1e-3
        assert abs(function(drawn).mean() - expected) < limit * error


@pytest.mark.parametrize("k", [0, 1, 2])
def test_samples_of_a_class_follow_its_density(trained, k):
    """p(x | y) is p(x) p(y | x) up to scale; here on a grid."""
    points, _ = grid()
    probability = trained.predict_proba(points)[:, k]
    mass = np.exp(trained.score_samples(points)) * probability
    name = trained.classes_[k]
    X, y = trained.sample(2000, y=name, random_state=0)
    assert X.shape == (2000, 2) and (y == name).all()
    assert_moments(X, points, mass)
    expected = mass @ (trained.predict(points) == name) / mass.sum()
    share = (trained.predict(X) == name).mean()
    assert share > 0.6
    assert share == pytest.approx(expected, abs=0.05)


def test_samples_without_a_class_follow_the_joint_density(trained):
    points, _ = grid()
    mass = np.exp(trained.score_samples(points))
    X, y = trained.sample(3000, random_state=0)
    assert_moments(X, points, mass)
    probability = trained.predict_proba(points)
    for k, name in enumerate(trained.classes_):
        expected = mass @ probability[:, k] / mass.sum()
        assert (y == name).mean() == pytest.approx(expected, abs=0.05)
        assert_moments(X[y == name], points, mass * probability[:, k])


def test_samples_of_several_classes_come_in_the_order_asked_for(trained):
    asked = ["cat", "ant", "cat", "bee"] * 100
    X, y = trained.sample(400, y=asked, random_state=0)
    assert y.tolist() == asked
    points, _ = grid()
    density = np.exp(trained.score_samples(points))
    probability = trained.predict_proba(points)
    for k, name in enumerate(trained.classes_):
        assert_moments(X[y == name], points, density * probability[:, k])
    again, _ = trained.sample(400, y=asked, random_state=0)
    np.testing.assert_array_equal(X, again)


def test_unlabelled_rows_teach_the_density():
    """A cluster without any label is as likely as one with labels."""
    rng = np.random.RandomState(0)
    X = rng.normal(size=(300, 2)) + np.repeat([[-9, 0], [0, 9], [9, 0]], 100, axis=0)
    y = np.repeat([0, 1, -1], 100)
    model = make(reference="gaussian", max_iter=10).fit(X, y)
    means = model.score_samples(X).reshape(3, 100).mean(axis=1)
    assert np.ptp(means) < 0.5
    assert model.predict_proba([[9.0, 0.0]]).shape == (1, 2)


# ------------------------------------------------------------------ semi-supervised


@pytest.mark.parametrize(
    ("n_labels", "least", "gain"),
    [pytest.param(2, 0.8, -0.02, marks=pytest.mark.slow), (8, 0.94, 0.02)],
)
def test_unlabelled_rows_help_on_two_moons(n_labels, least, gain):
    """The median of three draws of the labels; two a class only must not hurt."""
    X, y = make_moons(300, noise=0.1, random_state=0)
    semi, supervised = [], []
    for seed in range(3):
        rng = np.random.RandomState(seed)
        known = [rng.choice(np.flatnonzero(y == k), n_labels) for k in (0, 1)]
        known = np.concatenate(known)
        y_few = np.full(len(y), -1)
        y_few[known] = y[known]
        model = make(None, DEEP, normalizer=None, learning_rate=4e-3, max_iter=100)
        semi.append(model.fit(X, y_few).score(X, y))
        model.set_params(
            vat_weight=0, prediction_entropy_weight=0, balance_weight=0, max_iter=50
        )
        supervised.append(model.fit(X[known], y[known]).score(X, y))
    assert np.median(semi) > least
    assert np.median(semi) > np.median(supervised) + gain


def test_equal_labels_of_uneven_classes():
    """Seven rows in a hundred are positive; the labels hold as many of each."""
    rng = np.random.RandomState(0)
    y = (rng.uniform(size=600) < 0.07).astype(int)
    X = rng.normal(size=(600, 4))
    X[:, 0] += 3 * y
    few = np.full(600, -1)
    for k in (0, 1):
        few[rng.choice(np.flatnonzero(y == k), 10, replace=False)] = k
    hidden = few < 0
    options = {"max_iter": 50, "batch_size": 120, "normalizer": None}
    model = make(None, DEEP, learning_rate=2e-3, **options).fit(X, few)
    assert model.class_shares_[1] < 0.2
    assert (model.predict(X[hidden]) == 1).mean() < 0.12
    assert model.score(X[hidden], y[hidden]) > 0.94


def test_transduction_holds_labels_and_predictions():
    X, y = overlapping(120)
    words = np.array(["ant", "bee", "cat"])[y]
    few = np.where(np.arange(120) < 60, words, "-1")
    few[0] = "cat" if y[0] == 0 else "ant"  # a label that the model won't repeat
    model = make(None, normalizer=None, max_iter=20).fit(X, few)
    assert (model.transduction_[:60] == few[:60]).all()
    assert (model.transduction_[60:] == model.predict(X[60:])).all()


def test_unlabelled_rows_are_heard_where_they_predict_labels():
    X, y = make_moons(300, noise=0.1, random_state=0)
    few = np.where(np.arange(300) < 20, y, -1)
    options = {"normalizer": None, "max_iter": 1}
    weights = make(None, **options).fit(X, few).role_weights_
    # Simple learners may solve the task alone: then the supervised role has the weight.
    assert sum(weights.values()) == pytest.approx(1)
    weights = make(None, **options).fit(X, y).role_weights_
    assert weights["graph"] == weights["graph and consistency"] == 0
    options |= {"stacking": False}
    model = make(None, **options).fit(X, few)
    assert model.role_weights_["graph and consistency"] == model.temperature_ == 1


def test_early_stopping_judges_by_labels_where_there_are_enough():
    X, y = overlapping(1500)
    options = {"early_stopping": True, "max_iter": 4, "validation_fraction": 0.1}
    model = make(**options).fit(X, y)
    assert set(model.history_["metric"]) == {"accuracy"}
    few = np.where(np.arange(1500) < 300, y, -1)
    model = make(**options).fit(X, few)
    assert set(model.history_["metric"]) <= {
        "log_likelihood",
        "sliced_score_matching",
    }
    model = make(None, **options | {"normalizer": None}).fit(X, few)
    assert set(model.history_["metric"]) == {"none"}


@pytest.mark.parametrize("n_unlabeled", [0, 10, 90])
def test_early_stopping_judges_by_the_density_where_labels_are_few(n_unlabeled):
    """Any row may be held out, but a label a class stays in training."""
    X, y = overlapping(100)
    y = np.where(np.arange(100) < n_unlabeled, -1, y)
    model = make(early_stopping=True, n_iter_no_change=1, tol=10.0).fit(X, y)
    assert set(model.history_["metric"]) == {"log_likelihood"}
    assert model.n_iter_ == 1
    shares = []
    for seed in range(200):
        split = labeled_split(y, model.validation_fraction, by_labels=False)
        train, held_out = split(100, np.random.RandomState(seed))
        assert len(held_out) == 10
        assert sorted([*train, *held_out]) == list(range(100))
        assert set(y[train]) == set(y)
        shares.append((y[held_out] < 0).mean())
    assert np.mean(shares) == pytest.approx(n_unlabeled / 100, abs=0.02)


@pytest.mark.slow
def test_the_defaults_read_digits_from_ten_labels_a_class():
    X, y = load_digits(return_X_y=True)
    rng = np.random.RandomState(0)
    known = [rng.choice(np.flatnonzero(y == k), 10, replace=False) for k in range(10)]
    y_few = np.full(len(y), -1)
    y_few[np.concatenate(known)] = y[np.concatenate(known)]
    model = JEMClassifier(normalizer=None, random_state=0).fit(X, y_few)
    hidden = y_few < 0
    assert model.score(X[hidden], y[hidden]) >= 0.95


# ------------------------------------------------------------------ partial_fit


def test_partial_fit_learns_from_chunks_that_lack_classes():
    X, y = overlapping(900)
    y = np.where(np.arange(900) % 3 == 0, y, -1)
    model = make(None, normalizer=None, learning_rate=3e-2, stacking=False)
    with pytest.raises(ValueError, match="only one class"):
        model.partial_fit(X[y != 0], np.minimum(y[y != 0], 1))
    model.partial_fit(X[:300], np.where(y[:300] == 2, -1, y[:300]), classes=[0, 1, 2])
    for _ in range(6):
        for start in (0, 300, 600):
            model.partial_fit(X[start : start + 300], y[start : start + 300])
    assert model.classes_.tolist() == [0, 1, 2]
    assert model.score(X, overlapping(900)[1]) > 0.8
    only_one = np.where(y[:300] == 1, 1, -1)
    model.partial_fit(X[:300], only_one)
    with pytest.raises(ValueError, match=r"classes that the first call did not see"):
        model.partial_fit(X, y + 5)
    with pytest.raises(ValueError, match="All 300 rows of y are unlabelled"):
        model.partial_fit(X[:300], np.full(300, -1))


def test_warm_start_keeps_the_classes():
    X, y = overlapping(300)
    model = make(None, normalizer=None, warm_start=True, max_iter=10).fit(X, y)
    before = model.history_["cross_entropy"][0]
    model.fit(X, np.where(y == 2, -1, y))
    assert model.classes_.tolist() == [0, 1, 2]
    assert model.history_["cross_entropy"][0] < before
    with pytest.raises(ValueError, match=r"did not see; expected \[0, 1, 2\]"):
        model.fit(X, y + 1)
