"""Accuracy under attack, against closed forms."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.tree import DecisionTreeClassifier

from skebm import JEMClassifier
from skebm.evaluation import adversarial_accuracy
from skebm.exceptions import DataWarning
from skebm.networks import MLP

#: Options of a classifier that is fitted in no time.
SMALL = {
    "objective": None,
    "network": partial(MLP, hidden_features=(16,)),
    "reference": "gaussian",
    "normalizer": None,
    "stacking": False,
    "graph_weight": 0,
    "vat_weight": 0,
    "learning_rate": 0.02,
    "random_state": 0,
}
RADII = [0.0, 0.05, 0.2, 0.5, 1.0]
DUAL = {"inf": 1, "2": 2}


class Linear:
    """Classes by the largest of w_k x + b_k, whose margins are known."""

    def __init__(self, n_features, n_classes, seed=0, gain=1.0):
        rng = np.random.RandomState(seed)
        self.weight = gain * rng.normal(size=(n_classes, n_features))
        self.shift = gain * rng.normal(size=n_classes)
        self.classes_ = np.arange(n_classes)

    def predict(self, X):
        return self.scores(X).argmax(axis=1)

    def predict_proba(self, X):
        scores = np.exp(self.scores(X) - self.scores(X).max(axis=1, keepdims=True))
        return scores / scores.sum(axis=1, keepdims=True)

    def scores(self, X):
        return np.asarray(X) @ self.weight.T + self.shift

    def logits(self, x):
        return x @ torch.from_numpy(self.weight.T) + torch.from_numpy(self.shift)

    def distances(self, X, y, norm, unit=1.0):
        """Return how far each row is from another class, 0 where it is wrong."""
        scores, nearest = self.scores(X), np.full(len(X), np.inf)
        for k in self.classes_:
            slope = np.linalg.norm(
                unit * (self.weight[k] - self.weight[y]), DUAL[norm], axis=1
            )
            margin = scores[np.arange(len(X)), y] - scores[:, k]
            with np.errstate(divide="ignore", invalid="ignore"):
                own = np.where(y == k, np.inf, margin / slope)
            nearest = np.minimum(nearest, own)
        return np.maximum(nearest, 0)


def rows(n=120, d=4, seed=0):
    return np.random.RandomState(seed).normal(size=(n, d))


@pytest.mark.parametrize("norm", ["inf", "2"])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_gradients_find_the_exact_accuracy_of_a_linear_classifier(norm, n_classes):
    X, model = rows(), Linear(4, n_classes)
    y = np.where(np.arange(len(X)) % 10, model.predict(X), 0)
    exact = model.distances(X, y, norm)
    found = adversarial_accuracy(
        model, X, y, radius=RADII, norm=norm, logits=model.logits, n_queries=0
    )
    np.testing.assert_array_equal(
        found.accuracy, [(exact > radius).mean() for radius in RADII]
    )
    fell = np.isfinite(found.distance)
    assert (found.distance[fell] >= exact[fell] - 1e-9).all()
    assert (model.predict(found.adversarial[fell]) != y[fell]).all()
    np.testing.assert_array_equal(found.adversarial[~fell], X[~fell])


@pytest.mark.parametrize("norm", ["inf", "2"])
def test_the_least_radius_is_found_within_a_thousandth(norm):
    X, model = rows(6), Linear(4, 3)
    y = model.predict(X)
    exact = np.sort(model.distances(X, y, norm))
    radius = np.concatenate([exact - 1e-3, exact + 1e-3])
    found = adversarial_accuracy(
        model,
        X,
        y,
        radius=radius,
        norm=norm,
        logits=model.logits,
        n_queries=0,
        n_steps=20,
    )
    np.testing.assert_array_equal(
        found.accuracy, (exact > radius[:, None]).mean(axis=1)
    )


@pytest.mark.parametrize("norm", ["inf", "2"])
def test_units_stretch_the_ball_and_a_unit_of_zero_holds_its_column(norm):
    X, model, unit = rows(60), Linear(4, 3), np.array([0.1, 1.0, 5.0, 0.0])
    y = model.predict(X)
    exact = model.distances(X, y, norm, unit)
    found = adversarial_accuracy(
        model,
        X,
        y,
        radius=RADII,
        norm=norm,
        unit=unit,
        logits=model.logits,
        n_queries=0,
    )
    np.testing.assert_array_equal(
        found.accuracy, [(exact > radius).mean() for radius in RADII]
    )
    moves = found.adversarial - X
    assert (moves[:, 3] == 0).all() and moves.any()
    length = np.linalg.norm(moves[:, :3] / unit[:3], {"inf": np.inf, "2": 2}[norm], 1)
    fell = np.isfinite(found.distance)
    np.testing.assert_allclose(length[fell], found.distance[fell], atol=1e-9)


def test_standard_deviations_as_units_are_those_of_standardised_columns():
    X = rows(60) * [1.0, 10.0, 0.1, 100.0]
    y = (X[:, 1] > 0).astype(int)
    raw = LogisticRegression(C=1e6).fit(X, y)
    scale = X.std(axis=0)
    scaled = LogisticRegression(C=1e6).fit(X / scale, y)
    scaled.coef_, scaled.intercept_ = raw.coef_ * scale, raw.intercept_
    for norm in DUAL:
        options = {"norm": norm, "radius": RADII, "n_queries": 10, "random_state": 0}
        by_unit = adversarial_accuracy(raw, X, y, unit="std", **options)
        by_hand = adversarial_accuracy(scaled, X / scale, y, **options)
        np.testing.assert_array_equal(by_unit.accuracy, by_hand.accuracy)


def test_moves_stay_within_the_bounds():
    """A linear classifier in a box: the best move is to a corner of ball and box."""
    model = Linear(3, 2)
    X = np.random.RandomState(1).uniform(size=(80, 3))
    y = model.predict(X)
    slope = model.weight[1] - model.weight[0]
    worst = {}
    for radius in (0.1, 0.4):
        side = np.where(y == 1, -1, 1)[:, None] * np.sign(slope)
        corner = np.clip(X + radius * side, 0, 1)
        worst[radius] = (model.predict(corner) == y).mean()
    found = adversarial_accuracy(
        model, X, y, radius=[0.1, 0.4], bounds=(0, 1), logits=model.logits
    )
    np.testing.assert_array_equal(found.accuracy, list(worst.values()))
    assert found.adversarial.min() >= 0 and found.adversarial.max() <= 1
    by_data = adversarial_accuracy(model, X, y, radius=9.0, bounds="data")
    assert (by_data.adversarial.min(axis=0) >= X.min(axis=0)).all()


@pytest.mark.parametrize("norm", ["inf", "2"])
def test_without_gradients_a_threshold_of_one_column_is_found(norm):
    X = np.linspace(-1, 1, 41)[:, None] + 0.001
    y = (X[:, 0] > 0).astype(int)
    tree = DecisionTreeClassifier(random_state=0).fit(X, y)
    threshold = tree.tree_.threshold[0]
    radii = [0.1, 0.25, 0.5]
    found = adversarial_accuracy(
        tree, X, y, radius=radii, norm=norm, n_queries=20, random_state=0
    )
    exact = [(np.abs(X[:, 0] - threshold) > radius).mean() for radius in radii]
    np.testing.assert_array_equal(found.accuracy, exact)
    assert set(found.found_by) == {"", "search"}


def test_a_forest_falls_and_its_rows_stay_numbers_of_a_frame():
    X = pd.DataFrame(rows(60), columns=list("abcd"))
    y = np.where(X["a"] + X["b"] > 0, "yes", "no")
    forest = RandomForestClassifier(3, random_state=0).fit(X, y)
    found = adversarial_accuracy(
        forest, X, y, radius=[0.0, 0.3, 1.0], n_queries=5, random_state=0
    )
    assert found.accuracy[0] > found.accuracy[1] > found.accuracy[2]
    again = adversarial_accuracy(
        forest, X, y, radius=[0.0, 0.3, 1.0], n_queries=5, random_state=0
    )
    np.testing.assert_array_equal(found.adversarial, again.adversarial)


def test_the_search_finds_rows_that_vanishing_gradients_hide():
    """Probabilities of 1 and logits cut at a bound: no ascent can start."""
    X, model = rows(50), Linear(4, 2)
    y, exact = model.predict(X), model.distances(X, model.predict(X), "inf")

    def masked(x):
        logits = model.logits(x)
        return (logits - logits.mean(dim=1, keepdim=True)).sign()

    options = {"radius": RADII, "logits": masked, "n_steps": 10, "random_state": 0}
    gradients = adversarial_accuracy(model, X, y, n_queries=0, **options)
    both = adversarial_accuracy(model, X, y, n_queries=60, **options)
    robust = np.array([(exact > radius).mean() for radius in RADII])
    assert (gradients.accuracy[2:] > robust[2:] + 0.05).all()
    np.testing.assert_allclose(both.accuracy, robust, atol=0.05)
    assert (both.found_by == "search").sum() > 10


def test_margins_find_rows_of_a_confident_classifier():
    """Its cross-entropy is exactly 0, and has no gradient."""
    X, model = rows(80), Linear(4, 3, gain=1e5)
    y, exact = model.predict(X), model.distances(X, model.predict(X), "2")
    options = {"radius": 0.5, "norm": "2", "logits": model.logits, "n_queries": 0}
    assert adversarial_accuracy(model, X, y, **options).accuracy == (exact > 0.5).mean()
    blind = adversarial_accuracy(model, X, y, n_targets=0, **options)
    assert blind.accuracy > (exact > 0.5).mean()


def test_a_row_that_falls_has_fallen_at_each_larger_radius_in_any_order():
    X, model = rows(60), Linear(4, 3)
    y = model.predict(X)
    radii = [0.5, 0.0, 1.0, 0.2]
    found = adversarial_accuracy(model, X, y, radius=radii, random_state=0)
    order = np.argsort(radii)
    assert (np.diff(found.accuracy[order]) <= 0).all()
    assert found.accuracy[1] == 1.0
    one = adversarial_accuracy(model, X, y, radius=0.5, random_state=0)
    assert isinstance(one.accuracy, float) and isinstance(one.radius, float)


class Spot:
    """Class 1 within 0.01 of a point, class 0 elsewhere."""

    def __init__(self, *centre):
        self.centre, self.classes_ = np.array(centre), np.array([0, 1])

    def predict(self, X):
        return (np.abs(X - self.centre).max(axis=1) < 0.01).astype(int)


def test_rows_of_a_large_sorted_table_are_moved_towards_the_rare_class():
    model = Spot(0.321, -0.123)
    X = np.r_[np.random.RandomState(0).uniform(1, 2, size=(20_000, 2)), [model.centre]]
    y = model.predict(X)
    found = adversarial_accuracy(model, X, y, radius=3.0, n_queries=1, random_state=0)
    assert y.sum() == 1 and (found.found_by[:-1] == "search").all()


def test_rows_are_not_moved_towards_rows_of_their_own_class():
    """The spot is where the move towards the other row ends."""
    X, model = np.array([[0.0, 0.0], [2.0, 0.6]]), Spot(1.0, 0.6)
    found = adversarial_accuracy(
        model, X, [0, 0], radius=1.0, n_queries=1, random_state=0
    )
    assert found.accuracy == 1.0


def test_the_search_asks_predict_where_it_is_not_the_largest_score():
    fitted = LogisticRegression().fit([[-1.0], [0.0], [0.2], [1.0]], [0, 1, 0, 1])
    model = FixedThresholdClassifier(fitted, threshold=0.1).fit([[-1.0], [1.0]], [0, 1])
    model.estimator_ = fitted
    edge = -(np.log(9) + fitted.intercept_[0]) / fitted.coef_[0, 0]
    middle = -fitted.intercept_[0] / fitted.coef_[0, 0]
    X = np.linspace(edge - 1.0, edge - 0.1, 10)[:, None]
    radius = 0.55
    assert X.max() + radius < middle
    found = adversarial_accuracy(
        model, X, np.zeros(10, int), radius=radius, n_queries=20, random_state=0
    )
    assert found.accuracy == (edge - X[:, 0] > radius).mean() == 0.5


class Threshold:
    """Class 1 from 0 on, to rounding, where its two logits are equal."""

    classes_ = np.array([0, 1])

    def predict(self, X):
        return (X[:, 0] >= -1e-8).astype(int)

    def logits(self, x):
        return torch.cat([-x, x], dim=1)


@pytest.mark.parametrize("middle", [0.0, -1e-9])
def test_rows_between_two_classes_do_not_say_that_logits_are_wrong(middle):
    X, model = np.linspace(-1, 1, 51)[:, None], Threshold()
    X[25] = middle
    y, options = model.predict(X), {"radius": 0.1, "n_steps": 2, "n_queries": 0}
    found = adversarial_accuracy(model, X, y, logits=model.logits, **options)
    assert found.accuracy < 1
    with pytest.raises(ValueError, match=r"other classes for 2\.0% of rows"):
        adversarial_accuracy(
            model, X, y, logits=lambda x: model.logits(x - 0.03), **options
        )


def test_logits_are_asked_for_one_batch_at_a_time():
    X, model, sizes = rows(10), Linear(4, 2), []

    def logits(x):
        sizes.append(len(x))
        return model.logits(x)

    adversarial_accuracy(
        model, X, model.predict(X), radius=0.1, logits=logits, batch_size=4
    )
    assert sizes[:3] == [4, 4, 2] and max(sizes) == 4


# ------------------------------------------------------------------- our classifier


@pytest.fixture(scope="module")
def classifier():
    rng = np.random.RandomState(0)
    y = np.arange(90) % 3
    X = rng.normal(size=(90, 3)) + 2 * np.eye(3)[y]
    X = np.c_[10 * X + 100, np.full(90, 7.0)]
    return JEMClassifier(max_iter=60, **SMALL).fit(X, y), X, y


def test_logits_of_a_tensor_are_those_of_the_probabilities(classifier):
    model, X, _ = classifier
    probability = model.torch_logits(torch.from_numpy(X)).softmax(dim=1)
    np.testing.assert_allclose(
        probability.detach().numpy(), model.predict_proba(X), atol=1e-5
    )


def test_logits_of_a_tensor_have_the_derivatives_of_differences(classifier):
    model, X, _ = classifier
    x = torch.from_numpy(X[:5]).requires_grad_()
    (slope,) = torch.autograd.grad(model.torch_logits(x)[:, 0].sum(), x)
    for j in range(3):
        step = np.zeros(4)
        step[j] = 0.5
        ahead, behind = (
            model.torch_logits(torch.from_numpy(X[:5] + sign * step))[:, 0]
            for sign in (1, -1)
        )
        difference = (ahead - behind).detach().numpy()
        np.testing.assert_allclose(slope[:, j], difference, atol=2e-3, rtol=0.02)


def test_our_classifier_falls_by_gradients(classifier):
    model, X, y = classifier
    found = adversarial_accuracy(
        model, X, y, radius=[0.0, 0.3, 1.5], unit="std", n_steps=20, n_queries=0
    )
    assert found.accuracy[0] == pytest.approx(model.score(X, y))
    assert found.accuracy[0] > found.accuracy[1] > found.accuracy[2]
    fell = np.isfinite(found.distance)
    assert (model.predict(found.adversarial[fell]) != y[fell]).all()
    assert (found.adversarial[:, 3] == 7.0).all()


def test_the_derivative_of_a_bent_column_is_that_of_its_map():
    X = rows(200, 2)
    X[:3, 0] = 1e4, -3e4, 2e4
    y = (X[:, 1] > 0).astype(int)
    with pytest.warns(DataWarning, match="far beyond all others in column 0"):
        model = JEMClassifier(max_iter=5, **SMALL).fit(X, y)
    x = torch.from_numpy(X[:3].copy()).requires_grad_()
    (slope,) = torch.autograd.grad(model.torch_logits(x)[:, 0].sum(), x)
    step = np.array([50.0, 0.0])
    ahead, behind = (
        model.torch_logits(torch.from_numpy(X[:3] + sign * step))[:, 0].detach()
        for sign in (1, -1)
    )
    np.testing.assert_allclose(100 * slope[:, 0], ahead - behind, rtol=0.05, atol=1e-6)
    assert slope[:, 0].abs().max() > 0


# --------------------------------------------------------------------------- errors


def test_categories_are_refused(classifier):
    X = pd.DataFrame({"size": [1.0, 2.0, 3.0, 4.0], "colour": list("abab")})
    with pytest.raises(ValueError, match=r"column 'colour'.*moves numbers"):
        adversarial_accuracy(Linear(2, 2), X, [0, 1, 0, 1], radius=0.1)
    y = np.arange(40) % 2
    table = np.c_[rows(40, 1), y]
    model = JEMClassifier(max_iter=1, categorical_features=[1], **SMALL).fit(table, y)
    with pytest.raises(ValueError, match="column 1 of categories"):
        adversarial_accuracy(model, table, y, radius=0.1)
    with pytest.raises(TypeError, match="must be a torch tensor"):
        model.torch_logits(table)
    with pytest.raises(ValueError, match=r"shape \(n_samples, 2\)"):
        model.torch_logits(torch.zeros(3, 5))


@pytest.mark.parametrize("entry", [np.nan, np.inf])
def test_logits_of_rows_that_are_not_finite_are_refused(classifier, entry):
    model, X, _ = classifier
    x = torch.from_numpy(X[:5].copy())
    x[3, 2] = x[4, 0] = entry
    with pytest.raises(ValueError, match="NaN or infinity in columns 0 and 2"):
        model.torch_logits(x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm": "1"}, "'norm' parameter must be 'inf' or '2'"),
        ({"radius": -0.1}, "'radius' parameter must be a number of at least 0"),
        ({"radius": [[0.1]]}, "'radius' parameter"),
        ({"radius": []}, "'radius' parameter"),
        ({"radius": "wide"}, "'radius' parameter"),
        ({"unit": "iqr"}, "'unit' parameter must be 'std'"),
        ({"unit": [1.0, 2.0]}, "each of the 4 columns"),
        ({"unit": -1.0}, "'unit' parameter"),
        ({"bounds": "rows"}, "'bounds' parameter must be None, 'data'"),
        ({"bounds": (0, 0.1)}, "within the 'bounds' parameter"),
        ({"n_steps": -1}, "'n_steps' parameter must be an integer"),
        ({"n_restarts": 0}, "'n_restarts' parameter must be an integer"),
        ({"batch_size": 0.5}, "'batch_size' parameter must be an integer"),
        ({"logits": lambda x: x[:, :1]}, "must return 2 logits"),
        ({"logits": lambda x: -Linear(4, 2).logits(x)}, "that predict tells"),
    ],
)
def test_wrong_options_are_named(options, message):
    X, model = rows(10), Linear(4, 2)
    y = model.predict(X)
    with pytest.raises(ValueError, match=message):
        adversarial_accuracy(model, X, y, **({"radius": 0.1} | options))


def test_wrong_tables_and_labels_are_named():
    X, model = rows(10), Linear(4, 2)
    y = model.predict(X)
    holed = X.copy()
    holed[3, 2] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity in column 2"):
        adversarial_accuracy(model, holed, y, radius=0.1)
    with pytest.raises(ValueError, match=r"labels of \[0, 1\]. Got -1; leave rows"):
        adversarial_accuracy(model, X, np.where(y == 0, -1, y), radius=0.1)
    with pytest.raises(ValueError, match="at least one row"):
        adversarial_accuracy(model, X[:0], y[:0], radius=0.1)
    with pytest.raises(ValueError, match="one label for each of the 10 rows"):
        adversarial_accuracy(model, X, y[:5], radius=0.1)


def test_norms_may_be_numbers_and_a_report_fits_a_line():
    X, y = np.array([[-2.0], [-1.0], [1.0], [2.0]]), [0, 0, 1, 1]
    model = LogisticRegression().fit(X, y)
    for number, name in ((2, "2"), (np.inf, "inf")):
        report = adversarial_accuracy(
            model, X, y, radius=1.5, norm=number, random_state=0
        )
        assert report.norm == name
        assert repr(report).startswith(
            f"AdversarialReport(radius=1.5, accuracy=0.5, norm={name!r}, found_by={{"
        )
    with pytest.raises(ValueError, match="'norm' parameter must be"):
        adversarial_accuracy(model, X, y, radius=1.0, norm=1)


def test_what_is_no_fitted_classifier_is_refused():
    X, y = np.ones((2, 1)), [0, 1]
    with pytest.raises(NotFittedError):
        adversarial_accuracy(LogisticRegression(), X, y, radius=1.0)
    with pytest.raises(ValueError, match="must be a fitted classifier"):
        adversarial_accuracy(LinearRegression().fit(X, y), X, y, radius=1.0)
