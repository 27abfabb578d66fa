"""The classifier on tables as they come: categories, words, booleans and gaps."""

import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy.special import logsumexp, softmax

from skebm import EBMDensityEstimator, JEMClassifier
from skebm.networks import EnsembleMLP

SMALL = partial(EnsembleMLP, hidden_features=(16,), n_members=2)
#: Hours of a shift; each has its own share of late trains.
SHIFTS = ["night", "day", "dusk", "dawn"]


def make(**options):
    defaults = {
        "network": SMALL,
        "reference": "gaussian",
        "normalizer": "importance",
        "stacking": False,
        "max_iter": 40,
        "batch_size": 64,
        "learning_rate": 1e-2,
        "random_state": 0,
    }
    return JEMClassifier(**(defaults | options))


def trains(n_rows=400, seed=0):
    """A category, a number and a boolean, of which lateness depends on two."""
    rng = np.random.default_rng(seed)
    shift = rng.choice(4, size=n_rows, p=[0.1, 0.4, 0.2, 0.3])
    late = (rng.uniform(size=n_rows) < np.array([0.9, 0.1, 0.9, 0.1])[shift]).astype(
        int
    )
    X = pd.DataFrame(
        {
            "shift": np.array(SHIFTS)[shift],
            "delay": rng.normal(2 * late, 1.0),
            "holiday": rng.uniform(size=n_rows) < 0.3,
        }
    )
    return X, np.where(late, "late", "on time")


def with_gaps(X, seed=1):
    rng, X = np.random.default_rng(seed), X.copy()
    X.loc[rng.uniform(size=len(X)) < 0.1, "shift"] = None
    X.loc[rng.uniform(size=len(X)) < 0.1, "delay"] = np.nan
    return X


@pytest.fixture(scope="module")
def fitted():
    X, y = trains()
    return make().fit(with_gaps(X), y)


# ---------------------------------------------------------------- probabilities


def test_a_missing_category_is_summed_over(fitted):
    """p(y | x_O) = sum_c p(c | x_O) p(y | x_O, c), by the scores of whole rows."""
    X = trains(20, seed=2)[0]
    whole = pd.concat([X.assign(shift=shift) for shift in SHIFTS])
    log_prob = fitted.score_samples(whole).reshape(len(SHIFTS), len(X))
    share = softmax(log_prob, axis=0)[:, :, None]
    expected = (share * fitted.predict_proba(whole).reshape(4, len(X), 2)).sum(axis=0)
    found = fitted.predict_proba(X.assign(shift=None))
    np.testing.assert_allclose(found, expected, atol=0.03)
    # The shift matters: a fill by the most frequent category would be far off.
    filled = fitted.predict_proba(X.assign(shift="day"))
    assert np.abs(filled - expected).max() > 0.2


def test_a_missing_number_is_integrated_over(fitted):
    X = trains(6, seed=3)[0]
    delays = np.linspace(-6, 8, 57)
    whole = pd.concat([X.assign(delay=delay) for delay in delays])
    log_prob = fitted.score_samples(whole).reshape(len(delays), len(X))
    share = softmax(log_prob, axis=0)[:, :, None]
    by_delay = fitted.predict_proba(whole).reshape(len(delays), len(X), 2)
    found = fitted.predict_proba(X.assign(delay=np.nan))
    np.testing.assert_allclose(found, (share * by_delay).sum(axis=0), atol=0.03)


def test_an_answer_depends_on_its_own_row_alone(fitted):
    X = with_gaps(trains(20, seed=4)[0])
    together = fitted.predict_proba(X)
    alone = np.concatenate([fitted.predict_proba(X.iloc[[i]]) for i in range(20)])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_array_equal(together, fitted.predict_proba(X))
    log_odds = np.diff(fitted.predict_log_proba(X), axis=1)[:, 0]
    np.testing.assert_allclose(fitted.decision_function(X), log_odds, atol=1e-6)


def test_a_row_of_gaps_alone_has_the_shares_of_all_rows(fitted):
    nothing = pd.DataFrame({"shift": [None], "delay": [np.nan], "holiday": [None]})
    share = fitted.predict_proba(trains(2000, seed=5)[0]).mean(axis=0)
    np.testing.assert_allclose(fitted.predict_proba(nothing)[0], share, atol=0.1)


def test_an_unknown_category_counts_as_missing(fitted):
    X = trains(30, seed=6)[0]
    missing = fitted.predict_proba(X.assign(shift=None))
    unknown = X.assign(shift="siesta")
    np.testing.assert_array_equal(fitted.predict_proba(unknown), missing)
    fitted.predict(unknown), fitted.decision_function(unknown)
    with pytest.raises(ValueError, match="unknown categories 'siesta' in column"):
        fitted.score_samples(unknown)


# ----------------------------------------------------------------------- energy


@pytest.mark.parametrize("reference", ["gaussian", "kde"])
def test_energies_of_rows_with_gaps_are_marginal(reference):
    """E(x_O) = log q0(x_O) - log p(x_O) - log Z, with the integrals on a grid."""
    rng = np.random.default_rng(0)
    X = rng.gamma(2.0, size=(300, 2)) @ np.array([[1.0, 0.5], [0.0, 1.0]])
    options = {"max_iter": 4, "normalizer": "importance", "ood_score": "log_density"}
    model = EBMDensityEstimator(reference=reference, random_state=0, **options).fit(X)
    grid = np.linspace(-4, 16, 801)
    for given in X[:2, 0]:
        rows = np.c_[np.full(len(grid), given), grid]
        energy, log_prob = model.energy(rows), model.score_samples(rows)
        log_reference = log_prob + model.log_normalizer_ + energy
        expected = logsumexp(log_reference) - logsumexp(log_reference - energy)
        found = model.energy([[given, np.nan]])
        np.testing.assert_allclose(found, expected, atol=0.1)


def test_scores_of_rows_with_gaps(fitted):
    X = with_gaps(trains(4, seed=7)[0])
    X.loc[0, ["shift", "delay"]] = [None, np.nan]
    for scores in (fitted.energy(X), fitted.score_samples(X), fitted.ood_scores(X)):
        assert np.isfinite(scores).all()
    whole = trains(4, seed=7)[0]
    there = X.notna().all(axis=1).to_numpy()
    assert there.any()
    np.testing.assert_allclose(fitted.energy(X)[there], fitted.energy(whole)[there])


# ----------------------------------------------------------------------- tables


def test_gaps_in_fit_are_worth_their_rows(fitted):
    X, y = trains(600, seed=8)
    assert fitted.score(X, y) > 0.88
    assert fitted.score(with_gaps(X), y) > 0.82
    assert set(fitted.transduction_) == {"late", "on time"}
    assert fitted.is_categorical_.tolist() == [True, False, True]


@pytest.mark.parametrize("kind", ["nullable", "arrow", "category", "object"])
def test_columns_of_pandas_dtypes_are_the_same_columns(kind):
    X, y = trains(80)
    X = with_gaps(X)
    same = {
        "nullable": X.convert_dtypes(),
        "arrow": X.convert_dtypes(dtype_backend="pyarrow"),
        "category": X.astype({"shift": "category"}),
        "object": X.astype(object),
    }[kind]
    options = {"max_iter": 1, "normalizer": None, "objective": None}
    if kind == "object":  # a column of numbers among objects is a column of numbers
        options["categorical_features"] = ["shift", "holiday"]
    expected = (
        make(max_iter=1, normalizer=None, objective=None).fit(X, y).predict_proba(X)
    )
    model = make(**options).fit(same, y)
    assert model.is_categorical_.tolist() == [True, False, True]
    np.testing.assert_allclose(model.predict_proba(same), expected, atol=1e-6)


def test_draws_and_fills_have_the_columns_of_fit(fitted):
    drawn, y = fitted.sample(12, random_state=0)
    of_class, _ = fitted.sample(12, random_state=0, y="late")
    given = pd.DataFrame({"shift": ["dusk"], "delay": [np.nan], "holiday": [None]})
    held, _ = fitted.sample(3, random_state=0, given=given)
    for X in (drawn, of_class, held, fitted.impute(with_gaps(trains(9)[0]))):
        assert list(X.columns) == ["shift", "delay", "holiday"]
        assert set(X["shift"]) <= set(SHIFTS)
    assert (held["shift"] == "dusk").all() and len(y) == 12


def test_draws_of_a_class_follow_its_categories(fitted):
    X, _ = fitted.sample(300, random_state=0, y="late")
    share = np.isin(X["shift"], ["night", "dusk"]).mean()
    X, _ = trains(4000, seed=9)
    weight = fitted.predict_proba(X)[:, 0]
    expected = np.average(np.isin(X["shift"], ["night", "dusk"]), weights=weight)
    assert abs(share - expected) < 0.12


def test_training_goes_on_with_gaps():
    X, y = trains(200)
    y = np.where(np.arange(200) < 60, y, "-1")
    gaps = with_gaps(X).astype({"holiday": "boolean"})
    gaps.loc[5, ["shift", "delay", "holiday"]] = [None, np.nan, pd.NA]
    model = make(normalizer=None, max_iter=1, warm_start=True).fit(gaps, y)
    assert len(model.transduction_) == 200
    model.partial_fit(gaps.iloc[:50], y[:50])
    model.fit(gaps, y)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict_proba(gaps), model.predict_proba(gaps))


def test_stacking_and_early_stopping_take_gaps():
    X, y = trains(400)
    few = np.where(np.arange(400) % 4 < 3, y, "-1")
    options = {"stacking": True, "early_stopping": True, "validation_fraction": 0.4}
    model = make(normalizer=None, max_iter=2, **options).fit(with_gaps(X), few)
    assert abs(sum(model.role_weights_.values()) - 1) < 1e-6
    assert set(model.history_["metric"]) == {"accuracy"} and model.score(X, y) > 0.6


def test_arrays_of_numbers_may_have_gaps_and_named_categories():
    rng = np.random.default_rng(0)
    code, x = rng.integers(0, 3, 300).astype(float), rng.normal(size=300)
    X, y = np.c_[code, x], (code == 1).astype(int)
    X[rng.uniform(size=300) < 0.1, 1] = np.nan
    model = make(categorical_features=[0], normalizer=None).fit(X, y)
    assert model.score(X, y) == 1.0  # the middle one of three: no threshold finds it
    assert make(normalizer=None).fit(X, y).is_categorical_ is None


@pytest.mark.parametrize("objective", ["vera", None])
def test_any_objective_takes_categories(objective):
    X, y = trains(100)
    model = make(objective=objective, max_iter=1).fit(X, y)
    assert np.isfinite(model.score_samples(X[:4])).all()


def test_a_number_that_codes_a_category_takes_nothing_from_it():
    rng = np.random.default_rng(0)
    word = rng.integers(0, 12, 400)
    y = word % 2
    words = np.array([f"w{i:02d}" for i in range(12)])[word]
    X = pd.DataFrame({"word": words, "code": rng.permutation(12)[word].astype(float)})
    few = np.where(np.arange(400) < 150, y, -1)
    model = make().fit(X, few)
    assert np.mean(model.predict(X)[150:] == y[150:]) > 0.97
