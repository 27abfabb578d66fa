"""Data frames of pandas, polars, pyarrow: seen as pandas frames, written as they came.

Other libraries than pandas are read through narwhals, which scikit-learn brings along
from 1.9 on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

#: Modules whose objects are no data frames: narwhals is not asked about them.
NO_FRAMES = {"builtins", "numpy", "scipy", "torch", "pandas", "sklearn", "collections"}


@dataclass(frozen=True, eq=False)
class TableFormat:
    """How a table came, so that one like it can be written.

    Attributes
    ----------
    library : str, default="numpy"
        "numpy" for arrays and lists, "pandas", or what narwhals calls the library.
    names : sequence, default=()
        Names of the columns of a data frame.
    dtypes : sequence, default=()
        Their dtypes: the library's, or words; None where it doesn't matter.
    labels : Index or None, default=None
        Labels of the rows of a pandas frame.
    """

    library: str = "numpy"
    names: Any = ()
    dtypes: Sequence[Any] = ()
    labels: pd.Index | None = None

    @classmethod
    def of_pandas(cls, X):
        """Return the format of a pandas frame."""
        return cls("pandas", X.columns, list(X.dtypes), X.index)

    @classmethod
    def of_narwhals(cls, X):
        """Return the format of a narwhals frame."""
        return cls(X.implementation.value, X.columns, list(X.schema.values()))

    def to_arrays(self):
        """Return library, names and dtypes as lists and words."""
        return {
            "library": self.library,
            "names": list(self.names),
            "dtypes": [_word(dtype) for dtype in self.dtypes],
        }

    @classmethod
    def from_arrays(cls, arrays):
        """Return the format that `to_arrays` described."""
        return cls(**arrays)

    def without_labels(self):
        """Return the format without labels of rows."""
        return replace(self, labels=None)

    def of_columns(self, names, dtypes):
        """Return the format of a frame of the same library with these columns."""
        return replace(self, names=names, dtypes=dtypes)

    def write(self, X: pd.DataFrame) -> Any:
        """Return an array or a frame of this format with the values of X.

        Where X has more rows than the format has labels, each label stands for as many
        rows that follow each other. Columns get the dtypes of the format where these
        hold their values.
        """
        if self.library == "numpy":
            return X.infer_objects().to_numpy()
        pairs = zip(range(X.shape[1]), self.dtypes, strict=True)
        if self.library != "pandas":
            columns = [X.iloc[:, j] for j in range(X.shape[1])]
            return _write_by_narwhals(self.library, self.names, columns, self.dtypes)
        columns = {j: _cast(X.iloc[:, j], dtype) for j, dtype in pairs}
        written = pd.DataFrame(columns, index=X.index)
        written.columns = self.names
        if self.labels is not None:
            written.index = self.labels.repeat(len(X) // max(len(self.labels), 1))
        return written

    def write_numbers(self, table: np.ndarray) -> Any:
        """Return an array of numbers as it is, or as a frame of this format."""
        return table if self.library == "numpy" else self.write(pd.DataFrame(table))


#: The format of arrays and lists.
ARRAYS = TableFormat()


def narwhals_frame(X):
    """Return X as a narwhals data frame; None where it is none.

    Raises
    ------
    ImportError
        Where narwhals is missing and X is a frame of polars or pyarrow.
    """
    library = type(X).__module__.partition(".")[0]
    if library in NO_FRAMES:
        return None
    try:
        import narwhals as nw
    except ImportError:
        if library not in ("polars", "pyarrow"):
            return None
        raise ImportError(
            f"X is a {type(X).__name__} of {library}, which skebm reads through "
            "narwhals: pip install narwhals, or pass X.to_pandas()."
        ) from None
    frame = nw.from_native(X, pass_through=True)
    return frame if isinstance(frame, nw.DataFrame) else None


def plain(X):
    """Return a pandas frame with categories in place of Arrow's dictionaries."""
    for j, dtype in enumerate(X.dtypes):
        if str(dtype).startswith("dictionary"):
            X = X.copy(deep=False)
            X.isetitem(j, X.iloc[:, j].array.__arrow_array__().to_pandas().array)
    return X


def view(frame):
    """Return a narwhals frame as a pandas frame."""
    columns = {j: _column(series) for j, series in enumerate(frame.iter_columns())}
    X = pd.DataFrame(columns)
    X.columns = frame.columns
    return X


def _column(series):
    """Return a narwhals series as a pandas series or array."""
    import narwhals as nw

    dtype = series.dtype
    if dtype == nw.Decimal:
        values = [None if v is None else float(v) for v in series.to_list()]
        return np.array(values, dtype=np.float64)
    if dtype.is_numeric():
        return series.to_numpy()
    values = series.to_list()
    if dtype == nw.Boolean:
        return pd.array(values, dtype="boolean" if None in values else "bool")
    if dtype == nw.String:
        return pd.array(values, dtype="string")
    if dtype == nw.Enum:
        return pd.Categorical(values, categories=list(dtype.categories))
    if dtype == nw.Categorical:
        # polars shares its list among all columns; Arrow's belongs to the column
        is_arrow = series.implementation.is_pyarrow()
        known = series.cat.get_categories().to_list() if is_arrow else None
        return pd.Categorical(values, categories=known)
    if dtype.is_temporal() and dtype != nw.Time:
        return pd.Series(series.to_numpy())
    if dtype == nw.Unknown and all(value is None for value in values):
        return np.full(len(values), np.nan)
    if dtype.is_nested() or dtype == nw.Binary:
        raise TypeError(
            f"X must hold numbers or categories. Got column {series.name!r} ({dtype})."
        )
    return pd.Series(values, dtype=object)


def _word(dtype):
    """Return a dtype as a word that `_cast` or `_narwhals_dtype` knows."""
    kind = dtype if isinstance(dtype, type) else type(dtype)
    return kind.__name__ if kind.__module__.startswith("narwhals") else str(dtype)


def _cast(column: pd.Series, dtype: Any) -> pd.Series:
    """Return a pandas column of this dtype where that holds the values, or the next."""
    wider: list[Any] = [dtype]
    if str(dtype).endswith("[pyarrow]"):
        wider.append("double[pyarrow]")
    elif pd.api.types.is_extension_array_dtype(dtype) and _is_number(dtype):
        wider.append("Float64")
    for candidate in wider:
        if (cast := _try_cast(column, candidate)) is not None:
            return cast
    return column


def _is_number(dtype):
    return pd.api.types.is_numeric_dtype(dtype)


def _try_cast(column: pd.Series, dtype: Any) -> pd.Series | None:
    """Return a pandas column of this dtype; None where that doesn't hold its values."""
    if dtype is None or column.dtype == dtype:
        return column
    is_bool = pd.api.types.is_bool_dtype(column.dtype)
    from_numbers = _is_number(column.dtype) and not is_bool
    if from_numbers and pd.api.types.is_object_dtype(dtype):
        return column
    try:
        with np.errstate(invalid="ignore", over="ignore"):
            cast = column.astype(dtype)
        same = cast.notna().to_numpy() == column.notna().to_numpy()
        if from_numbers and not pd.api.types.is_float_dtype(dtype):
            back = cast.to_numpy(dtype=np.float64, na_value=np.nan)
            same &= (back == column.to_numpy(np.float64)) | np.isnan(back)
    except (TypeError, ValueError, OverflowError, NotImplementedError):
        return None
    return cast if same.all() else None


def _write_by_narwhals(library, names, columns, dtypes):
    """Return a frame of a library that narwhals knows."""
    import narwhals as nw

    data, schema = {}, {}
    for name, column, dtype in zip(names, columns, dtypes, strict=True):
        if isinstance(dtype, str):
            dtype = getattr(nw, dtype, None)
        values, schema[name] = _narwhals_values(nw, column, dtype)
        data[name] = nw.new_series(name, values, schema[name], backend=library)
    return nw.from_dict(data).to_native()


def _narwhals_values(nw, column, dtype):
    """Return values and their narwhals dtype: the given one where it holds them."""
    known = column.dropna()
    values = column.astype(object).where(column.notna(), None).tolist()
    if isinstance(column.dtype, pd.CategoricalDtype):
        known = known.astype(column.cat.categories.dtype)
    if not _is_number(known.dtype):
        listed = list(dict.fromkeys(known))
        if dtype == nw.Enum:
            own = None if isinstance(dtype, type) else dtype.categories
            if own is None and isinstance(column.dtype, pd.CategoricalDtype):
                own = column.cat.categories
            if own is not None and set(listed) <= set(own):
                return values, nw.Enum(list(own))
        as_words = all(isinstance(value, str) for value in listed)
        fits = as_words and dtype in (nw.String, nw.Categorical)
        return values, dtype if fits else (nw.String if as_words else None)
    numbers = known.to_numpy(np.float64)
    if dtype is None or dtype.is_float() or dtype.is_decimal():
        return values, nw.Float32 if dtype == nw.Float32 else nw.Float64
    whole = bool((numbers == np.floor(numbers)).all())
    if dtype.is_integer() and whole and _within(dtype, numbers):
        return [None if v is None else int(v) for v in values], dtype
    if dtype == nw.Boolean and np.isin(numbers, (0.0, 1.0)).all():
        return [None if v is None else bool(v) for v in values], dtype
    return values, nw.Float64


def _within(dtype, numbers):
    """Return whether a dtype of integers holds all numbers."""
    name = (dtype if isinstance(dtype, type) else type(dtype)).__name__.lower()
    if name.endswith("128"):
        return True
    bounds = np.iinfo(name)
    return bool(((numbers >= bounds.min) & (numbers <= bounds.max)).all())
