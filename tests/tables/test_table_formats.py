"""A format gives columns its dtypes where these hold the values, else wider ones."""

import numpy as np
import pandas as pd
import pytest

from skebm.tables._frames import TableFormat


def written(column, dtype, *, by_word=False):
    """Return the dtype of a column written in a pandas format, and its values."""
    like = pd.DataFrame({"a": pd.Series([], dtype=dtype)})
    table_format = TableFormat.of_pandas(like).without_labels()
    if by_word:
        table_format = TableFormat.from_arrays(table_format.to_arrays())
    found = table_format.write(pd.DataFrame({0: column}))["a"]
    return str(found.dtype), found.tolist()


@pytest.mark.parametrize("by_word", [False, True])
@pytest.mark.parametrize(
    ("column", "dtype", "expected"),
    [
        ([1.0, 2.0], "int64", "int64"),
        ([1.0, 2.5], "int64", "float64"),
        ([1.0, 300.0], "uint8", "float64"),
        ([1.0, -1.0], "uint8", "float64"),
        ([1.0, np.nan], "int32", "float64"),
        ([1.0, np.inf], "int32", "float64"),
        ([1.0, 2.0], "Int64", "Int64"),
        ([1.0, 2.5], "Int64", "Float64"),
        ([1.0, 2.5], "float32", "float32"),
        ([0.0, 1.0], "bool", "bool"),
        ([0.0, 0.5], "bool", "float64"),
        ([0.0, 1.0], "boolean", "boolean"),
        ([0.0, 0.5], "boolean", "Float64"),
        ([0.0, 0.5], "object", "float64"),
        (["u", "v"], "object", "object"),
        (["u", "v"], "string", "string"),
    ],
)
def test_dtypes_of_pandas(column, dtype, expected, by_word):
    found, values = written(column, dtype, by_word=by_word)
    assert found == expected
    np.testing.assert_array_equal(values, column)


@pytest.mark.parametrize("by_word", [False, True])
@pytest.mark.parametrize(
    ("column", "dtype", "expected"),
    [
        ([1.0, 2.0], "int64[pyarrow]", "int64[pyarrow]"),
        ([1.0, 2.5], "int64[pyarrow]", "double[pyarrow]"),
        ([0.0, 1.0], "bool[pyarrow]", "bool[pyarrow]"),
        ([0.0, 0.5], "bool[pyarrow]", "double[pyarrow]"),
        (["u", "v"], "large_string[pyarrow]", "large_string[pyarrow]"),
    ],
)
def test_dtypes_that_arrow_backs(column, dtype, expected, by_word):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    assert written(column, dtype, by_word=by_word) == (expected, column)


def test_a_category_that_lacks_a_value_is_not_taken():
    known = pd.Series(["u", "v"], dtype=pd.CategoricalDtype(["u", "v"]))
    found, values = written(known, pd.CategoricalDtype(["u"]))
    assert (found, values) == ("category", ["u", "v"])
    narrow = pd.CategoricalDtype(["v", "w", "u"], ordered=True)
    like = pd.DataFrame({"a": pd.Series([], dtype=narrow)})
    frame = TableFormat.of_pandas(like).without_labels().write(pd.DataFrame({0: known}))
    assert frame["a"].dtype == narrow


@pytest.mark.parametrize("library", ["polars", "pyarrow"])
@pytest.mark.parametrize("by_word", [False, True])
@pytest.mark.parametrize(
    ("column", "polars_dtype", "arrow_dtype", "is_held"),
    [
        ([1.0, 2.0], "Int16", "int16", True),
        ([1.0, 2.5], "Int16", "int16", False),
        ([1.0, 1e6], "Int16", "int16", False),
        ([1.0, -2.0], "UInt8", "uint8", False),
        ([1.0, 2.5], "Float32", "float32", True),
        ([0.0, 1.0], "Boolean", "bool_", True),
        ([0.0, 0.5], "Boolean", "bool_", False),
        ([0.0, 0.5], "String", "string", False),
        (["u", "v"], "String", "large_string", True),
        (["u", "v"], "Categorical", "string", True),
    ],
)
def test_dtypes_of_other_libraries(
    column, polars_dtype, arrow_dtype, is_held, by_word, library
):
    module = pytest.importorskip(library, reason=f"{library} is not installed")
    if library == "polars":
        nw = pytest.importorskip("narwhals", reason="narwhals is not installed")
        dtype = getattr(module, polars_dtype)
        like = module.DataFrame({"a": module.Series([], dtype=dtype)})
        table_format = TableFormat.of_narwhals(nw.from_native(like))
        default = module.Float64
    else:
        dtype = getattr(module, arrow_dtype)()
        like = module.table({"a": module.array([], dtype)})
        table_format = TableFormat.of_arrow(like)
        default = module.float64()
    if by_word:
        table_format = TableFormat.from_arrays(table_format.to_arrays())
    found = table_format.write(pd.DataFrame({0: column}))
    assert type(found) is type(like)
    expected = dtype if is_held else default
    assert expected == (found["a"].dtype if library == "polars" else found["a"].type)
    values = found["a"].to_list() if library == "polars" else found["a"].to_pylist()
    assert values == column


def test_labels_stand_for_the_rows_that_follow():
    like = pd.DataFrame({"a": [0.0, 0.0]}, index=pd.Index(["p", "q"], name="who"))
    table = TableFormat.of_pandas(like).write_numbers(np.arange(6.0).reshape(6, 1))
    assert table.index.tolist() == ["p"] * 3 + ["q"] * 3
    assert table.index.name == "who"
