"""Wild values, constants and units: what estimators make of tables that have them."""

import pickle
import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
from sklearn.mixture import GaussianMixture

from skebm import EBMDensityEstimator, GaussianRBM, JEMClassifier
from skebm.exceptions import DataWarning
from skebm.networks import MLP
from skebm.references import CopulaMixtureReference, GaussianMixtureReference

#: Most tables here have wild values; one test below is about the warning.
pytestmark = pytest.mark.filterwarnings(
    "ignore:X holds values far beyond:skebm.exceptions.DataWarning"
)
N_ROWS = 200
SMALL = {"network": partial(MLP, hidden_features=(8,)), "random_state": 0}
FEW = GaussianMixtureReference(n_components=(2,), n_repeats=1)


def density(**options):
    defaults = {
        "reference": FEW,
        "max_iter": 2,
        "normalizer": "importance",
        "ood_score": "log_density",
    }
    return EBMDensityEstimator(**(SMALL | defaults | options))


def classifier(**options):
    defaults = {"reference": FEW, "max_iter": 2, "normalizer": "importance"}
    return JEMClassifier(**(SMALL | defaults | options))


def normal_rows(n_rows=N_ROWS, seed=0):
    return np.random.RandomState(seed).normal(size=(n_rows, 2))


def two_classes(n_rows=400, seed=0):
    rng = np.random.RandomState(seed)
    y = rng.randint(0, 2, n_rows)
    X = rng.normal(size=(n_rows, 2))
    X[:, 0] += 3 * y
    return X, y


# ---------------------------------------------------------------------- wild values


def test_one_wild_row_of_400_costs_a_classifier_nothing():
    X, y = two_classes()
    X[200, 0] = 1000.0  # one unlabelled row
    fresh, truth = two_classes(2000, seed=1)
    y[40:] = -1
    options = {"objective": None, "max_iter": 60, "learning_rate": 0.02}
    model = classifier(stacking=False, **options).fit(X, y)
    assert model.score(fresh, truth) > 0.91


@pytest.mark.parametrize("rows", [[3], [3, 50, 120]])
def test_values_that_are_none_of_their_columns_are_told_at_fit(rows):
    """The frame of a newcomer: a sensor that says a million now and then."""
    X = pd.DataFrame(np.array([37, 0]) + normal_rows(220), columns=["degrees", "load"])
    X.loc[rows, "degrees"] = 1e6
    n = "1 row" if len(rows) == 1 else "3 rows"
    told = rf"column 'degrees' \(1e\+06 in {n}; most lie between 34\.\d+ and 39\.\d+\)"
    with pytest.warns(DataWarning, match=told) as caught:
        density(reference="gaussian", max_iter=1).fit(X)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        density(reference="gaussian", max_iter=1).fit(X.drop(rows))
        density(reference="gaussian", max_iter=1, trim_fraction=0.02).fit(X)


def with_code(value=-9999.0):
    X = normal_rows(500)
    X[:25, 0] = value
    return X


def test_a_code_hides_no_outliers():
    fresh, model = normal_rows(500, seed=1), density()
    with pytest.warns(DataWarning, match=r"column 0 \(-9999 in 5.0%"):
        model.fit(with_code())
    # log 0.95 is the share of the others; the truth is -2.84
    assert model.score(fresh) > -2.84 + np.log(0.95) - 0.15
    for value in (8.0, -8.0, 100.0, -500.0):
        far = fresh.copy()
        far[:, 0] = value
        assert (model.predict(far) == -1).all()


@pytest.mark.parametrize("options", [{"sentinels": "atom"}, {"atoms": "auto"}], ids=str)
@pytest.mark.filterwarnings("ignore::skebm.exceptions.DataWarning")
def test_a_code_is_an_atom_by_option(options):
    rows = np.array([[np.nan, 0.3], [-9999.0, 0.3]])
    model = density(**{"atoms": None, **options}).fit(with_code())
    share = np.exp(np.diff(model.score_samples(rows)))
    assert share == pytest.approx(0.05, abs=0.04)
    drawn = model.sample(400, random_state=0)[:, 0]
    assert 0.01 < np.mean(drawn == -9999) < 0.12


def test_a_code_is_missing_by_option():
    X, rows = with_code()[:200], np.array([[-9999.0, 0.3], [np.nan, 0.3]])
    options = {"reference": "gaussian", "max_iter": 1}
    missing = density(sentinels="missing", **options).fit(X)
    expected = density(**options).fit(np.where(X == -9999, np.nan, X))
    for answer in ("score_samples", "ood_scores", "impute"):
        found = getattr(missing, answer)(rows)
        np.testing.assert_array_equal(found[0], found[1])
        np.testing.assert_array_equal(found[1], getattr(expected, answer)(rows)[1])


def test_rows_of_codes_alone_can_be_missing():
    x = with_code()[:, :1]
    model = density(sentinels="missing", reference="gaussian").fit(x)
    assert model.score(x[25:]) == pytest.approx(-1.42, abs=0.1)
    assert model.score_samples([[-9999.0]])[0] == 0


@pytest.mark.parametrize("make", [density, classifier])
def test_rows_of_codes_alone_are_left_out(make):
    X, y = two_classes(200)
    X[:20] = -9999
    options = {"reference": "gaussian", "max_iter": 1}
    missing = make(sentinels="missing", **options).fit(X, y)
    expected = make(**options).fit(np.where(X == -9999, np.nan, X), y)
    found, scores = (m.score_samples(X[20:40]) for m in (missing, expected))
    np.testing.assert_array_equal(found, scores)


def test_a_given_code_is_drawn():
    options = {"reference": "gaussian", "max_iter": 1}
    model = density(sentinels="missing", **options).fit(with_code()[:200])
    found, expected = (
        model.sample(3, random_state=0, given=[[gap, 0.3]]) for gap in (-9999, np.nan)
    )
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(ValueError, match="'given' parameter holds no NaN"):
        model.sample(3, given=[[0.1, 0.3]])


@pytest.mark.parametrize(
    "make", [density, classifier, lambda: GaussianRBM(2, n_iter=1)]
)
def test_training_goes_on_with_the_same_sentinels_alone(make):
    X, y = two_classes(60)
    model = pickle.loads(pickle.dumps(make().partial_fit(X, y)))
    model.partial_fit(X, y).set_params(sentinels="missing")
    with pytest.raises(ValueError, match="'sentinels' parameter differs"):
        model.partial_fit(X, y)
    if "warm_start" in model.get_params():
        with pytest.raises(ValueError, match="'sentinels' parameter differs"):
            model.set_params(warm_start=True).fit(X, y)


def test_a_reference_in_units_takes_no_code_as_an_atom():
    mixture = GaussianMixture(1, random_state=0).fit(normal_rows())
    with pytest.raises(ValueError, match=r"sentinels='atom'.*'reference'"):
        density(reference=mixture, sentinels="atom").fit(with_code())


def test_a_classifier_takes_codes_as_missing():
    X, y = two_classes()
    X[:20, 0] = -9999
    options = {"reference": "gaussian", "max_iter": 1}
    model = classifier(sentinels="missing", **options).fit(X, y)
    found, expected = model.predict_proba([[-9999.0, 0.0], [np.nan, 0.0]])
    np.testing.assert_array_equal(found, expected)
    with pytest.warns(DataWarning, match="-9999"):
        classifier(**options).fit(X, y)


def test_a_marginal_of_a_wild_column_adds_up_to_one():
    """By quadrature over x of the score of (x, missing)."""
    X = normal_rows()
    X[3, 0] = 1000.0
    model = density(reference="gaussian").fit(X)
    x = np.sinh(np.linspace(-10, 10, 201))
    p = np.exp(model.score_samples(np.c_[x, np.full(len(x), np.nan)]))
    mass = np.sum(np.diff(x) * (p[1:] + p[:-1]) / 2)
    assert mass == pytest.approx(1, abs=0.05)


def test_a_reference_in_the_units_of_x_is_taken_as_it_is():
    X = normal_rows()
    X[3, 0] = 1000.0
    mixture = GaussianMixture(2, random_state=0).fit(X)
    model = density(reference=mixture, max_iter=1, learning_rate=1e-9).fit(X)
    np.testing.assert_allclose(
        model.score_samples(X), mixture.score_samples(X), atol=0.02, rtol=1e-3
    )


# ------------------------------------------------------------------------ constants


@pytest.mark.parametrize("reference", ["gaussian", "kde", FEW, None], ids=str)
@pytest.mark.parametrize("constant", [0.0, 3.0])
def test_a_constant_that_moves_is_an_outlier(reference, constant):
    X = np.c_[normal_rows(), np.full(N_ROWS, constant)]
    model = density(reference=reference, max_iter=1).fit(X)
    assert np.mean(model.predict(X) == -1) < 0.25
    for unit in (1e-9, 0.5, 500.0):
        moved = X + np.array([0, 0, unit])
        assert (model.predict(moved) == -1).all()
    np.testing.assert_array_equal(model.sample(20, random_state=0)[:, 2], constant)


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_a_nearly_constant_column(unit):
    rare = np.zeros(N_ROWS)
    rare[:4] = unit
    X = np.c_[normal_rows(), rare]
    model = density().fit(X)
    fresh = np.c_[normal_rows(100, seed=1), np.zeros(100)]
    assert np.mean(model.predict(fresh) == -1) < 0.2
    for value in (-unit, 0.5 * unit, 30 * unit):
        fresh[:, 2] = value
        assert np.mean(model.predict(fresh) == -1) == 1


def test_duplicated_rows_and_columns_are_no_news():
    X = normal_rows()
    model = density(reference="gaussian").fit(np.r_[X, X])
    assert model.score(X) == pytest.approx(density().fit(X).score(X), abs=0.3)
    twice = np.c_[X, X[:, 0] + X[:, 1]]
    model = density().fit(twice)
    assert np.isfinite(model.score_samples(twice)).all()
    off = twice + np.array([0, 0, 2])
    assert np.mean(model.predict(off) == -1) > 0.95


# -------------------------------------------------------------------------- weights


@pytest.mark.parametrize("reference", ["auto", "gmm", "kde", "gaussian"])
def test_one_weight_a_thousand_times_the_others(reference):
    X, weight = normal_rows(60), np.ones(60)
    weight[3] = 1000.0
    model = density(reference=reference, max_iter=1).fit(X, sample_weight=weight)
    scores = model.score_samples(X)
    assert np.isfinite(scores).all()
    assert scores[3] > np.median(scores)
    for rows in ([3], [3, 5]):
        weight[rows] = 1e308
        with pytest.raises(ValueError, match="sample_weight"):
            model.fit(X, sample_weight=weight)


def test_a_classifier_with_a_great_weight():
    X, y = two_classes(60)
    weight = np.ones(60)
    weight[3] = 1000.0
    model = classifier().fit(X, y, sample_weight=weight)
    assert np.isfinite(model.score_samples(X)).all()


# ---------------------------------------------------------------------------- units

UNITS = [(1e-6, 0.0), (1e6, 0.0), (1.0, 1e6)]


def mixed_rows():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(80, 3))
    X[:, 1] = np.exp(X[:, 1])
    X[:, 2] = np.round(2 * X[:, 2])
    X[5, 0] = 500.0
    return X, (X[:, 1] > 1).astype(int)


@pytest.mark.parametrize("make", [density, classifier])
@pytest.mark.parametrize(
    "reference",
    ["gaussian", FEW, CopulaMixtureReference(FEW), "kde", None, GaussianMixture(2)],
    ids=str,
)
def test_units_and_origins_change_no_score(make, reference):
    X, y = mixed_rows()
    y = y if make is classifier else None
    rows = np.r_[X[:20], X[:20] + np.array([0.5, 0.1, 1.0])]
    expected = make(reference=reference, max_iter=1).fit(X, y).score_samples(rows)
    for j, (factor, shift) in enumerate(UNITS):
        unit, origin = np.ones(3), np.zeros(3)
        unit[j], origin[j] = factor, shift
        model = make(reference=reference, max_iter=1).fit(unit * X + origin, y)
        found = model.score_samples(unit * rows + origin) + np.log(factor)
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_a_constant_that_moves_changes_no_class():
    """The net has learnt nothing about it; the density calls the row out."""
    X, options = normal_rows(), {"objective": None, "normalizer": None}
    y = (X[:, 0] > 0).astype(int)
    X = np.c_[X, np.full((N_ROWS, 3), 2.0)]
    model = JEMClassifier(
        reference="gaussian", stacking=False, max_iter=2, random_state=0, **options
    ).fit(X, y)
    moved = X + np.r_[np.zeros(X.shape[1] - 3), 1e-3, -5.0, 1e6]
    np.testing.assert_array_equal(model.predict_proba(moved), model.predict_proba(X))
    assert (model.score_samples(moved) < model.score_samples(X) - 10).all()
