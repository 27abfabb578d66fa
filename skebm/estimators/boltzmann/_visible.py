"""Codecs of visible units: tables of binary, real or categorical columns as rows v.

A codec is learnt from the table of `fit`. It has

- ``learn(estimator, X)``: returns a codec and rows v; sets the columns' number and
  names on the estimator, which is a throw-away copy;
- ``read(estimator, X)``: returns rows v of a table with the columns of `fit`;
- ``write(v, like, holds)``: returns rows like those of X, or of another table where one
  is given; it has the rows' observed entries, unless ``holds`` is False: then they are
  points of a chain, which take any value;
- ``seeing(X)``: returns the codec after more rows of training;
- ``written_like()``: returns the format of the table of `fit`;
- ``to_arrays()`` and ``from_arrays(arrays)``: store it;
- ``kind(estimator)``: returns the kind of visible units;
- ``encoder``: what maps X to v, where densities of the two differ, or None;
- ``entries(X, v)``: returns rows v of X as numbers and category indices;
- ``decode(table)``: returns a frame with categories for such rows; None without any.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from scipy import sparse

from skebm.estimators._input import refuse_missing
from skebm.estimators._reader import check_sentinels
from skebm.estimators._tables import numbers_of, read_frame, read_numbers
from skebm.exceptions import RangeWarning
from skebm.models.boltzmann._kinds import BinaryKind, CategoricalKind, RealKind
from skebm.models.boltzmann._rows import dense
from skebm.models.boltzmann._state import standardizer
from skebm.networks import SoftmaxUnits
from skebm.tables import CategoryTable, TableEncoder
from skebm.tables._checks import column_name, columns_text, listed
from skebm.tables._frames import ARRAYS, TableFormat
from skebm.tables._identifiers import warn_of_identifiers
from skebm.tables._seen import see
from skebm.utils import warn_user

#: Larger values overflow in the products that training computes in float32.
LARGEST = 1e15
#: One-hot tables of more numbers are sparse, unless entries are missing.
MAX_DENSE = 2**24


@dataclass(frozen=True)
class BinaryCodec:
    """Tables of binary values or probabilities, dense or sparse, taken as they are.

    Attributes
    ----------
    format : TableFormat, default=ARRAYS
        How the table of `fit` came.
    """

    format: TableFormat = ARRAYS

    encoder = decode = None

    @classmethod
    def learn(cls, estimator, X, *, allow_nan=True):
        """Return a codec, and rows of the table that it is learnt from."""
        X = see(X)
        v = _read_binary(estimator, X, reset=True, allow_nan=allow_nan)
        if allow_nan and not sparse.issparse(v):
            _refuse_empty(estimator, v)
        return cls(X.format.without_labels()), v

    def read(self, estimator, X, *, allow_nan=False, fitting=False):
        """Return rows of a table: a float array or a CSR matrix."""
        return _read_binary(estimator, X, reset=False, allow_nan=allow_nan)

    def write(self, v, like=None, *, holds=True):
        """Return the rows."""
        return (self.format if like is None else see(like).format).write_numbers(v)

    def entries(self, X, v):
        """Return the rows."""
        return dense(v)

    def seeing(self, X):
        """Return the codec."""
        return self

    def written_like(self):
        """Return the format of tables written like that of `fit`."""
        return self.format

    def kind(self, estimator):
        """Return the kind of visible units."""
        return BinaryKind()

    def to_arrays(self):
        """Return the codec as lists and words."""
        return _to_arrays(self)

    @classmethod
    def from_arrays(cls, arrays):
        """Return the codec that `to_arrays` described."""
        return cls(**_parts(arrays))


@dataclass(frozen=True)
class RealCodec:
    """Tables of real columns, which are standardised, wild values drawn near.

    Attributes
    ----------
    encoder : TableEncoder
        Standardises the columns.
    format : TableFormat, default=ARRAYS
        How the table of `fit` came.
    sentinels : str or None, default=None
        The option of `fit`; None in states that do not say so.
    """

    encoder: TableEncoder
    format: TableFormat = ARRAYS
    sentinels: str | None = None

    decode = None

    @classmethod
    def learn(cls, estimator, X, *, allow_nan=True):
        """Return a codec, and rows of the table that it is learnt from."""
        seen = see(X)
        X = _read_real(estimator, seen, reset=True, fitting=True)
        encoder = TableEncoder.fit(
            X,
            sentinels=estimator.sentinels,
            takes_atoms=False,
            names=getattr(estimator, "feature_names_in_", None),
        )
        codec = cls(encoder, seen.format.without_labels(), estimator.sentinels)
        return codec, codec._encode(estimator, X, allow_nan)

    def read(self, estimator, X, *, allow_nan=False, fitting=False):
        """Return rows of a table."""
        if fitting:
            check_sentinels(self.sentinels, estimator.sentinels)
        X = _read_real(estimator, X, reset=False, fitting=fitting)
        return self._encode(estimator, X, allow_nan)

    def _encode(self, estimator, X, allow_nan):
        v = self.encoder.encode(X, X.dtype)
        if not allow_nan:
            refuse_missing(estimator, v)
        return v

    def write(self, v, like=None, *, holds=True):
        """Return rows in the units of X, in values that the columns can take."""
        x = self.encoder.draws(v).astype(v.dtype, copy=False)
        if like is None:
            return self.format.write_numbers(x)
        like = see(like)
        if not holds:
            x = self.encoder.decode(v).astype(v.dtype, copy=False)
            return like.format.write_numbers(x)
        known = self.encoder.without_codes(numbers_of(like))
        known = np.repeat(known, len(x) // max(len(known), 1), axis=0)
        return like.format.write_numbers(np.where(np.isnan(known), x, known))

    def entries(self, X, v):
        """Return the numbers of X, NaN where missing."""
        return np.where(np.isnan(v), np.nan, numbers_of(see(X)))

    def seeing(self, X):
        """Return the codec whose rows may have the values of X, too."""
        return replace(self, encoder=self.encoder.seeing(numbers_of(see(X))))

    def written_like(self):
        """Return the format of tables written like that of `fit`."""
        return self.format

    def kind(self, estimator):
        """Return the kind of visible units."""
        learns_scales = estimator.variance == "learned"
        return RealKind(estimator.whiten, learns_scales, estimator.n_components)

    def to_arrays(self):
        """Return the codec as arrays, lists and words."""
        return _to_arrays(self)

    @classmethod
    def from_arrays(cls, arrays):
        """Return the codec that `to_arrays` described."""
        if "encoder" in arrays:
            encoder = TableEncoder.from_arrays(arrays["encoder"])
        else:  # a state that had means and scales alone
            encoder = standardizer(arrays["mean"], arrays["scale"])
        table_format = _parts({"format": arrays.get("format")})["format"]
        return cls(encoder, table_format, arrays.get("sentinels"))


@dataclass(frozen=True)
class CategoricalCodec:
    """Tables of categorical columns, encoded one-hot.

    Attributes
    ----------
    table : CategoryTable
        The categories of the columns.
    has_names : bool
        Whether `fit` saw a data frame with names.
    format : TableFormat or None, default=None
        How the table of `fit` came; None in states that do not say so.
    """

    table: CategoryTable
    has_names: bool
    format: TableFormat | None = None

    encoder = None

    @classmethod
    def learn(cls, estimator, X, *, allow_nan=True):
        """Return a codec, and rows of the table that it is learnt from."""
        seen = see(X)
        X = read_frame(estimator, seen, reset=True, allow_nan=allow_nan)
        table = CategoryTable(X, estimator.categories)
        has_names = hasattr(estimator, "feature_names_in_")
        codec = cls(table, has_names, seen.format.without_labels())
        indices = codec._indices(estimator, X, allow_nan)
        names = getattr(estimator, "feature_names_in_", None)
        warn_of_identifiers(indices, range(indices.shape[1]), names)
        return codec, codec._one_hot(indices)

    def read(self, estimator, X, *, allow_nan=False, fitting=False):
        """Return rows of a table: one-hot, sparse where they would be large."""
        X = read_frame(estimator, X, reset=False, allow_nan=allow_nan)
        return self._one_hot(self._indices(estimator, X, allow_nan))

    def _one_hot(self, indices):
        return _one_hot(indices, np.array(self.table.sizes()))

    def _indices(self, estimator, X, allow_nan):
        indices = self.table.encode(X, estimator.handle_unknown)
        if not allow_nan and np.isnan(indices).any():
            raise ValueError("Input X contains unknown categories, which count as NaN.")
        return indices

    def write(self, v, like=None, *, holds=True):
        """Return the most probable categories of one-hot rows, or of probabilities."""
        units = SoftmaxUnits(self.table.sizes())
        scores = units.by_unit(torch.from_numpy(dense(v)), -1.0)
        X = self.table.decode(scores.argmax(-1).numpy())
        return (self.written_like() if like is None else see(like).format).write(X)

    def decode(self, table):
        """Return the data frame of the categories of indices."""
        return self.table.decode(table.astype(np.int64))

    def entries(self, X, v):
        """Return the category indices of one-hot rows, NaN where missing."""
        units = SoftmaxUnits(self.table.sizes())
        by_column = units.by_unit(torch.from_numpy(dense(v)), -1.0)
        indices = by_column.argmax(-1).double()
        return indices.masked_fill(by_column.isnan().any(-1), torch.nan).numpy()

    def seeing(self, X):
        """Return the codec."""
        return self

    def written_like(self):
        """Return the format of tables written like that of `fit`."""
        if self.format is not None:
            return self.format
        names = self.table.names
        dtypes = [None] * len(names)
        return TableFormat("pandas", names, dtypes) if self.has_names else ARRAYS

    def kind(self, estimator):
        """Return the kind of visible units."""
        return CategoricalKind(self.table.sizes())

    def to_arrays(self):
        """Return the codec as lists and words."""
        return _to_arrays(self)

    @classmethod
    def from_arrays(cls, arrays):
        """Return the codec that `to_arrays` described."""
        table = CategoryTable.from_arrays(arrays["table"])
        return cls(**{**_parts(arrays), "table": table})


def _to_arrays(codec):
    """Return the fields of a codec as arrays, lists and words."""
    arrays = {}
    for field in fields(codec):
        value = getattr(codec, field.name)
        has_parts = hasattr(value, "to_arrays")
        arrays[field.name] = value.to_arrays() if has_parts else value
    return arrays


def _parts(arrays):
    """Return the fields of a codec that `_to_arrays` described."""
    found = arrays.get("format")
    return {
        **arrays,
        "format": None if found is None else TableFormat.from_arrays(found),
    }


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


def _read_real(estimator, X, *, reset, fitting):
    """Return validated X, a float array."""
    X = read_numbers(estimator, X, reset=reset, allow_nan=True)
    if fitting:
        _refuse_empty(estimator, X)
    return X


def _refuse_empty(estimator, X):
    """Raise ValueError naming the columns of which no entry is observed."""
    empty = np.isnan(X).all(axis=0)
    if empty.any():
        where = columns_text(getattr(estimator, "feature_names_in_", None), empty)
        it = "it" if empty.sum() == 1 else "them"
        raise ValueError(f"No value of {where} is observed; drop {it}.")


def _read_binary(estimator, X, *, reset, allow_nan):
    """Return validated X, a float array or CSR matrix."""
    X = read_numbers(estimator, X, reset=reset, allow_nan=True, accept_sparse=True)
    if sparse.issparse(X) and np.isnan(X.data).any():
        raise ValueError(
            "Input X contains NaN and is sparse; pass missing entries in a dense X."
        )
    if not allow_nan:
        refuse_missing(estimator, X)
    _check_range(estimator, X)
    if getattr(estimator, "reference", None) is not None:
        _check_binary(estimator, X)
    return X


def _check_binary(estimator, X):
    """Raise ValueError, naming the columns, where values are neither 0 nor 1."""
    values = X.toarray() if sparse.issparse(X) else X
    other = ((values != 0) & (values != 1) & ~np.isnan(values)).any(axis=0)
    if other.any():
        names = getattr(estimator, "feature_names_in_", None)
        raise ValueError(
            "A 'reference' gives probabilities to 0 and 1 alone, and X holds other "
            f"values in {columns_text(names, other)}. Threshold X, for example by "
            "Binarizer(threshold=0.5), or take reference=None."
        )


def _check_range(estimator, X):
    """Warn of values outside of [0, 1], or refuse them, by `check_range`.

    Those too large to compute with are refused in any case.
    """
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
    too_large = np.abs(values) > LARGEST
    if too_large.any():
        where = np.zeros(X.shape[1], dtype=bool)
        where[X.indices[too_large] if sparse.issparse(X) else too_large.any(axis=0)] = 1
        raise ValueError(
            f"X holds values beyond {LARGEST:g} in {columns_text(names, where)}; "
            "scale X, for example by MinMaxScaler(clip=True)."
        )
    worst_first = np.argsort(-columns, kind="stable")
    worst = [
        f"{column_name(names, j)} ({columns[j]})" for j in worst_first if columns[j]
    ]
    message = (
        f"X holds {columns.sum()} values outside of [0, 1], by column: "
        f"{listed(worst)}. "
        f"{type(estimator).__name__} is made for binary values or probabilities; scale "
        "X, for example by MinMaxScaler(clip=True)."
    )
    if estimator.check_range == "raise":
        raise ValueError(message)
    warn_user(message, RangeWarning)
