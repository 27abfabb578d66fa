"""Reads tables with the columns of `fit` as arrays, and writes arrays as tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from skebm.estimators._tables import read_frame, read_numbers
from skebm.tables import CategoricalColumns, categorical_mask, category_kinds
from skebm.tables._checks import AS_CODES, IMPUTE, check_finite, columns_text
from skebm.tables._frames import ARRAYS, TableFormat
from skebm.tables._identifiers import warn_of_identifiers
from skebm.tables._seen import see
from skebm.utils import InvalidParameterError


@dataclass(frozen=True)
class TableReader:
    """Reads tables with the columns of `fit` as arrays, and writes arrays as tables.

    Attributes
    ----------
    columns : CategoricalColumns or None
        Translates category columns; None where all columns are numbers.
    is_categorical : ndarray of bool of shape (n_features,) or None
        Whether each column holds categories; None where none does.
    as_float64 : bool
        Whether float32 numbers are read as float64, so that imputed atoms are exact.
    has_names : bool
        Whether the table of `fit` had column names.
    format : TableFormat or None, default=None
        How the table of `fit` came; None in states that do not say so.
    by_dtype : bool, default=True
        Whether the dtypes of the table of `fit` told its categories.
    sentinels : str or None, default=None
        The option of `fit`; None where it had none, or in states that do not say so.
    kinds : tuple of (int, str), default=()
        Category columns that are "ordinal" or "cyclic".
    """

    columns: CategoricalColumns | None
    is_categorical: np.ndarray | None
    as_float64: bool
    has_names: bool
    format: TableFormat | None = None
    by_dtype: bool = True
    sentinels: str | None = None
    kinds: tuple[tuple[int, str], ...] = ()

    @property
    def decode(self):
        """What makes frames with categories of tables; None without categories."""
        return None if self.columns is None else self.columns.decode

    @classmethod
    def learn(
        cls,
        estimator,
        X,
        *,
        categorical_features=None,
        as_float64=False,
        sentinels=None,
        min_rows=1,
        allow_nan=False,
    ) -> tuple[Self, np.ndarray]:
        """Return the reader of tables like X, and X as an array.

        Sets ``n_features_in_`` and ``feature_names_in_`` of the estimator.

        Parameters
        ----------
        estimator : estimator
            A copy of the estimator that is being fitted.
        X : array-like of shape (n, n_features)
            A table.
        categorical_features : "from_dtype", None, array-like or dict
            See `skebm.tables.categorical_mask` and `category_kinds`.
        as_float64 : bool
            Whether numbers are read as float64.
        sentinels : str or None
            The option, kept for `check_options`.
        min_rows : int
            Least number of rows.
        allow_nan : bool
            Whether entries may be missing.
        """
        seen = see(X)
        mask = categorical_mask(seen.values, categorical_features)
        options = {"reset": True, "min_rows": min_rows, "allow_nan": allow_nan}
        columns = None
        if mask.any():
            frame = read_frame(estimator, seen, advice=IMPUTE, **options)
            columns = CategoricalColumns(frame, mask)
            table = columns.encode(frame, advice=AS_CODES)
            check_finite(estimator, table, allow_nan)
            names = getattr(estimator, "feature_names_in_", None)
            warn_of_identifiers(table, columns.columns, names)
        else:
            table = _as_numbers(read_numbers(estimator, seen, **options), as_float64)
        reader = cls(
            columns,
            mask if mask.any() else None,
            as_float64,
            hasattr(estimator, "feature_names_in_"),
            seen.format.without_labels(),
            isinstance(categorical_features, str),
            sentinels,
            tuple(category_kinds(seen.values, categorical_features).items()),
        )
        return reader, table

    def to_arrays(self):
        """Return the reader as arrays, lists and dicts."""
        return {
            "columns": None if self.columns is None else self.columns.to_arrays(),
            "is_categorical": self.is_categorical,
            "as_float64": self.as_float64,
            "has_names": self.has_names,
            "format": None if self.format is None else self.format.to_arrays(),
            "by_dtype": self.by_dtype,
            "sentinels": self.sentinels,
            "kinds": [list(pair) for pair in self.kinds],
        }

    @classmethod
    def from_arrays(cls, arrays):
        """Return the reader that `to_arrays` described."""
        parts = dict(arrays)
        parts["kinds"] = tuple((int(j), kind) for j, kind in parts.get("kinds", ()))
        if parts["columns"] is not None:
            parts["columns"] = CategoricalColumns.from_arrays(parts["columns"])
        if parts.get("format") is not None:
            parts["format"] = TableFormat.from_arrays(parts["format"])
        return cls(**parts)

    @property
    def categories(self) -> tuple[tuple[int, int, str], ...]:
        """Category columns as (column, number of categories, kind)."""
        if self.columns is None:
            return ()
        pairs = zip(self.columns.columns.tolist(), self.columns.sizes(), strict=True)
        kinds = dict(self.kinds)
        return tuple((j, size, kinds.get(j, "nominal")) for j, size in pairs)

    def check_options(self, X, categorical_features, as_float64, sentinels=None):
        """Raise ValueError where options that `fit` has used were changed since.

        Parameters
        ----------
        X : SeenTable
            A table that training is to go on with.
        categorical_features, as_float64, sentinels
            As in `learn`.
        """
        mask = categorical_mask(X.values, categorical_features)
        known = self.is_categorical
        known = np.zeros_like(mask) if known is None else known
        more, fewer = mask & ~known, known & ~mask
        by_dtype = isinstance(categorical_features, str)
        if mask.shape == known.shape and (
            more.any() or (fewer.any() and not (by_dtype and self.by_dtype))
        ):
            names = self.format.names if self.format and self.has_names else None
            where = columns_text(names, more | fewer)
            raise InvalidParameterError(
                f"The 'categorical_features' parameter differs from that of the first "
                f"fit in {where}: training can't go on. Fit anew, with "
                "warm_start=False."
            )
        if as_float64 != self.as_float64:
            raise InvalidParameterError(
                "The 'atoms' parameter differs from that of the first fit: training "
                "can't go on. Fit anew, with warm_start=False."
            )
        check_sentinels(self.sentinels, sentinels)

    def read(
        self, estimator, X, *, min_rows=1, allow_nan=False, handle_unknown="error"
    ):
        """Return X as an array of numbers and category indices.

        Categories that `fit` did not see are missing entries where ``handle_unknown``
        is "missing".

        Raises
        ------
        ValueError, TypeError
            Where X has other columns than in `fit`, or values that are not allowed.
        """
        options = {"reset": False, "min_rows": min_rows, "allow_nan": allow_nan}
        if self.columns is None:
            return _as_numbers(read_numbers(estimator, X, **options), self.as_float64)
        frame = read_frame(estimator, X, advice=IMPUTE, **options)
        table = self.columns.encode(frame, handle_unknown)
        check_finite(estimator, table, allow_nan)
        return table

    def write(self, table, like=None):
        """Return numbers and category indices as a table.

        Parameters
        ----------
        table : ndarray of shape (n, n_features)
            Rows; with `like`, as many for each of its rows.
        like : array-like or data frame, default=None
            The table that they stand for; None writes one like that of `fit`.
        """
        table_format = self.written_like() if like is None else see(like).format
        if self.columns is not None:
            return table_format.write(self.columns.decode(table))
        return table_format.write_numbers(table)

    def written_like(self):
        """Return the format of tables written like that of `fit`."""
        if self.format is not None:
            return self.format
        if self.columns is None or not self.has_names:
            return ARRAYS
        names = self.columns.names
        return TableFormat("pandas", names, [None] * len(names))


def check_sentinels(known, sentinels):
    """Raise ValueError where the option differs from the known one; None is unknown."""
    if known is not None and sentinels != known:
        raise InvalidParameterError(
            f"The 'sentinels' parameter differs from that of the first fit, {known!r}: "
            f"training can't go on. Got {sentinels!r}. Set it back, or fit anew."
        )


def _as_numbers(table, as_float64):
    """Return the table, converted to float64 where asked for."""
    return table.astype(np.float64, copy=False) if as_float64 else table
