"""Drift of tables: the level holds exactly, and the report tells what moved."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from skebm.evaluation import drift_test
from skebm.evaluation.drift._features import coordinates
from skebm.evaluation.drift._permutation import Permuted, kernels, linear, pairs
from skebm.evaluation.drift._pool import Pool

TEST_ALONE = {"n_permutations": 199, "n_splits": 0, "random_state": 0}
FEW = {"n_permutations": 19, "n_splits": 2, "random_state": 0}


def mixed(n, rng):
    """Return a frame of two dependent numbers, a category and gaps."""
    z = rng.normal(size=n)
    frame = pd.DataFrame(
        {
            "age": np.round(40 + 9 * z),
            "pay": np.exp(0.8 * z + 0.6 * rng.normal(size=n)),
            "job": rng.choice(["clerk", "nurse", "smith"], n, p=[0.5, 0.3, 0.2]),
        }
    )
    frame.loc[rng.uniform(size=n) < 0.1, "pay"] = np.nan
    return frame


# ------------------------------------------------------------------- the level


def test_the_level_holds_in_small_tables_with_ties_and_gaps():
    rejections, n_draws = 0, 100
    for seed in range(n_draws):
        rng = np.random.RandomState(seed)
        X = np.c_[rng.poisson(1, 20), rng.standard_cauchy(20)].astype(float)
        X[rng.uniform(size=20) < 0.2, 1] = np.nan
        pool = Pool.of(X[:13], X[13:], None)
        permuted = Permuted.of(pool, 19, rng)
        rejections += permuted.p_value <= 0.05
    low, high = binom.interval(0.998, n_draws, 0.05)
    assert low <= rejections <= high


def test_statistics_know_rows_and_labels_alone():
    """In another order, rows with their labels have the same statistics."""
    rng = np.random.RandomState(0)
    pool = Pool.of(mixed(30, rng), mixed(20, rng), "from_dtype")
    order = rng.permutation(50)
    other = Pool(pool.values[order], pool.categories, pool.names, pool.n_old)
    contrast = rng.normal(size=(50, 3))
    for kind in (lambda p: linear(coordinates(p, with_ranks=True)), pair_of, plain):
        expected = kind(pool).of(contrast)
        np.testing.assert_allclose(kind(other).of(contrast[order]), expected)
        assert (expected > 0).all()


def pair_of(pool):
    return pairs(coordinates(pool))


def plain(pool):
    return kernels(coordinates(pool), np.random.RandomState(0))[0]


def test_the_plain_kernel_is_the_maximum_mean_discrepancy():
    rng = np.random.RandomState(0)
    points = rng.normal(size=(12, 2))
    distance = np.abs(points[:, None] - points).sum(axis=2)
    kernel = np.exp(-distance / np.median(distance))
    contrast = np.repeat([-1 / 5, 1 / 7], [5, 7])
    found = kernels(points, rng)[0].of(contrast[:, None])
    np.testing.assert_allclose(found, contrast @ kernel @ contrast, rtol=1e-5)


def test_the_same_rows_have_not_drifted():
    X = np.random.RandomState(0).normal(size=(40, 3))
    assert drift_test(X, X, **TEST_ALONE).p_value == 1
    constant = drift_test(np.ones((5, 2)), np.ones((4, 2)), **TEST_ALONE)
    assert constant.p_value == 1
    assert constant.columns["what"].tolist() == ["nothing"] * 2


def test_monotone_maps_of_columns_change_nothing():
    rng = np.random.RandomState(0)
    old, new = rng.normal(size=(60, 2)), rng.normal(0.4, size=(50, 2))
    one = drift_test(old, new, **TEST_ALONE)
    other = drift_test(np.exp(3 * old), np.exp(3 * new), **TEST_ALONE)
    assert other.p_value == one.p_value
    assert other.statistic == pytest.approx(one.statistic)


# -------------------------------------------------------------- what has moved


def moved_mean(X, rng):
    X["age"] += 6


def moved_share(X, rng):
    X.loc[rng.uniform(size=len(X)) < 0.25, "job"] = "smith"


def moved_gaps(X, rng):
    X.loc[rng.uniform(size=len(X)) < 0.2, "pay"] = np.nan


def moved_spread(X, rng):
    X["age"] += np.round(0.8 * (X["age"] - 40))


@pytest.mark.parametrize(
    ("change", "column", "what"),
    [
        (moved_mean, "age", "median"),
        (moved_share, "job", "share of 'smith'"),
        (moved_gaps, "pay", "share missing"),
        (moved_spread, "age", "standard deviation"),
    ],
)
def test_the_column_that_moved_comes_first(change, column, what):
    rng = np.random.RandomState(0)
    old, new = mixed(300, rng), mixed(200, rng)
    change(new, rng)
    report = drift_test(old, new, **TEST_ALONE)
    assert report.p_value <= 0.01
    first = report.columns.iloc[0]
    assert report.columns.index[0] == column
    assert first["what"] == what and first["new"] > first["old"]
    assert (report.columns["adjusted_p_value"] <= 0.05).tolist() == [True, False, False]
    assert (report.columns["adjusted_p_value"] >= report.columns["p_value"]).all()
    assert f"moved=[{column!r}]" in repr(report)


def test_few_gaps_among_many_columns():
    rng = np.random.RandomState(0)
    old, new = rng.normal(size=(100, 40)), rng.normal(size=(100, 40))
    assert "gaps" not in drift_test(old, new, **TEST_ALONE).parts
    new[:9, 7] = np.nan
    report = drift_test(old, new, **TEST_ALONE)
    assert report.parts["gaps"] <= 0.01 and report.p_value <= 0.02
    assert report.columns.index[0] == 7


def test_a_dependence_that_vanished():
    rng = np.random.RandomState(0)
    old, new = mixed(300, rng), mixed(200, rng)
    new["pay"] = new["pay"].to_numpy()[rng.permutation(200)]
    report = drift_test(old, new, **TEST_ALONE)
    assert report.p_value <= 0.01
    assert report.parts["pairs"] <= 0.01 < report.parts["columns"]
    assert (report.columns["adjusted_p_value"] > 0.05).all()


# ------------------------------------------------------------------ the ratio


def test_ratios_and_weights_of_two_gaussians():
    rng = np.random.RandomState(0)
    old, new = rng.normal(size=(600, 2)), rng.normal([0.8, 0], size=(300, 2))
    report = drift_test(old, new, **FEW)
    truth = 0.8 * old[:, 0] - 0.32
    assert np.corrcoef(report.log_ratio_old, truth)[0, 1] > 0.9
    assert np.abs(report.log_ratio_old - truth).mean() < 0.3
    assert report.weights.mean() == pytest.approx(1)
    assert np.average(old[:, 0], weights=report.weights) == pytest.approx(0.8, abs=0.2)
    assert report.effective_sample_size == pytest.approx(600 * np.exp(-0.64), rel=0.3)
    assert old[report.rows_old[:50], 0].mean() < -1
    assert new[report.rows_new[:50], 0].mean() > 1.5


def test_without_drift_all_weights_are_about_equal():
    X = np.random.RandomState(0).normal(size=(200, 2))
    report = drift_test(X[:100], X[100:], **FEW)
    assert report.effective_sample_size > 90
    assert sum(report.learner_weights.values()) == pytest.approx(1)
    alone = drift_test(X[:100], X[100:], **TEST_ALONE)
    np.testing.assert_array_equal(alone.weights, np.ones(100))


def test_many_rows_are_drawn_away_but_have_ratios():
    rng = np.random.RandomState(0)
    old, new = rng.normal(size=(300, 1)), rng.normal(1, size=(200, 1))
    report = drift_test(old, new, max_rows=60, **FEW)
    assert report.p_value == 0.05
    assert report.log_ratio_old.shape == (300,)
    assert np.corrcoef(report.log_ratio_new, new[:, 0])[0, 1] > 0.8


# ------------------------------------------------------------------ the tables


def test_columns_of_frames_go_together_by_name():
    rng = np.random.RandomState(0)
    old, new = mixed(60, rng), mixed(50, rng)
    one = drift_test(old, new, **TEST_ALONE)
    other = drift_test(old, new[["job", "pay", "age"]], **TEST_ALONE)
    assert other.statistic == one.statistic
    pair = ["age", "pay"]
    by_place = drift_test(old[pair], new[pair].to_numpy(), **TEST_ALONE)
    assert set(by_place.columns.index) == {"age", "pay"}
    with pytest.raises(ValueError, match="X_old has no 'age'"):
        drift_test(old[["pay"]], new[["age"]])
    with pytest.raises(ValueError, match=r"Got 3 and 2\. X_new has no 'age'"):
        drift_test(old, new[["job", "pay"]])


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (list("wxyz"), r"Column 'age' holds words in X_new, such as 'w', .* X_old"),
        ([1, "x", 3, 4], "Column 'age' holds words in X_new, such as 'x'"),
        ([1j] * 4, r"X_new must hold numbers\. Got column 'age'"),
        (pd.date_range("2020", periods=4), r"X_new must hold .* column 'age'"),
        ([1, 2, 3, np.inf], "X_new contains infinity in column 'age'"),
    ],
)
def test_errors_name_the_column_and_its_table(column, message):
    old = pd.DataFrame({"age": [1.0, 2, 3, 4], "job": list("abab")})
    with pytest.raises(ValueError, match=message):
        drift_test(old, old.assign(age=column))
    with pytest.raises(ValueError, match="'age'"):
        drift_test(old.assign(age=column), old)
    lists = old.assign(job=[[1]] * 4)
    with pytest.raises(TypeError, match="Column 'job' must hold words or numbers"):
        drift_test(lists, lists, categorical_features=["job"])


def test_frames_of_other_libraries():
    polars = pytest.importorskip("polars", reason="polars is not installed")
    rng = np.random.RandomState(0)
    old, new = mixed(60, rng), mixed(50, rng)
    expected = drift_test(old, new, **TEST_ALONE)
    frames = [polars.DataFrame(X.to_dict("list"), strict=False) for X in (old, new)]
    report = drift_test(*frames, **TEST_ALONE)
    assert report.statistic == pytest.approx(expected.statistic)
    assert report.columns.index.tolist() == expected.columns.index.tolist()


def test_numbers_named_as_categories():
    rng = np.random.RandomState(0)
    old, new = rng.choice(3, (100, 1)), rng.choice([0, 2], (100, 1))
    report = drift_test(old, new, categorical_features=[0], **TEST_ALONE)
    assert report.columns["what"].tolist() == ["share of 1"]
    assert report.columns["new"].tolist() == [0]


@pytest.mark.parametrize(
    ("new", "options", "message"),
    [
        ([[np.inf]], {}, "X_new contains infinity in column 0"),
        ([["a"]], {"categorical_features": None}, "categorical_features"),
        (np.empty((0, 1)), {}, "'X_new' parameter must have rows"),
        ([1.0], {}, "'X_new' parameter is no table"),
        ([[1.0]], {"n_permutations": 0}, "'n_permutations' parameter"),
        ([[1.0]], {"n_splits": 1}, "'n_splits' parameter"),
        ([[1.0]], {"max_rows": 1}, "'max_rows' parameter"),
        ([[1.0]], {"categorical_features": [3]}, "'categorical_features' parameter"),
    ],
)
def test_refusals(new, options, message):
    with pytest.raises(ValueError, match=message):
        drift_test(np.zeros((4, 1)), new, **options)


def test_one_new_row_of_a_few():
    report = drift_test(np.zeros((3, 1)), [[5.0]], n_permutations=99, random_state=0)
    assert 0.1 < report.p_value < 0.5
    np.testing.assert_array_equal(report.weights, np.ones(3))


def test_a_strong_drift_has_the_least_p_value_and_a_finite_statistic():
    """Its chi-squared tails are no floats any more."""
    rng = np.random.RandomState(0)
    old, new = rng.normal(size=(2, 3000, 3))
    report = drift_test(
        old, new + np.array([1.0, 3.0, 0.0]), n_permutations=99, n_splits=0
    )
    assert report.p_value == pytest.approx(0.01)
    assert np.isfinite(report.statistic)
    assert np.isfinite(report.columns["statistic"]).all()
    assert report.columns.index[:2].tolist() == [1, 0]


@pytest.mark.parametrize("row", [[1.0, 1.0], [0.1, 7.3]])
def test_one_row_repeated_has_not_drifted(row):
    old, new = np.tile(row, (30, 1)), np.tile(row, (20, 1))
    report = drift_test(old, new, n_permutations=199, n_splits=0)
    assert report.p_value == 1
    assert set(report.parts.values()) == {1}


def test_numbers_of_any_size_are_summed_up():
    rng = np.random.RandomState(0)
    old, new = rng.normal(size=(2, 40, 1)) * 1e200
    report = drift_test(old, 3 * new, n_permutations=19, n_splits=0)
    assert np.isfinite(report.columns[["old", "new"]].astype(float)).all(axis=None)


def test_the_order_of_categories_does_not_know_whose_rows_are_whose():
    """Of many equally frequent ones only the first have features of their own."""
    old = pd.DataFrame({"word": [f"w{k}" for k in range(60)]})
    new = old[::-1].reset_index(drop=True)
    there, back = Pool.of(old, new, "from_dtype"), Pool.of(new, old, "from_dtype")
    assert there.categories == back.categories
