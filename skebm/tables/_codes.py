"""Tables of numbers and categories: codes in the place of categories, and back."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.utils.validation import _num_features

from skebm.tables._categories import CategoryTable, as_frame
from skebm.tables._encoder import MixedStandardizer
from skebm.tables._standardizer import IMPUTE, Standardizer, check_finite, check_numbers

KNOW_THEM = "Fit on pandas category columns that list all values."


class CategoricalColumnsMixin:
    """Reads tables whose columns may be categories, by ``categorical_features``.

    Where none is, everything is as without this mixin.
    """

    _coded = None

    def _read_table(self, X, *, reset, min_rows=1, allow_nan=False):
        """Return X as numbers; on ``reset`` learn which columns are categories."""
        if reset:
            mask = categorical_mask(X, self.categorical_features)
            self.is_categorical_ = mask if mask.any() else None
        if self.is_categorical_ is None:
            X = super()._read_table(
                X, reset=reset, min_rows=min_rows, allow_nan=allow_nan
            )
            # So that an atom that is filled in is that very number.
            cells = self.atoms if reset else self._standardizer.cells
            return X.astype(np.float64, copy=False) if cells else X
        options = {"min_rows": min_rows, "allow_nan": allow_nan, "advice": IMPUTE}
        X = as_frame(self, X, reset=reset, **options)
        if reset:
            self._coded = CodedColumns(X, self.is_categorical_)
        table = self._coded.encode(X)
        check_finite(self, table, allow_nan)
        return table

    def _write_table(self, table):
        """Return numbers as what `fit` saw: a data frame or an array."""
        if self.is_categorical_ is None:
            return table
        X = self._coded.decode(table)
        if hasattr(self, "feature_names_in_"):
            return X
        return X.infer_objects().to_numpy()

    def _make_standardizer(self):
        if self.is_categorical_ is None and self.atoms is None:
            return Standardizer(self._range_share)
        columns, sizes = [], []
        if self.is_categorical_ is not None:
            columns, sizes = self._coded.columns, self._coded.sizes()
        return MixedStandardizer(
            self._range_share, columns, sizes, self.atoms == "auto"
        )


class CodedColumns:
    """The categories of some columns of a data frame, in which the rest are numbers."""

    def __init__(self, X, mask):
        self.columns, self.names = np.flatnonzero(mask), list(X.columns)
        self._categories = CategoryTable(X.iloc[:, self.columns])

    def sizes(self):
        """Return the number of categories of each."""
        return self._categories.sizes()

    def encode(self, X):
        """Return the frame as float64 numbers, codes where its columns are categories.

        NaN where an entry is missing.

        Raises
        ------
        ValueError, TypeError
            Where a value is no category of its column, or another column has no
            numbers.
        """
        rest = np.setdiff1d(np.arange(X.shape[1]), self.columns)
        check_numbers(X.iloc[:, rest])
        table = np.empty(X.shape)
        for j in rest:
            table[:, j] = X.iloc[:, j].to_numpy(dtype=np.float64, na_value=np.nan)
        known = X.iloc[:, self.columns]
        table[:, self.columns] = self._categories.encode(known, advice=KNOW_THEM)
        return table

    def decode(self, table):
        """Return the data frame of such numbers."""
        X = pd.DataFrame(table, columns=self.names)
        values = self._categories.decode(table[:, self.columns].astype(np.int64))
        for k, j in enumerate(self.columns):
            X.isetitem(j, values.iloc[:, k])
        return X


def categorical_mask(X, features):
    """Return which columns of X are categories.

    Parameters
    ----------
    X : array-like
        A table.
    features : "from_dtype", None or array-like
        "from_dtype" takes the columns of a data frame that are pandas categories,
        booleans or words; else a mask, numbers or names of columns.

    Raises
    ------
    ValueError
        Where ``features`` are none of these, or name no column of X.
    """
    shape = getattr(X, "shape", None)
    n_features = _num_features(X) if shape is None or len(shape) == 2 else 0
    mask = np.zeros(n_features, dtype=bool)
    if features is None:
        return mask
    if isinstance(features, str):
        if isinstance(X, pd.DataFrame):
            mask[:] = [_holds_categories(X.iloc[:, j]) for j in range(n_features)]
        return mask
    chosen = np.asarray(features)
    if not chosen.size:
        return mask
    if chosen.dtype.kind == "b" and chosen.shape == mask.shape:
        return chosen.copy()
    names = list(getattr(X, "columns", []))
    for feature in chosen.ravel().tolist():
        if chosen.dtype.kind in "iu" and 0 <= feature < n_features:
            mask[feature] = True
        elif chosen.dtype.kind in "OUT" and feature in names:
            mask[names.index(feature)] = True
        else:
            raise ValueError(
                "The 'categorical_features' parameter must be 'from_dtype', None, a "
                f"mask of {n_features} booleans, or numbers from 0 to "
                f"{n_features - 1} or names of columns of X. Got {feature!r} instead."
            )
    return mask


def _holds_categories(column):
    """Tell a column of categories, booleans or words from one of numbers."""
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype) or pd.api.types.is_bool_dtype(dtype):
        return True
    if not pd.api.types.is_object_dtype(dtype):
        return pd.api.types.is_string_dtype(dtype)
    observed = column.dropna()
    if 0 < len(observed) < len(column):  # what pandas makes of booleans with gaps
        if all(isinstance(value, (bool, np.bool_)) for value in observed):
            return True
    try:
        observed.to_numpy().astype(np.float64)
    except (TypeError, ValueError):
        return any(isinstance(value, str) for value in observed)
    return False
