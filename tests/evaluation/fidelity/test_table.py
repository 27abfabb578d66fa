"""Tables with named columns, and rows with gaps that estimators are asked for."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from skebm.evaluation.fidelity._table import ShownTable

FRAME = pd.DataFrame(
    {
        "age": [31, 40, 22],
        "height": [1.7, np.nan, 1.9],
        "job": ["cook", "clerk", "cook"],
        "rank": pd.Categorical(["low", "high", "low"], ["low", "mid", "high"]),
        "flag": [True, False, True],
    }
)


def test_names_and_categories_of_frames_and_arrays():
    table = ShownTable.of(FRAME)
    assert table.names == ["age", "height", "job", "rank", "flag"]
    assert table.is_categorical.tolist() == [False, False, True, True, True]
    assert table.categories(2).tolist() == ["clerk", "cook"]
    assert table.categories(3).tolist() == ["low", "high"]  # seen, in their order
    assert table.index("job") == 2 and table.index(-1) == 4
    array = ShownTable.of(FRAME[["age", "height"]].to_numpy())
    assert array.names == ["column 0", "column 1"]


def test_polars_frames_are_like_those_of_pandas():
    table = ShownTable.of(pl.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]}))
    assert table.names == ["a", "b"] and table.is_categorical.tolist() == [False, True]


@pytest.mark.parametrize("column", ["weight", 5, -6, None, 1.0])
def test_an_unknown_column_is_refused_by_name(column):
    with pytest.raises(ValueError, match=r"age, height, job, rank, flag\. Got"):
        ShownTable.of(FRAME).index(column)


def test_columns_are_named_once_and_where_there_are_many():
    table = ShownTable.of(FRAME)
    assert table.indices(None, 5, "columns") == [0, 1, 2, 3, 4]
    assert table.indices("age", 1, "columns") == [0]
    with pytest.raises(ValueError, match=r"'columns' .* more than 4"):
        table.indices(None, 4, "columns")
    with pytest.raises(ValueError, match="each once"):
        table.indices(["age", 0], 4, "columns")


def test_numbers_have_the_codes_of_the_first_tables_categories():
    table = ShownTable.of(FRAME)
    other = table.like(FRAME.assign(job=["baker", "cook", None]))
    np.testing.assert_array_equal(table.as_numbers()[:, 2], [1, 0, 1])
    np.testing.assert_array_equal(other.as_numbers(table)[:, 2], [2, 1, np.nan])
    with pytest.raises(ValueError, match="same columns"):
        table.like(FRAME[["age"]])


def test_rows_with_gaps_keep_dtypes_that_hold_the_values():
    table = ShownTable.of(FRAME)
    rows = table.written(2, {0: [20, 30], 3: "high", 4: [True, False]})
    assert rows["age"].tolist() == [20, 30] and rows["rank"].tolist() == ["high"] * 2
    assert rows["flag"].tolist() == [True, False]
    assert rows["rank"].dtype == FRAME["rank"].dtype
    assert rows[["height", "job"]].isna().all(axis=None)
    assert table.blank(3).isna().all(axis=None)
    array = ShownTable.of(np.eye(2)).written(1, {1: 5})
    np.testing.assert_array_equal(array, [[np.nan, 5.0]])
