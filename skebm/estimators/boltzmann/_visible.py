"""Codecs of visible units: tables of binary, real or categorical columns as rows v.

A codec is learnt from the table of `fit`. It has

- ``learn(estimator, X)``: returns a codec and rows v; sets the columns' number and
  names on the estimator, which is a throw-away copy;
- ``read(estimator, X)``: returns rows v of a table with the columns of `fit`;
- ``write(v)``: returns rows like those of X;
- ``write_draws(v, given)``: returns them in the nearest values that the columns can
  take, but in the columns that rows ``given`` hold;
- ``kind(estimator)``: returns the kind of visible units;
- ``log_scales``: logs of the factors between the columns of X and v, or None.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import validate_data

from skebm.estimators._input import as_frame, refuse_missing
from skebm.exceptions import RangeWarning
from skebm.models.boltzmann._kinds import BinaryKind, CategoricalKind, RealKind
from skebm.models.boltzmann._rows import dense
from skebm.networks import SoftmaxUnits
from skebm.tables import CategoryTable, ValueSets
from skebm.tables._checks import check_numbers, column_names
from skebm.utils import warn_user

#: One-hot tables of more numbers are sparse, unless entries are missing.
MAX_DENSE = 2**24


@dataclass(frozen=True)
class BinaryCodec:
    """Tables of binary values or probabilities, dense or sparse, taken as they are."""

    log_scales = None

    @classmethod
    def learn(cls, estimator, X, *, allow_nan=True):
        """Return a codec, and rows of the table that it is learnt from."""
        return cls(), _read_binary(estimator, X, reset=True, allow_nan=allow_nan)

    def read(self, estimator, X, *, allow_nan=False, fitting=False):
        """Return rows of a table: a float array or a CSR matrix."""
        return _read_binary(estimator, X, reset=False, allow_nan=allow_nan)

    def write(self, v):
        """Return the rows."""
        return v

    def write_draws(self, v, given=None):
        """Return the rows."""
        return v

    def kind(self, estimator):
        """Return the kind of visible units."""
        return BinaryKind()


@dataclass(frozen=True)
class RealCodec:
    """Tables of real columns, which are standardised.

    Attributes
    ----------
    mean, scale : ndarray of shape (n_features,)
        Of the columns, over their observed entries.
    values : ValueSets or None, default=None
        The values that the columns can take; None where they take any.
    """

    mean: np.ndarray
    scale: np.ndarray
    values: ValueSets | None = None

    @property
    def log_scales(self):
        """Logs of the columns' scales."""
        return np.log(self.scale)

    @classmethod
    def learn(cls, estimator, X, *, allow_nan=True):
        """Return a codec, and rows of the table that it is learnt from."""
        X = _read_real(estimator, X, reset=True, allow_nan=allow_nan, fitting=True)
        scaler = StandardScaler().fit(X.astype(np.float64))
        codec = cls(scaler.mean_, scaler.scale_, ValueSets.learn(X))
        return codec, codec._encode(X)

    def read(self, estimator, X, *, allow_nan=False, fitting=False):
        """Return rows of a table."""
        X = _read_real(estimator, X, reset=False, allow_nan=allow_nan, fitting=fitting)
        return self._encode(X)

    def _encode(self, X):
        return ((X - self.mean) / self.scale).astype(X.dtype, copy=False)

    def write(self, v):
        """Return rows in the units of X."""
        x = self.mean + self.scale * v.astype(np.float64)
        return x.astype(v.dtype, copy=False)

    def write_draws(self, v, given=None):
        """Return rows in the units of X, in values that the columns can take.

        Rows ``given``, NaN where missing, hold columns as they are.
        """
        x = self.write(v)
        taken = x if self.values is None else self.values.nearest(x)
        if given is not None:
            held = ~np.isnan(np.repeat(given, len(v) // len(given), axis=0))
            taken = np.where(held, x, taken)
        return taken.astype(v.dtype, copy=False)

    def kind(self, estimator):
        """Return the kind of visible units."""
        return RealKind(estimator.whiten, estimator.variance == "learned")


@dataclass(frozen=True)
class CategoricalCodec:
    """Tables of categorical columns, encoded one-hot.

    Attributes
    ----------
    table : CategoryTable
        The categories of the columns.
    has_names : bool
        Whether `fit` saw a data frame with names, as `write` then returns.
    """

    table: CategoryTable
    has_names: bool

    log_scales = None

    @classmethod
    def learn(cls, estimator, X, *, allow_nan=True):
        """Return a codec, and rows of the table that it is learnt from."""
        X = as_frame(estimator, X, reset=True, allow_nan=allow_nan)
        table = CategoryTable(X, estimator.categories)
        codec = cls(table, hasattr(estimator, "feature_names_in_"))
        return codec, codec._encode(estimator, X, allow_nan)

    def read(self, estimator, X, *, allow_nan=False, fitting=False):
        """Return rows of a table: one-hot, sparse where they would be large."""
        X = as_frame(estimator, X, reset=False, allow_nan=allow_nan)
        return self._encode(estimator, X, allow_nan)

    def _encode(self, estimator, X, allow_nan):
        indices = self.table.encode(X, estimator.handle_unknown)
        if not allow_nan and np.isnan(indices).any():
            raise ValueError("Input X contains unknown categories, which count as NaN.")
        return _one_hot(indices, np.array(self.table.sizes()))

    def write(self, v):
        """Return the most probable categories of one-hot rows, or of probabilities."""
        units = SoftmaxUnits(self.table.sizes())
        scores = units.by_unit(torch.from_numpy(dense(v)), -1.0)
        X = self.table.decode(scores.argmax(-1).numpy())
        return X if self.has_names else X.to_numpy()

    def write_draws(self, v, given=None):
        """Return the most probable categories of rows, as `write` does."""
        return self.write(v)

    def kind(self, estimator):
        """Return the kind of visible units."""
        return CategoricalKind(self.table.sizes())


def _one_hot(indices, sizes):
    """Return one-hot rows of category indices; a CSR matrix where they are large."""
    n, missing = len(indices), np.isnan(indices)
    starts = np.cumsum(sizes) - sizes
    columns = np.where(missing, 0, indices).astype(np.int64) + starts
    if n * sizes.sum() > MAX_DENSE and not missing.any():
        ends = np.arange(n + 1) * len(sizes)
        parts = (np.ones(columns.size), columns.ravel(), ends)
        return sparse.csr_matrix(parts, shape=(n, sizes.sum()))
    v = np.zeros((n, sizes.sum()))
    np.put_along_axis(v, columns, 1.0, axis=1)
    v[np.repeat(missing, sizes, axis=1)] = np.nan
    return v


def _read_real(estimator, X, *, reset, allow_nan, fitting):
    """Return validated X, a float array."""
    if sparse.issparse(X):
        raise TypeError(
            "Sparse data was passed for X, but dense data is required. "
            "Use X.toarray() to convert it."
        )
    check_numbers(X)
    X = validate_data(
        estimator,
        X,
        reset=reset,
        dtype=(np.float64, np.float32),
        ensure_all_finite="allow-nan",
    )
    if not allow_nan:
        refuse_missing(estimator, X)
    empty = np.isnan(X).all(axis=0)
    if fitting and empty.any():
        names = column_names(getattr(estimator, "feature_names_in_", None), empty)
        raise ValueError(f"No value of column {names} is observed; drop it.")
    return X


def _read_binary(estimator, X, *, reset, allow_nan):
    """Return validated X, a float array or CSR matrix."""
    X = validate_data(
        estimator,
        X,
        reset=reset,
        accept_sparse="csr",
        dtype=(np.float64, np.float32),
        ensure_all_finite="allow-nan",
    )
    if sparse.issparse(X) and np.isnan(X.data).any():
        raise ValueError(
            "Input X contains NaN and is sparse; pass missing entries in a dense X."
        )
    if not allow_nan:
        refuse_missing(estimator, X)
    _check_range(estimator, X)
    return X


def _check_range(estimator, X):
    """Warn of values outside of [0, 1], or refuse them, by `check_range`."""
    values = X.data if sparse.issparse(X) else X
    if not values.size or (values.min() >= 0 and values.max() <= 1):
        return
    outside = (values < 0) | (values > 1)  # False for NaN
    if not outside.any():
        return
    if sparse.issparse(X):
        columns = np.bincount(X.indices[outside], minlength=X.shape[1])
    else:
        columns = outside.sum(axis=0)
    names = getattr(estimator, "feature_names_in_", None)
    worst = [
        f"{column_names(names, np.arange(len(columns)) == j)} ({columns[j]})"
        for j in np.argsort(-columns, kind="stable")[:5]
        if columns[j]
    ]
    n_columns = int((columns > 0).sum())
    message = (
        f"X holds {columns.sum()} values outside of [0, 1], in {n_columns} "
        f"columns: {', '.join(worst)}{', ...' if n_columns > 5 else ''}. "
        f"{type(estimator).__name__} is made for binary values or probabilities; scale "
        "X, for example by MinMaxScaler."
    )
    if estimator.check_range == "raise":
        raise ValueError(message)
    warn_user(message, RangeWarning)
