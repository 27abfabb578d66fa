"""Data frames of each kind: read alike, and given back as they came."""

import copy
import pickle
import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest

from skebm import (
    BernoulliRBM,
    EBMDensityEstimator,
    GaussianRBM,
    JEMClassifier,
    RBMClassifier,
    SoftmaxRBM,
)
from skebm.estimators._reader import TableReader
from skebm.networks import MLP

N_ROWS = 60
NAMES = ["x", "i", "s", "b", "c"]
QUICK = {
    "network": partial(MLP, hidden_features=(8,)),
    "reference": "gaussian",
    "normalizer": "importance",
    "ood_score": "log_density",
    "max_iter": 1,
    "random_state": 0,
}


def columns():
    """A float, an int, words, booleans and a category; one word is missing."""
    rng = np.random.default_rng(0)
    words = rng.choice(["u", "v", "w"], N_ROWS).astype(object)
    words[3] = None
    return {
        "x": rng.normal(size=N_ROWS),
        "i": rng.integers(0, 9, N_ROWS),
        "s": words,
        "b": rng.integers(0, 2, N_ROWS).astype(bool),
        "c": rng.choice(["lo", "hi"], N_ROWS),
    }


LEVELS = ["lo", "hi", "max"]


def of_pandas():
    frame = pd.DataFrame(columns())
    frame["c"] = pd.Categorical(frame["c"], categories=LEVELS)
    frame.index = np.arange(N_ROWS)[::-1] * 10
    return frame


def of_objects():
    return of_pandas().astype({"s": object})


def nullable():
    dtypes = {"x": "Float64", "i": "Int64", "s": "string", "b": "boolean"}
    return of_pandas().astype(dtypes)


def arrow_backed():
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    dtypes = {"x": "double", "i": "int64", "s": "string", "b": "bool"}
    return of_pandas().astype({k: f"{v}[pyarrow]" for k, v in dtypes.items()})


def of_pyarrow():
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    return pa.Table.from_pandas(of_pandas(), preserve_index=False)


def of_polars():
    pl = pytest.importorskip("polars", reason="polars is not installed")
    pytest.importorskip("narwhals", reason="narwhals is not installed")
    data = columns()
    data["c"] = pl.Series(data["c"].tolist(), dtype=pl.Enum(LEVELS))
    data["s"] = pl.Series(data["s"].tolist(), dtype=pl.String)
    return pl.DataFrame(data)


KINDS = {
    "pandas": of_pandas,
    "objects": of_objects,
    "nullable": nullable,
    "arrow_backed": arrow_backed,
    "pyarrow": of_pyarrow,
    "polars": of_polars,
}


@pytest.fixture(scope="module", params=KINDS)
def frame(request):
    return KINDS[request.param]()


@pytest.fixture(scope="module")
def model(frame):
    return EBMDensityEstimator(**QUICK).fit(frame)


@pytest.fixture(scope="module")
def of_plain_pandas():
    return EBMDensityEstimator(**QUICK).fit(of_pandas())


def dtypes_of(frame):
    """Return the dtypes of a frame by name, as words."""
    if hasattr(frame, "dtypes"):
        dtypes = list(frame.dtypes)
    else:
        dtypes = frame.schema.types
    names = getattr(frame, "column_names", None) or list(frame.columns)
    return dict(zip(names, map(str, dtypes), strict=True))


def values_of(frame, name):
    """Return a column as a list, None where it has no value."""
    column = frame[name]
    if isinstance(column, pd.Series):
        return [None if pd.isna(v) else v for v in column]
    return column.to_pylist() if hasattr(column, "to_pylist") else column.to_list()


def some_of(frame, names):
    return frame.select(names) if hasattr(frame, "select") else frame[names]


# --------------------------------------------------------------------- reading


def test_the_same_columns_are_categories(model):
    assert model.is_categorical_.tolist() == [False, False, True, True, True]


def test_scores_are_those_of_pandas(model, frame, of_plain_pandas):
    expected = of_plain_pandas.score_samples(of_pandas())
    np.testing.assert_array_equal(model.score_samples(frame), expected)
    np.testing.assert_array_equal(of_plain_pandas.score_samples(frame), expected)
    assert list(model.feature_names_in_) == NAMES


def test_an_enum_lists_its_categories(model):
    sizes = {column: size for column, size, _ in model._reader.categories}
    assert sizes[4] == 3


# --------------------------------------------------------------------- writing


def test_imputed_rows_come_back_as_they_came(model, frame):
    filled = model.impute(frame)
    assert type(filled) is type(frame)
    assert dtypes_of(filled) == dtypes_of(frame)
    for name in NAMES:
        before, after = values_of(frame, name), values_of(filled, name)
        assert None not in after
        pairs = zip(before, after, strict=True)
        assert all(a is None or a == b for a, b in pairs), name
    if isinstance(frame, pd.DataFrame):
        assert filled.index.equals(frame.index)


def test_imputed_rows_are_found_by_their_labels(model, frame):
    if not isinstance(frame, pd.DataFrame):
        pytest.skip("only pandas has labels")
    label = frame.index[3]
    frame = frame.copy()
    column = frame["s"].copy()
    column.loc[label] = model.impute(frame)["s"].loc[label]
    assert column.notna().all()


def same_dtypes(sample, frame, like=("s", "b", "c")):
    found, expected = dtypes_of(sample), dtypes_of(frame)
    return all(found[name] == expected[name] for name in like)


def test_samples_are_of_the_kind_of_fit(model, frame):
    sample = model.sample(4, random_state=0)
    assert type(sample) is type(frame)
    assert list(dtypes_of(sample)) == NAMES
    assert same_dtypes(sample, frame)


def with_reader(model, arrays):
    """Return a copy of a model with a reader that was stored as arrays."""
    copied = copy.copy(model)
    copied._reader = TableReader.from_arrays(pickle.loads(pickle.dumps(arrays)))
    return copied


def test_stored_models_write_the_same_frames(model, frame):
    stored = with_reader(model, model._reader.to_arrays())
    sample = stored.sample(4, random_state=0)
    assert type(sample) is type(frame)
    assert dtypes_of(sample) == dtypes_of(model.sample(4, random_state=0))


def test_a_dict_is_one_row(model, frame):
    sample = model.sample(3, given={"s": "u", "i": 2}, random_state=0)
    assert type(sample) is type(frame)
    assert values_of(sample, "s") == ["u"] * 3
    assert values_of(sample, "i") == [2] * 3
    assert same_dtypes(sample, frame, ("i", "s", "b", "c"))


def test_a_dict_of_lists_is_some_rows(model):
    sample = model.sample(2, given={"s": ["u", "v"], "b": True}, random_state=0)
    assert values_of(sample, "s") == ["u", "u", "v", "v"]
    assert values_of(sample, "b") == [True] * 4


def test_a_frame_of_some_columns_is_completed(model, frame):
    given = some_of(frame, ["c", "i"])[:2]
    sample = model.sample(2, given=given, random_state=0)
    assert type(sample) is type(frame)
    assert list(dtypes_of(sample)) == NAMES
    assert values_of(sample, "i") == np.repeat(values_of(given, "i"), 2).tolist()
    assert values_of(sample, "c") == np.repeat(values_of(given, "c"), 2).tolist()
    assert same_dtypes(sample, frame, ("i", "s", "b", "c"))
    if isinstance(frame, pd.DataFrame):
        assert sample.index.equals(given.index.repeat(2))


def test_given_of_another_kind_decides(model):
    given = of_pandas()[["s"]][:1]
    sample = model.sample(1, given=given.fillna("u"), random_state=0)
    assert isinstance(sample, pd.DataFrame)
    assert sample.index.tolist() == given.index.tolist()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"town": "u"}, "'given' parameter has a column 'town'.*'x', 'i', 's'"),
        ({"s": ["u", "v"], "b": [True]}, "'given' parameter is no table"),
        ({"s": "y"}, "unknown categories 'y' in column 's'"),
    ],
)
def test_given_is_refused_by_name(given, message, of_plain_pandas):
    with pytest.raises(ValueError, match=message):
        of_plain_pandas.sample(given=given)


def test_an_array_given_comes_back_as_one(of_plain_pandas):
    given = of_pandas().to_numpy(dtype=object)[:1]
    given[0, 0] = None
    with pytest.warns(UserWarning, match="valid feature names"):
        sample = of_plain_pandas.sample(2, given=given, random_state=0)
    assert isinstance(sample, np.ndarray)
    assert sample[:, 2].tolist() == [given[0, 2]] * 2


def test_a_row_of_a_frame_is_given(of_plain_pandas):
    row = of_pandas().iloc[0].drop("x")
    sample = of_plain_pandas.sample(2, given=row, random_state=0)
    assert sample["s"].tolist() == [row["s"]] * 2


# ---------------------------------------------------------- tables of numbers only


def numbers(kind, dtype=float):
    values = (columns()["x"], columns()["b"], columns()["i"])
    data = dict(zip("pqr", np.array(values, dtype=dtype), strict=True))
    if kind == "pandas":
        return pd.DataFrame(data, index=np.arange(N_ROWS) + 100)
    library = pytest.importorskip(kind, reason=f"{kind} is not installed")
    if kind == "polars":
        pytest.importorskip("narwhals", reason="narwhals is not installed")
    return library.table(data) if kind == "pyarrow" else library.DataFrame(data)


def labels():
    return np.arange(N_ROWS) % 2


NUMERIC = {
    "density": lambda: EBMDensityEstimator(**QUICK),
    "classifier": lambda: JEMClassifier(**QUICK, stacking=False),
    "GaussianRBM": lambda: GaussianRBM(2, n_iter=1, random_state=0),
}


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow"])
@pytest.mark.parametrize("estimator", NUMERIC)
def test_frames_of_numbers_come_back_as_frames(estimator, kind):
    X = numbers(kind)
    model = NUMERIC[estimator]().fit(X, labels())
    given = {"p": 0.1, "q": 1.0}
    for sample in (
        model.sample(2, random_state=0),
        model.sample(2, given=given, random_state=0),
    ):
        sample = sample[0] if estimator == "classifier" else sample
        assert type(sample) is type(X)
        assert dtypes_of(sample) == dtypes_of(X)
    assert values_of(sample, "p") == [0.1] * 2
    if estimator != "classifier":
        filled = model.impute(X)
        assert type(filled) is type(X)
        assert all(values_of(filled, name) == values_of(X, name) for name in "pqr")


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow"])
@pytest.mark.parametrize("dtype", [np.int64, np.float32, bool])
def test_binary_draws_keep_the_dtype(kind, dtype):
    X = numbers(kind, bool)
    values = {name: np.array(values_of(X, name), dtype=dtype) for name in "pqr"}
    if kind == "pandas":
        X = pd.DataFrame(values)
    else:
        library = sys.modules[kind]
        X = library.table(values) if kind == "pyarrow" else library.DataFrame(values)
    model = BernoulliRBM(2, n_iter=1, random_state=0).fit(X)
    sample = model.sample(3, random_state=0, n_steps=20)
    assert dtypes_of(sample) == dtypes_of(X)
    classifier = RBMClassifier(2, n_iter=1, random_state=0).fit(X, labels())
    sample, _ = classifier.sample(3, random_state=0, n_steps=20)
    assert dtypes_of(sample) == dtypes_of(X)
    assert model.gibbs(X).dtype == bool


def test_gaps_in_whole_numbers_are_filled_by_their_labels():
    X = pd.DataFrame({"x": np.arange(60.0), "n": pd.array([1, 2] * 30, dtype="Int64")})
    X.index = X.index[::-1]
    model = GaussianRBM(2, n_iter=1, random_state=0).fit(X)
    X.loc[[5, 7], "n"] = pd.NA
    filled = model.impute(X)
    assert filled.index.equals(X.index)
    assert filled["n"].dtype == "Int64"
    assert filled["n"].drop([5, 7]).equals(X["n"].drop([5, 7]))
    assert filled["n"].notna().all()


def test_integer_names_come_back():
    X = of_pandas().set_axis(range(5), axis=1)
    model = EBMDensityEstimator(**QUICK).fit(X)
    assert model.impute(X).columns.tolist() == [0, 1, 2, 3, 4]
    assert model.sample(1, given={2: "u"}, random_state=0)[2].tolist() == ["u"]


def test_given_columns_of_integer_names_go_by_name():
    X = pd.DataFrame(numbers("pandas").to_numpy())
    model = EBMDensityEstimator(**QUICK).fit(X)
    sample = model.sample(2, given=pd.DataFrame({1: [1]}), random_state=0)
    assert sample[1].tolist() == [1, 1]
    given = pd.DataFrame({2: [5], 1: [np.nan], 0: [0.5]})
    sample = model.sample(2, given=given, random_state=0)
    assert sample.columns.tolist() == [0, 1, 2]
    assert (sample[[0, 2]] == [0.5, 5]).all(axis=None)


@pytest.mark.parametrize("library", ["polars", "pyarrow"])
def test_given_of_another_library_has_the_dtypes_of_fit(library):
    pytest.importorskip(library)
    if library == "polars":
        pytest.importorskip("narwhals")
    model = EBMDensityEstimator(**QUICK).fit(nullable())
    make = getattr(
        sys.modules[library], "table" if library == "pyarrow" else "DataFrame"
    )
    sample = model.sample(2, given=make({"x": [0.5]}), random_state=0)
    expected = ["Boolean", "Int64"] if library == "polars" else ["bool", "int64"]
    assert [dtypes_of(sample)[name] for name in "bi"] == expected


def test_an_array_takes_numbers_of_columns():
    X = numbers("pandas").to_numpy()
    model = EBMDensityEstimator(**QUICK).fit(X)
    sample = model.sample(2, given={0: 0.5}, random_state=0)
    assert isinstance(sample, np.ndarray)
    assert sample[:, 0].tolist() == [0.5, 0.5]


# --------------------------------------------------------- machines of categories


def test_softmax_machines_write_what_they_read(frame):
    X = some_of(frame, ["s", "b", "c"])
    model = SoftmaxRBM(2, n_iter=1, random_state=0).fit(X)
    for written in (model.impute(X), model.sample(2, random_state=0, n_steps=20)):
        assert type(written) is type(X)
        assert dtypes_of(written) == dtypes_of(X)
    given = model.sample(1, given={"c": "hi"}, random_state=0, n_steps=20)
    assert values_of(given, "c") == ["hi"]


@pytest.mark.parametrize(
    "values",
    [
        pd.cut(np.arange(60.0), 3),
        pd.Categorical(["b", "a"] * 30, categories=["b", "a"], ordered=True),
        pd.date_range("2020", periods=2).repeat(30),
        pd.period_range("2020", periods=2, freq="M").repeat(30),
        pd.Categorical([3, 1] * 30),
        [True, None] * 30,
        np.resize([0.5, 2.5], 60),
    ],
    ids=["intervals", "ordered", "dates", "periods", "ints", "gaps", "floats"],
)
def test_skops_stores_all_kinds_of_categories(values):
    skops = pytest.importorskip("skops.io", reason="skops is not installed")
    X = pd.DataFrame({"a": values, "b": ["u", "v"] * 30})
    model = SoftmaxRBM(2, n_iter=1, random_state=0).fit(X)
    stored = skops.dumps(model)
    trusted = skops.get_untrusted_types(data=stored)
    assert trusted == ["skebm.estimators.boltzmann._softmax.SoftmaxRBM"]
    loaded = skops.loads(stored, trusted=trusted)
    np.testing.assert_array_equal(loaded.score_samples(X), model.score_samples(X))
    pd.testing.assert_frame_equal(loaded.impute(X), model.impute(X))


# ------------------------------------------------------------------ old states


def test_a_state_without_the_kind_of_table_loads(of_plain_pandas):
    arrays = of_plain_pandas._reader.to_arrays()
    for name in ("format", "by_dtype"):
        del arrays[name]
    loaded = with_reader(of_plain_pandas, arrays)
    sample = loaded.sample(2, random_state=0)
    assert list(sample.columns) == NAMES
    assert sample["c"].dtype == of_pandas()["c"].dtype


def test_polars_without_narwhals(of_plain_pandas, monkeypatch):
    frame = of_polars()
    monkeypatch.setitem(sys.modules, "narwhals", None)
    with pytest.raises(ImportError, match=r"of polars.*narwhals.*to_pandas\(\)"):
        of_plain_pandas.score_samples(frame)


# ------------------------------------------------------------- changed options


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize(
    ("first", "then", "message"),
    [
        ({}, {"categorical_features": ["c", "i", "b"]}, "columns 'i' and 's'"),
        ({}, {"categorical_features": None}, "columns 's', 'b' and 'c'"),
        ({"atoms": None}, {"atoms": "auto"}, "'atoms' parameter"),
    ],
)
def test_changed_columns_are_refused(first, then, message, method):
    X = of_pandas().fillna("u")
    model = EBMDensityEstimator(**QUICK, **first, warm_start=True).fit(X)
    with pytest.raises(ValueError, match=f"{message}.*can't go on"):
        getattr(model.set_params(**then), method)(X)


def test_a_batch_without_words_goes_on():
    X = of_pandas()
    model = EBMDensityEstimator(**QUICK).fit(X)
    batch = X[:20].assign(s=np.nan)
    assert np.isfinite(model.partial_fit(batch).score_samples(X)).all()
