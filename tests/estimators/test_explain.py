"""`explain`: each entry given the others, against closed forms and enumeration."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from skebm import EBMDensityEstimator, JEMClassifier
from skebm.estimators._explained import rarity, sentence

QUICK = {
    "reference": "gaussian",
    "max_iter": 1,
    "normalizer": None,
    "random_state": 0,
    "ood_score": "log_density",
}


def column_of(found, name, like):
    return found[name].to_numpy(float).reshape(like.shape)


@pytest.fixture(scope="module")
def normal():
    """A model that is its reference, a Gaussian; rows, and its mean and precision."""
    rng = np.random.RandomState(0)
    mix = np.array([[1, 0, 0], [0.9, 0.3, 0], [-0.5, 0.5, 0.6]]).T
    X = (rng.normal(size=(400, 3)) @ mix) * [1, 10, 0.1] + [0, 5, 1]
    model = EBMDensityEstimator(**QUICK).fit(X)
    for parameter in model.network_.parameters():
        parameter.data.zero_()
    root = model.reference_.cholesky[0].double().numpy()
    encoder = model._fitted.encoder
    covariance = root @ root.T * np.outer(encoder.scale, encoder.scale)
    mean = encoder.location + encoder.scale * model.reference_.means[0].numpy()
    return model, X[:20], mean, covariance


def test_of_a_gaussian_it_is_the_closed_form(normal):
    model, X, mean, covariance = normal
    # Nothing below zero is expected where no row of fit is.
    lowest = np.where((X > 0).all(axis=0), 0.0, -np.inf)
    X = X.copy()
    X[0, 0] += 5
    found, precision = model.explain(X), np.linalg.inv(covariance)
    deviation = np.diag(precision) ** -0.5
    expected = X - (X - mean) @ precision * deviation**2
    z = (X - expected) / deviation
    log_p = norm.logpdf(z) - np.log(deviation)
    np.testing.assert_allclose(column_of(found, "log_p", X), log_p, atol=1e-3)
    for name, quantile in (("expected", 0), ("lower", -1.6449), ("upper", 1.6449)):
        value = np.maximum(expected + quantile * deviation, lowest)
        error = (column_of(found, name, X) - value) / deviation
        assert np.abs(error).max() < 5e-3, name
    tail = column_of(found, "tail_probability", X)
    np.testing.assert_allclose(tail, 2 * norm.sf(np.abs(z)), rtol=0.05, atol=1e-6)
    assert tail[0].argmin() == 0


def test_missing_entries_are_averaged_over(normal):
    model, X, mean, covariance = normal
    X = X.copy()
    X[:, 2] = np.nan
    found = model.explain(X)
    slope = covariance[0, 1] / covariance[1, 1]
    expected = mean[0] + slope * (X[:, 1] - mean[1])
    deviation = (covariance[0, 0] - slope * covariance[0, 1]) ** 0.5
    error = (column_of(found, "expected", X)[:, 0] - expected) / deviation
    assert np.abs(error).max() < 0.2
    assert found.xs(2, level="column").drop(columns="sentence").isna().all(axis=None)
    assert found.loc[(0, 2), "sentence"] == "column 2: missing"


@pytest.fixture(scope="module")
def mixed():
    rng = np.random.RandomState(0)
    a = rng.randint(3, size=80)
    b = np.where(rng.uniform(size=80) < 0.9, a > 0, a > 1)
    x = b + 0.3 * rng.normal(size=80)
    y = np.where(rng.uniform(size=80) < 0.3, 0, x + rng.normal(size=80))
    X = pd.DataFrame(
        {"a": np.array(["u", "v", "w"])[a], "b": b, "x": x, "y": y, "c": 1.0}
    )
    return EBMDensityEstimator(**QUICK, atoms="auto").fit(X), X


def test_categories_are_enumerated(mixed):
    model, X = mixed
    X = X.iloc[:10].set_axis(list("abcdefghij"))
    X.loc["a", "a"] = "v"
    found = model.explain(X)
    others = [X.assign(a=label) for label in "uvw"]
    scores = np.stack([model.score_samples(rows) for rows in others])
    log_p = scores - np.logaddexp.reduce(scores)
    own = log_p["uvw".index("v"), 0]
    assert found.loc[("a", "a"), "log_p"] == pytest.approx(own)
    likeliest = ["uvw"[k] for k in log_p.argmax(axis=0)]
    assert list(found.xs("a", level=1)["expected"]) == likeliest
    assert list(found.index[:5]) == [("a", name) for name in "abxyc"]
    assert found.loc[("a", "b"), "value"] in (True, False)


def test_atoms_have_a_probability_and_the_rest_a_density(mixed):
    model, X = mixed
    row = X[X["y"] == 0].iloc[:1].reset_index(drop=True)
    grid = np.linspace(-8, 8, 401) + 1e-6
    scores = model.score_samples(pd.concat([row] * len(grid)).assign(y=grid))
    density = np.exp(scores - model.score_samples(row))
    step = grid[1] - grid[0]
    total = 1 + density.sum() * step
    found = model.explain(row).loc[(0, "y")]
    assert found["log_p"] == pytest.approx(-np.log(total), abs=0.12)
    mean = (density * grid).sum() * step / total
    assert found["expected"] == pytest.approx(mean, abs=0.15)


def test_constants_have_one_value(mixed):
    model, X = mixed
    found = model.explain(X.iloc[:2].assign(c=[1.0, 2.0])).xs("c", level=1)
    assert list(found["log_p"]) == [0, -np.inf]
    assert list(found["tail_probability"]) == [1, 0]


def test_p_values_are_those_of_rows_of_fit_or_of_given_ones(normal):
    X = np.random.RandomState(1).normal(size=(40, 2))
    rows = [[50.0, 0.0], [0.0, 0.0]]
    options = QUICK | {"ood_score": "nearest_neighbor"}
    model = EBMDensityEstimator(**options).fit(X)
    found = model.explain(rows)
    assert found.loc[(0, 0), "p_value"] == pytest.approx(1 / 41)
    again = pickle.loads(pickle.dumps(model)).explain(rows)
    pd.testing.assert_frame_equal(again, found)
    given = model.explain(rows, calibration=X[:9])
    assert given.loc[(0, 0), "p_value"] == 1 / 10
    model, X, *_ = normal
    found = model.explain(X[:2])
    assert (found["p_value"] == found["tail_probability"]).all()


def test_a_sentence_takes_the_p_value_where_the_model_is_too_wide():
    tail, p_value = np.array([0.3, 0.3, 1e-7, np.nan]), np.array([0.01, 0.4, 0.004, 1])
    np.testing.assert_array_equal(rarity(tail, p_value), [0.01, 0.3, 1e-7, 1])
    found = sentence(3, 0.5, 0.01, 0.0, -1.0, 1.0, np.nan)
    assert found == "column 3 = 0.5; given the rest -1 to 1: one row in 100"


def test_a_sentence_says_what_is_strange(mixed):
    model, X = mixed
    rows = X.iloc[:1].assign(x=50.0)
    found = model.explain(rows).loc[(0, "x")]
    assert found["sentence"].startswith("x 50; given the rest ")
    assert found["sentence"].endswith(": fewer than one row in a million")


def test_numbers_that_determine_a_category_are_told_by_it():
    rng = np.random.RandomState(0)
    k = rng.randint(4, size=200)
    X = pd.DataFrame({"v": 10.0 * k, "k": np.array(list("abcd"))[k], "x": k * 1.0})
    X["x"] += rng.normal(size=200)
    model = EBMDensityEstimator(**QUICK).fit(X)
    found = model.explain(X.iloc[:5]).xs("v", level=1)
    assert np.abs(found["expected"] - X["v"][:5]).max() < 5


def test_a_classifier_explains_its_rows():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(60, 2))
    options = {"stacking": False, "normalizer": None}
    model = JEMClassifier(max_iter=1, reference="gaussian", random_state=0, **options)
    found = model.fit(X, X[:, 0] > 0).explain([[6.0, 0.0], [0.0, 0.0]])
    assert found["tail_probability"].groupby("row").idxmin()[0] == (0, 0)


def test_outside_the_box_entries_are_impossible_and_the_others_not_known():
    X = np.random.RandomState(0).uniform(size=(60, 2))
    model = EBMDensityEstimator(**QUICK | {"reference": None}).fit(X)
    found = model.explain([[1.5, 0.5]])
    assert found.loc[(0, 0), "log_p"] == -np.inf
    assert found.loc[(0, 0), "tail_probability"] == 0
    numbers = found.loc[(0, 1)].drop(["value", "sentence"])
    assert numbers.isna().all()
    assert found.loc[(0, 1), "sentence"] == "column 1: not known"


def test_a_column_without_any_entry_is_not_compared():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(80, 2))
    options = QUICK | {"ood_score": "nearest_neighbor", "normalizer": "importance"}
    model = EBMDensityEstimator(**options).fit(X)
    found = model.explain([[np.nan, 9.0]])
    assert np.isnan(found["p_value"].iloc[0])
    assert found["p_value"].iloc[1] < 0.1


def test_a_wild_value_says_nothing_of_the_other_columns():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {"pressure": rng.normal(50, 2, 300), "flow": rng.normal(5, 1, 300)}
    )
    X["level"] = X["flow"] + rng.normal(0, 0.3, 300)
    model = EBMDensityEstimator(**QUICK).fit(X)
    row = pd.DataFrame({"pressure": [1e6], "flow": [6.0], "level": [6.0]})
    found = model.explain(row).loc[0]
    assert found["tail_probability"].idxmin() == "pressure"
    expected = model.explain(row.assign(pressure=np.nan)).loc[0]
    numbers = ["log_p", "expected", "lower", "upper"]
    for column in ("flow", "level"):
        np.testing.assert_allclose(
            *(part.loc[column, numbers].astype(float) for part in (found, expected))
        )
        assert "; given the rest but pressure, " in found.loc[column, "sentence"]
    assert "; given the rest " in found.loc["pressure", "sentence"]
    assert 5 < found.loc["flow", "expected"] < 7
    wild = model.explain(row.assign(flow=-1e9, level=1e7)).loc[0]
    assert wild[numbers].notna().all().all()


def test_bounds_stay_in_the_support():
    rng = np.random.default_rng(0)
    X = np.c_[rng.poisson(0.7, 300), rng.exponential(size=300), rng.normal(size=300)]
    found = EBMDensityEstimator(**QUICK).fit(X).explain(X[:20])
    for j in (0, 1):
        assert (found.xs(j, level=1)[["lower", "expected"]] >= 0).all().all()
    assert (found.xs(2, level=1)["lower"] < 0).all()
