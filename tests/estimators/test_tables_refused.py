"""What is no table is refused before any training, by an error that says what to do."""

import datetime
import operator
import re

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder
from torch.utils.data import DataLoader, TensorDataset

from skebm import (
    BernoulliRBM,
    EBMDensityEstimator,
    GaussianRBM,
    JEMClassifier,
    JEMRegressor,
    RBMClassifier,
    SoftmaxRBM,
)
from skebm.tables._checks import AS_DAYS
from skebm.training import Loop

N_ROWS = 20
X = np.random.RandomState(0).normal(size=(N_ROWS, 2))
Y = np.arange(N_ROWS) % 2
WORDS = ["x", "y"] * (N_ROWS // 2)
DATES = pd.date_range("2020", periods=N_ROWS)
QUICK = {
    "reference": "gaussian",
    "network": "mlp",
    "normalizer": "importance",
    "ood_score": "log_density",
    "max_iter": 1,
    "random_state": 0,
}
ESTIMATORS = {
    "density": EBMDensityEstimator(**QUICK),
    "classifier": JEMClassifier(**QUICK, stacking=False),
    "regressor": JEMRegressor(**QUICK, experts=["linear"]),
    "BernoulliRBM": BernoulliRBM(2, n_iter=1),
    "RBMClassifier": RBMClassifier(2, n_iter=1),
    "GaussianRBM": GaussianRBM(2, n_iter=1),
    "SoftmaxRBM": SoftmaxRBM(2, n_iter=1),
}
BINARY = ["BernoulliRBM", "RBMClassifier"]
NUMERIC = [*BINARY, "GaussianRBM"]


@pytest.fixture
def no_training(monkeypatch):
    """Fail where training starts all the same."""

    def fit(*_):
        pytest.fail("training started before the input was refused")

    monkeypatch.setattr(Loop, "fit", fit)


def frame_of(library, data):
    """Return a table of pandas, polars or pyarrow."""
    if library == "pandas":
        return pd.DataFrame(data)
    module = pytest.importorskip(library, reason=f"{library} is not installed")
    if library == "polars":
        pytest.importorskip("narwhals", reason="narwhals is not installed")
    return module.table(data) if library == "pyarrow" else module.DataFrame(data)


class Reader:
    """What pyarrow reads batches of a file by."""

    def read_next_batch(self):
        raise AssertionError("no batch is read")


rows = TensorDataset(torch.from_numpy(X))
NO_TABLES = {
    "an empty list": ([], ValueError, "X must have rows and columns"),
    "a dict": ({"a": [1, 2]}, TypeError, r"Got an object of type dict; pass pd.Data"),
    "a set": ({1, 2}, TypeError, "X must be an array or a data frame.*type set"),
    "words": ("abc", TypeError, "X must be an array or a data frame.*type str"),
    "None": (None, TypeError, "X must be an array or a data frame. Got None"),
    "a number": (3.0, TypeError, "X must be an array or a data frame.*type float"),
    "three dimensions": (X[None], ValueError, r"got 3D array.*shape \(1, 20, 2\)"),
    "one dimension": (X[:, 0], ValueError, r"got 1D array.*Reshape your data"),
    "a column": (pd.Series(X[:, 0]), ValueError, r"got 1D array.*X must have shape"),
    "records": ([{"a": 1, "b": 2}] * 9, TypeError, r"a list of dicts; pass pd.Data"),
    "rows of two lengths": ([[1, 2], [3]], ValueError, "X.*rows of one length"),
    "a structured array": (
        np.zeros(9, dtype=[("a", float), ("b", float)]),
        TypeError,
        "X must be an array.*Got a structured array; pass pd.DataFrame",
    ),
    "one name twice": (
        pd.DataFrame(X, columns=["a", "a"]),
        ValueError,
        "X has more than one column named 'a'",
    ),
    "one number as name twice": (
        pd.DataFrame(X, columns=[7, 7]),
        ValueError,
        "X has more than one column named 7",
    ),
}


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("case", NO_TABLES)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_no_tables(estimator, case):
    table, error, message = NO_TABLES[case]
    with pytest.raises(error, match=message):
        ESTIMATORS[estimator].fit(table, Y)


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("batches", [iter([X]), rows, DataLoader(rows), Reader()])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_batches_are_a_table_for_fit_of_the_density_alone(estimator, batches):
    model, name = ESTIMATORS[estimator], type(batches).__name__
    method = model.partial_fit if estimator == "density" else model.fit
    advice = f"type {name}; draw a table .* skebm.datasets.sample_rows, .* partial_fit"
    with pytest.raises(TypeError, match=advice):
        method(batches, Y)


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("estimator", NUMERIC)
@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_words_are_refused_by_the_name_of_the_column(library, estimator):
    table = frame_of(library, {"age": X[:, 0], "town": WORDS})
    message = r"hold numbers. Got column 'town' .*'x'.*EBMDensity.*SoftmaxRBM.*encode"
    with pytest.raises(ValueError, match=message):
        ESTIMATORS[estimator].fit(table, Y)


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(
    "table",
    [
        [[1.0, word] for word in WORDS],
        np.array([["1", word] for word in WORDS]),
        np.array([[1, word] for word in WORDS], dtype=object),
    ],
    ids=["lists", "an array of words", "objects"],
)
@pytest.mark.parametrize("estimator", [*NUMERIC, "density", "classifier"])
def test_words_in_arrays_are_refused_by_column(table, estimator):
    with pytest.raises(ValueError, match=r"column 1 \(object\).*float: 'x';.*encode"):
        ESTIMATORS[estimator].fit(table, Y)


def times(library):
    return {
        "dates": frame_of(library, {"a": X[:, 0], "d": DATES.to_numpy()}),
        "days": frame_of(library, {"a": X[:, 0], "d": list(DATES.date)}),
        "durations": frame_of(library, {"a": X[:, 0], "d": (DATES - DATES[0]).values}),
    }


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("estimator", [*NUMERIC, "density", "classifier"])
@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_times_in_frames_are_refused_by_name(library, estimator):
    for table in times(library).values():
        with pytest.raises(ValueError, match=r"column 'd' \(.*numbers in a unit.*days"):
            ESTIMATORS[estimator].fit(table, Y)


def test_the_recipes_for_times_make_days():
    pl = pytest.importorskip("polars", reason="polars is not installed")
    names = {"np": np, "pl": pl, "x": pd.Series(DATES) - DATES[0]}
    frame = pl.DataFrame({"x": pd.Series(DATES).to_numpy()})
    dates = re.search(r"dates by (.*?), durations", AS_DAYS)[1]
    durations = re.search(r"durations by (.*?); in", AS_DAYS)[1]
    of_polars = re.search(r"in polars by (.*?) and (.*)\.", AS_DAYS)
    days = list(range(N_ROWS))
    assert eval(durations, names).tolist() == days
    assert eval(dates, names | {"x": pd.Series(DATES)}).tolist() == days
    found = frame.select(eval(of_polars[1], names))["x"]
    assert found.to_list() == days
    spans = frame.select(pl.col("x") - pl.col("x").min())
    assert spans.select(eval(of_polars[2], names))["x"].to_list() == days


TIMES = {
    "dates": np.array([DATES.to_numpy()] * 2).T,
    "days": np.array([DATES.to_numpy()] * 2, dtype="datetime64[D]").T,
    "durations": np.array([(DATES - DATES[0]).to_numpy()] * 2).T,
    "objects": np.array([[datetime.date(2020, 1, 1), 1]] * N_ROWS, dtype=object),
    "NaT": np.full((N_ROWS, 2), "NaT", dtype="datetime64[ns]"),
    "zones": pd.DataFrame({0: DATES.tz_localize("UTC")}),
    "periods": pd.DataFrame({0: DATES.to_period("M")}),
}


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("estimator", [*NUMERIC, "density", "classifier"])
@pytest.mark.parametrize("case", TIMES)
def test_times_in_arrays_are_refused_too(case, estimator):
    with pytest.raises(ValueError, match=r"column 0 \(.*numbers in a unit.*days"):
        ESTIMATORS[estimator].fit(TIMES[case], Y)


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("estimator", [*NUMERIC, "density", "classifier"])
def test_too_large_integers_are_refused_by_name(estimator):
    for table in ([[1, 10**400]] * N_ROWS, pd.DataFrame({1: [10**400] * N_ROWS})):
        with pytest.raises(ValueError, match=r"column 1 \(object\).*too large"):
            ESTIMATORS[estimator].fit(table, Y)


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("estimator", ["density", "GaussianRBM", "BernoulliRBM"])
def test_columns_without_a_value_are_named_in_the_plural(estimator):
    table = np.c_[X > 0, np.full((N_ROWS, 2), np.nan)]
    with pytest.raises(ValueError, match=r"columns 2 and 3\W.*[Dd]rop them"):
        ESTIMATORS[estimator].fit(table)


@pytest.mark.usefixtures("no_training")
def test_nested_columns_are_refused():
    table = frame_of("polars", {"a": X[:, 0], "b": [[1, 2]] * N_ROWS})
    with pytest.raises(TypeError, match=r"Got column 'b' \(List"):
        ESTIMATORS["density"].fit(table)


def test_lazy_frames_are_to_be_collected():
    table = frame_of("polars", {"a": X[:, 0]}).lazy()
    with pytest.raises(TypeError, match=r"LazyFrame; pass X.collect\(\)"):
        ESTIMATORS["density"].fit(table)


# ---------------------------------------------------------------- what is taken


@pytest.mark.parametrize("estimator", BINARY)
def test_gaps_of_pandas_among_objects(estimator):
    table = np.array([[1, pd.NA], [0, 1]] * (N_ROWS // 2), dtype=object)
    model = ESTIMATORS[estimator]
    if estimator == "RBMClassifier":
        with pytest.raises(ValueError, match="contains NaN in column 1"):
            model.fit(table, Y)
    else:
        assert np.isfinite(model.fit(table).score_samples(table)).all()


def test_other_containers_of_numbers_are_the_same_table():
    table = (X > 0).astype(np.float64)
    expected = BernoulliRBM(2, n_iter=1, random_state=0).fit(table).components_
    others = [
        torch.from_numpy(table).requires_grad_(),
        torch.from_numpy(table).bfloat16(),
        tuple(map(tuple, table)),
        pd.DataFrame(table).astype(pd.SparseDtype("float", 0.0)),
        frame_of("polars", {"a": table[:, 0], "b": table[:, 1].astype(int)}),
        frame_of("pyarrow", {"a": table[:, 0], "b": table[:, 1] > 0}),
    ]
    for other in others:
        model = BernoulliRBM(2, n_iter=1, random_state=0).fit(other)
        np.testing.assert_allclose(model.components_, expected, rtol=1e-5)


def test_masked_entries_are_missing():
    mask = np.zeros(X.shape, dtype=bool)
    mask[3, 1] = True
    masked = np.ma.array(np.where(mask, 1e6, X), mask=mask)
    model = GaussianRBM(2, n_iter=1, random_state=0).fit(masked)
    assert abs(model.impute(masked)[3, 1]) < 10


SKIES = pd.DataFrame({"sky": ["sun", "rain"] * 10, "road": ["dry", "wet"] * 10})


@pytest.mark.parametrize("estimator", ["density", "GaussianRBM"])
def test_the_advice_on_sparse_tables_works(estimator):
    model = ESTIMATORS[estimator]
    with pytest.raises(TypeError, match=r"sparse_output=False.*methodcaller\('toarr"):
        make_pipeline(OneHotEncoder(), model).fit(SKIES)
    dense = FunctionTransformer(operator.methodcaller("toarray"), accept_sparse=True)
    by_function = make_pipeline(OneHotEncoder(), dense, model).fit(SKIES)
    assert np.isfinite(by_function.score_samples(SKIES)).all()
    if estimator == "GaussianRBM":
        by_option = make_pipeline(OneHotEncoder(sparse_output=False), model).fit(SKIES)
        assert np.isfinite(by_option.score_samples(SKIES)).all()


def test_binary_machines_take_sparse_tables():
    table = sparse.csr_array((X > 0).astype(float))
    model = BernoulliRBM(2, n_iter=1, random_state=0).fit(table)
    assert isinstance(model.gibbs(table), np.ndarray)
