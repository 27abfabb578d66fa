"""The imputer: a transformer by a density, for arrays and frames of every library."""

import copy
import pickle
from functools import partial

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skebm import EBMDensityEstimator, EBMImputer, JEMClassifier
from skebm.exceptions import DataWarning
from skebm.networks import MLP, EnsembleMLP

FAST = {
    "network": partial(MLP, hidden_features=(8,)),
    "reference": "gaussian",
    "normalizer": None,
    "max_iter": 1,
    "random_state": 0,
}


def make_imputer(**options):
    return EBMImputer(EBMDensityEstimator(**FAST), **options)


@pytest.fixture(scope="module")
def rows():
    """Two columns that tell each other, and one of noise; gaps in the first two."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=200)
    X = np.column_stack([a, 10 + a + 0.3 * rng.normal(size=200), rng.normal(size=200)])
    holes = X.copy()
    holes[::7, 0] = np.nan
    holes[3::7, 1] = np.nan
    return X, holes


@pytest.fixture(scope="module")
def fitted(rows):
    return make_imputer().fit(rows[1])


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(1)
    kind = rng.choice(["low", "high"], size=60)
    frame = pd.DataFrame(
        {
            "size": np.where(kind == "low", 0.0, 5.0) + rng.normal(size=60),
            "kind": pd.Categorical(kind),
            "count": rng.integers(0, 9, size=60).astype(float),
        },
        index=np.arange(60) + 1000,
    )
    frame.loc[frame.index[::6], "size"] = np.nan
    frame.loc[frame.index[1::6], "kind"] = None
    return frame


@pytest.fixture(scope="module")
def of_frame(frame):
    return make_imputer(add_indicator=True).fit(frame)


# ---------------------------------------------------------------------- values


def test_it_fills_as_the_density_does(rows, fitted):
    X, holes = rows
    filled = fitted.transform(holes)
    expected = EBMDensityEstimator(**FAST).fit(holes)
    np.testing.assert_array_equal(filled, expected.impute(holes))
    observed = ~np.isnan(holes)
    np.testing.assert_array_equal(filled[observed], holes[observed])
    error = np.sqrt(np.mean((filled - X)[~observed] ** 2))
    simple = SimpleImputer().fit_transform(holes)
    assert error < 0.5 * np.sqrt(np.mean((simple - X)[~observed] ** 2))


def test_new_rows_are_filled_by_what_fit_learnt_alone(rows, fitted):
    new = np.array([[np.nan, 12.0, 0.0], [1.0, np.nan, 5.0]])
    together = fitted.transform(new)
    alone = np.concatenate([fitted.transform(row[None]) for row in new])
    np.testing.assert_array_equal(together, alone)
    assert together[0, 0] == pytest.approx(2.0, abs=0.5)
    assert together[1, 1] == pytest.approx(11.0, abs=0.5)
    np.testing.assert_array_equal(fitted.transform(rows[0]), rows[0])


def test_strategies_and_draws(rows, fitted):
    holes = rows[1]
    median = clone(fitted).set_params(strategy="median").fit(holes).transform(holes)
    assert not np.isnan(median).any()
    assert (median != fitted.transform(holes)).any()
    draw = clone(fitted).set_params(strategy="draw", random_state=3).fit(holes)
    once = draw.transform(holes)
    np.testing.assert_array_equal(once, draw.transform(holes))
    tables = fitted.draw(holes, n_imputations=40, random_state=0)
    assert len(tables) == 40
    missing = np.isnan(holes)
    for table in tables:
        np.testing.assert_array_equal(table[~missing], holes[~missing])
    spread = np.std(tables, axis=0)
    assert spread[~missing].max() < 1e-13
    # Given the other, the standard deviation of each of the two is 0.29.
    assert spread[missing].mean() == pytest.approx(0.29, rel=0.2)
    means = np.mean(tables, axis=0)
    assert np.abs(means - fitted.transform(holes))[missing].mean() < 0.1
    again = fitted.draw(holes, n_imputations=40, random_state=0)
    np.testing.assert_array_equal(tables, again)


def test_draws_of_whole_rows_are_the_rows(rows, fitted):
    tables = fitted.draw(rows[0], n_imputations=2)
    np.testing.assert_array_equal(tables, [rows[0], rows[0]])


@pytest.mark.parametrize("n", [0, 2.5])
def test_a_number_of_tables_is_one(n, rows, fitted):
    for X in rows:
        with pytest.raises(ValueError, match="'n_imputations' parameter must be"):
            fitted.draw(X, n_imputations=n)


def test_one_seed_gives_one_result(rows):
    holes = rows[1]
    unseeded = EBMDensityEstimator(**FAST | {"random_state": None})
    filled = [
        EBMImputer(unseeded, random_state=seed).fit_transform(holes)
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(filled[0], filled[1])
    assert (filled[0] != filled[2]).any()


def test_an_estimator_of_classes_gets_them(rows):
    y = (rows[0][:, 0] > 0).astype(int)
    classifier = JEMClassifier(
        None,
        **FAST | {"network": partial(EnsembleMLP, hidden_features=(8,))},
        stacking=False,
        graph_weight=0.0,
    )
    imputer = EBMImputer(classifier).fit(rows[1], y)
    assert imputer.estimator_.classes_.tolist() == [0, 1]
    assert not np.isnan(imputer.transform(rows[1])).any()


# ------------------------------------------------- options of other imputers


@pytest.mark.parametrize("mark", [-999.0, -999])
def test_a_value_that_stands_for_missing_entries(mark, rows, fitted):
    holes = rows[1]
    marked = np.where(np.isnan(holes), mark, holes)
    filled = make_imputer(missing_values=mark).fit_transform(marked)
    np.testing.assert_array_equal(filled, fitted.transform(holes))


def test_frames_of_single_precision_have_the_value_too(rows):
    """99.9 is another number in float32; arrays and frames agree on it."""
    marked = np.where(np.isnan(rows[1]), 99.9, rows[1]).astype(np.float32)
    imputer = make_imputer(missing_values=99.9).fit(marked)
    assert imputer.indicator_features_.tolist() == [0, 1]
    for dtype in ("float32", "Float32"):
        of_frame = make_imputer(missing_values=99.9).fit(
            pd.DataFrame(marked).astype(dtype)
        )
        assert of_frame.indicator_features_.tolist() == [0, 1]


def test_words_that_stand_for_missing_entries(frame):
    marked = frame.assign(
        kind=frame["kind"].cat.add_categories("?").fillna("?"),
        size=frame["size"].fillna(-1.0),
    )
    imputer = make_imputer(missing_values="?").fit(marked)
    filled = imputer.transform(marked.head(7))
    assert set(filled["kind"]) == {"low", "high"}
    counts = frame[["count"]].astype(int).assign(other=1.5 * frame["count"])
    whole = make_imputer(missing_values=0).fit_transform(counts)
    assert (whole["count"] > 0).all()
    assert whole["count"].dtype == counts["count"].dtype


def test_indicators_are_those_of_simple_imputer(rows):
    holes = rows[1]
    imputer = make_imputer(add_indicator=True).fit(holes)
    expected = SimpleImputer(add_indicator=True).fit(holes)
    for table in (holes, rows[0][:5]):
        np.testing.assert_array_equal(
            imputer.transform(table)[:, 3:], expected.transform(table)[:, 3:]
        )
    assert (
        imputer.get_feature_names_out().tolist()
        == expected.get_feature_names_out().tolist()
        == ["x0", "x1", "x2", "missingindicator_x0", "missingindicator_x1"]
    )
    assert imputer.draw(holes, 2)[0].shape == (200, 5)


def test_columns_without_an_entry(rows):
    holes = np.insert(rows[1], 1, np.nan, axis=1)
    with pytest.warns(DataWarning, match="no entry in column 1: left out"):
        imputer = make_imputer().fit(holes)
    expected = make_imputer().fit_transform(rows[1])
    np.testing.assert_array_equal(imputer.transform(holes), expected)
    assert imputer.get_feature_names_out().tolist() == ["x0", "x2", "x3"]
    keeping = make_imputer(keep_empty_features=True).fit(holes)
    filled = keeping.transform(holes)
    np.testing.assert_array_equal(filled, np.insert(expected, 1, 0.0, axis=1))
    holes[:4, 1] = 7.0
    assert keeping.transform(holes)[:5, 1].tolist() == [7.0, 7.0, 7.0, 7.0, 0.0]
    with pytest.raises(ValueError, match="NaN only in"):
        make_imputer().fit(np.full((10, 2), np.nan))


def test_empty_columns_of_frames(frame):
    none = pd.Series([None] * len(frame), index=frame.index, dtype=object)
    levels = pd.Series(pd.Categorical(none, categories=["b", "a"]), index=frame.index)
    wide = frame.assign(none=none, levels=levels)
    options = {"keep_empty_features": True, "add_indicator": True}
    filled = make_imputer(**options).fit(wide).transform(wide.head(7))
    assert not filled.isna().any().any()
    assert (filled["none"] == 0).all()
    assert (filled["levels"] == "b").all()
    assert filled.columns.tolist() == [
        *wide.columns,
        *(f"missingindicator_{name}" for name in ("size", "kind", "none", "levels")),
    ]
    with pytest.warns(DataWarning, match="'none' and 'levels'"):
        dropped = make_imputer().fit(wide).transform(wide.head(7))
    assert dropped.columns.tolist() == frame.columns.tolist()


# --------------------------------------------------------------------- frames


def test_frames_come_back_as_they_were(frame, of_frame):
    imputer = of_frame
    filled = imputer.transform(frame)
    assert filled.index.equals(frame.index)
    assert filled.dtypes[:3].tolist() == frame.dtypes.tolist()
    assert filled.columns.tolist() == imputer.get_feature_names_out().tolist()
    missing = frame["kind"].isna()
    assert filled["missingindicator_kind"].tolist() == missing.tolist()
    low = filled["size"] < 2.5
    assert ((filled["kind"] == "low") == low)[missing].mean() > 0.9
    with pytest.raises(ValueError, match="feature names should match"):
        imputer.transform(frame[["kind", "size", "count"]])


@pytest.mark.parametrize("convert", [pl.from_pandas, pa.Table.from_pandas])
def test_frames_of_other_libraries(convert, frame, of_frame):
    plain = frame.head(7).reset_index(drop=True)
    expected = of_frame.transform(plain)
    filled = of_frame.transform(convert(plain))
    assert type(filled) is type(convert(plain))
    back = filled.to_pandas()
    assert back.columns.tolist() == expected.columns.tolist()
    for name in back:
        assert back[name].astype(str).tolist() == expected[name].astype(str).tolist()
    tables = of_frame.draw(convert(plain), n_imputations=2, random_state=0)
    assert all(type(table) is type(filled) for table in tables)


def test_a_frame_of_polars_in_fit(frame):
    table = pl.from_pandas(frame[["size", "count"]])
    filled = make_imputer().fit_transform(table)
    assert isinstance(filled, pl.DataFrame)
    assert filled.columns == ["size", "count"]
    assert filled["size"].null_count() == 0


def test_set_output(rows, fitted, frame, of_frame):
    for X, imputer in ((rows[1][:8], fitted), (frame.head(7), of_frame)):
        for kind in ("pandas", "polars"):
            shown = copy.copy(imputer).set_output(transform=kind)
            filled = shown.transform(X)
            assert type(filled).__module__.startswith(kind)
            assert list(filled.columns) == shown.get_feature_names_out().tolist()
            assert len(filled) == len(X)


# ------------------------------------------------------------------ pipelines


def test_before_a_classifier_in_a_pipeline(rows):
    X, holes = rows
    y = X[:, 0] + X[:, 1] > 10
    pipeline = make_pipeline(make_imputer(), StandardScaler(), LogisticRegression())
    assert pipeline.fit(holes, y).score(holes, y) > 0.9
    stored = pickle.loads(pickle.dumps(pipeline))
    np.testing.assert_array_equal(
        stored.predict_proba(holes), pipeline.predict_proba(holes)
    )


def test_in_a_column_transformer(frame):
    transformer = ColumnTransformer(
        [
            ("fill", make_imputer(), ["size", "kind"]),
            ("rest", "passthrough", ["count"]),
        ],
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    filled = transformer.fit_transform(frame)
    assert filled.columns.tolist() == ["size", "kind", "count"]
    assert filled["kind"].dtype == frame["kind"].dtype


def test_nested_parameters():
    imputer = make_imputer()
    imputer.set_params(estimator__max_iter=7)
    assert imputer.estimator.max_iter == 7
    with pytest.raises(ValueError, match="'strategy' parameter of EBMImputer"):
        make_imputer(strategy="mode").fit(np.eye(3))
    with pytest.raises(ValueError, match="'estimator' parameter of EBMImputer"):
        EBMImputer(KNNImputer()).fit(np.eye(3))
