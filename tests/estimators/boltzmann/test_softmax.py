"""The face of the machine of categorical columns."""

import itertools
import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

import skebm.estimators.boltzmann._visible as module
from skebm import SoftmaxRBM

QUICK = {"n_components": 4, "n_iter": 60, "random_state": 0}


@pytest.fixture(scope="module")
def table():
    """Two columns that go together, one apart, one of two values."""
    rng = np.random.RandomState(0)
    sky = rng.choice(["clear", "rain", "snow"], 300, p=[0.5, 0.3, 0.2])
    road = np.where(
        rng.uniform(size=300) < 0.1, "dry", np.where(sky == "clear", "dry", "wet")
    )
    return pd.DataFrame(
        {
            "sky": pd.Categorical(sky, categories=["clear", "rain", "snow", "hail"]),
            "road": road,
            "lanes": rng.randint(1, 4, 300),
            "open": sky != "snow",
        }
    )


@pytest.fixture(scope="module")
def fitted(table):
    return SoftmaxRBM(**QUICK).fit(table)


@pytest.fixture(scope="module")
def states(fitted, table):
    X = pd.DataFrame(itertools.product(*fitted.categories_), columns=table.columns)
    return X.astype({"lanes": int, "open": bool})


def test_categories_are_those_of_the_columns(fitted):
    expected = [["clear", "rain", "snow", "hail"], ["dry", "wet"], [1, 2, 3], [0, 1]]
    assert [list(values) for values in fitted.categories_] == expected
    assert fitted.components_.shape == (4, 11)


def test_probabilities_of_all_states_sum_to_one(fitted, states):
    p = np.exp(fitted.score_samples(states))
    assert len(states) == 48
    assert p.sum() == pytest.approx(1)


def test_it_learns_what_goes_together(fitted, table, states):
    shares = [table[c].map(table[c].value_counts(normalize=True)) for c in table]
    independent = sum(np.log(column.astype(float)).mean() for column in shares)
    assert fitted.score(table) > independent + 0.5
    p = np.exp(fitted.score_samples(states))
    clear = (states["sky"] == "clear").to_numpy()
    dry = (states["road"] == "dry").to_numpy()
    share = ((table["sky"] == "clear") & (table["road"] == "dry")).mean()
    assert p[clear & dry].sum() == pytest.approx(share, abs=0.15)
    assert p[(states["sky"] == "hail").to_numpy()].sum() < 0.02


def test_missing_entries_are_summed_out(fitted, table, states):
    row = table.iloc[[3]].astype(object)
    row.iloc[0, 1] = None
    row.iloc[0, 2] = np.nan
    fits = (states["sky"] == row.iloc[0, 0]) & (states["open"] == row.iloc[0, 3])
    p = np.exp(fitted.score_samples(states[fits.to_numpy()]))
    np.testing.assert_allclose(fitted.score_samples(row), np.log(p.sum()))
    h = p @ fitted.transform(states[fits.to_numpy()]) / p.sum()
    np.testing.assert_allclose(fitted.transform(row)[0], h)
    drawn = fitted.sample(4000, 0, given=row, n_steps=30)
    assert (drawn["sky"] == row.iloc[0, 0]).all()
    for name in ("road", "lanes"):
        shares = drawn[name].value_counts(normalize=True)
        for value in shares.index:
            exact = (
                p[(states[fits.to_numpy()][name] == value).to_numpy()].sum() / p.sum()
            )
            assert shares[value] == pytest.approx(exact, abs=0.04)


def test_samples_are_rows_like_those_of_x(fitted, table, states):
    drawn = fitted.sample(2000, random_state=0, method="tempering", n_steps=200)
    assert drawn.dtypes.to_dict() == table.dtypes.to_dict()
    p = np.exp(fitted.score_samples(states))
    for name, value in (("sky", "rain"), ("lanes", 2), ("open", True)):
        exact = p[(states[name] == value).to_numpy()].sum()
        assert (drawn[name] == value).mean() == pytest.approx(exact, abs=0.04)
    assert list(fitted.gibbs(table[:3]).columns) == list(table.columns)


def test_impute_fills_in_the_likeliest(fitted, table):
    gaps = table.astype(object)
    gaps.loc[:9, "open"] = None
    filled = fitted.impute(gaps)
    assert (filled == table).drop(columns="open").all(axis=None)
    assert filled["sky"].dtype == object  # as in the rows with gaps
    assert (filled["open"] == table["open"])[:10].mean() >= 0.8


def test_arrays_of_codes_stay_arrays(table):
    X = np.random.RandomState(0).randint(3, size=(100, 3))
    model = SoftmaxRBM(**QUICK).fit(X)
    drawn = model.sample(5, random_state=0)
    assert isinstance(drawn, np.ndarray)
    assert drawn.dtype == X.dtype
    words = np.array(["a", "b", "c"], dtype=object)[X]
    other = SoftmaxRBM(**QUICK).fit(words)
    np.testing.assert_array_equal(other.score_samples(words), model.score_samples(X))
    assert set(other.sample(5, random_state=0).ravel()) <= set("abc")


def test_unknown_categories_are_named_or_marginalized(fitted, table):
    odd = table.astype({"road": object}).copy()
    odd.loc[5, "road"] = "flooded"
    with pytest.raises(ValueError, match="'flooded' in column 'road'"):
        fitted.score_samples(odd)
    lenient = clone(fitted).set_params(handle_unknown="missing").fit(table)
    gap = odd.copy()
    gap.loc[5, "road"] = None
    np.testing.assert_allclose(lenient.score_samples(odd), lenient.score_samples(gap))
    model = SoftmaxRBM(**QUICK, categories=[["a", "b", "c"]]).fit([["a"], ["b"]])
    assert np.exp(model.score_samples([["a"], ["b"], ["c"]]).tolist()).sum() == (
        pytest.approx(1)
    )
    with pytest.raises(ValueError, match="X has 1 columns, the list 2"):
        SoftmaxRBM(categories=[["a"], ["b"]]).fit([["a"]])


def test_bad_tables_are_refused(table):
    with pytest.raises(TypeError, match="can't be sorted"):
        SoftmaxRBM().fit(np.array([[1], ["a"]], dtype=object))
    with pytest.raises(ValueError, match="No value of column 'a'"):
        SoftmaxRBM().fit(pd.DataFrame({"a": [None, None]}))
    with pytest.raises(ValueError, match="infinity"):
        SoftmaxRBM().fit([[1.0], [np.inf]])
    with pytest.raises(TypeError, match="toarray"):
        SoftmaxRBM().fit(sparse.eye(3).tocsr())
    with pytest.raises(ValueError, match="minimum of 1"):
        SoftmaxRBM().fit(table[:0])


def test_a_large_table_trains_sparse(table, monkeypatch):
    dense = SoftmaxRBM(**QUICK).fit(table)
    monkeypatch.setattr(module, "MAX_DENSE", 10)
    model = SoftmaxRBM(**QUICK).fit(table)
    assert sparse.issparse(model._codec.read(model, table))
    assert model.score(table) == pytest.approx(dense.score(table), abs=0.1)


def test_partial_fit_and_copies(fitted, table):
    model = SoftmaxRBM(**QUICK)
    for _ in range(5):
        for part in np.array_split(np.arange(300), 4):
            model.partial_fit(table.iloc[part])
    assert model.score(table) > SoftmaxRBM(**{**QUICK, "n_iter": 0}).fit(table).score(
        table
    )
    copied = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(
        copied.score_samples(table), fitted.score_samples(table)
    )
    again = clone(fitted).fit(table)
    np.testing.assert_array_equal(
        again.score_samples(table), fitted.score_samples(table)
    )


@pytest.fixture(autouse=True)
def numpy_state():
    """Put NumPy's global state back: some checks draw from it themselves."""
    state = np.random.get_state()
    yield
    np.random.set_state(state)


@pytest.mark.filterwarnings("ignore::skebm.exceptions.SkebmWarning")
@parametrize_with_checks([SoftmaxRBM(2, n_iter=2)])
def test_estimator_check(estimator, check):
    check(estimator)
