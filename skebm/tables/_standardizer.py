"""One policy for what a table may hold: missing values, dtypes, constant columns."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _check_sample_weight, validate_data

CHUNK_ROWS = 8192
MAX_STANDARDIZED = 1e15  # beyond it squares overflow, and scores become NaN
IMPUTE = "Impute or drop these rows first."
MAX_FLOOR = 8.0  # standard deviations; an outlier may not hide the rest of a column


def check_table(estimator, X, *, reset, min_rows=1, allow_nan=False):
    """Return X as a 2-D float array, float32 where it came so, else float64.

    Integer, boolean and nullable columns are taken as numbers; objects where they are
    numbers. Sets or checks ``n_features_in_`` and ``feature_names_in_``.

    Raises
    ------
    ValueError, TypeError
        Where X is sparse, empty, not numeric, not finite, or of other columns than in
        `fit`; the message names the columns.
    """
    if sparse.issparse(X):
        raise TypeError(
            "Sparse data was passed for X, but dense data is required. "
            "Use X.toarray() to convert it."
        )
    check_numbers(X)
    # NumPy takes no pd.NA among objects.
    if isinstance(X, pd.DataFrame) and len(X.select_dtypes(object).columns):
        X = X.where(X.notna(), np.nan)
    elif isinstance(X, np.ndarray) and X.dtype == object:
        X = np.where(pd.isna(X), np.nan, X)
    X = validate_data(
        estimator,
        X,
        reset=reset,
        dtype=[np.float64, np.float32],
        ensure_all_finite=False,
        ensure_min_samples=min_rows,
    )
    check_finite(estimator, X, allow_nan)
    return X


def keep_weighted(X, y, sample_weight, min_rows=2):
    """Return X, y and weights of the rows whose weight is above zero.

    So that rows of weight zero count nowhere: not in scaling, reference or graph.
    """
    if sample_weight is None:
        return X, y, None
    weight = _check_sample_weight(
        sample_weight, X, dtype=np.float64, ensure_non_negative=True
    )
    if weight.all():
        return X, y, weight
    rows = np.flatnonzero(weight)
    if len(rows) < min_rows:
        raise ValueError(
            f"The 'sample_weight' parameter must hold at least {min_rows} weights above"
            f" zero. Got {len(rows)} of {len(weight)}."
        )
    y = None if y is None else _safe_indexing(y, rows)
    return X[rows], y, weight[rows]


def check_numbers(X):
    """Name the columns of a data frame or an array of objects that hold no numbers."""
    if isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype.kind in "OUS":
        X = pd.DataFrame(X, dtype=object)
    if not isinstance(X, pd.DataFrame):
        return
    for j, (name, dtype) in enumerate(X.dtypes.items()):
        if pd.api.types.is_numeric_dtype(dtype):
            continue
        problem = f"X must hold numbers. Got column {name!r} ({dtype})"
        advice = (
            "encode it first, for example by sklearn.preprocessing.OrdinalEncoder or "
            "OneHotEncoder."
        )
        if not pd.api.types.is_object_dtype(dtype):
            raise ValueError(f"{problem}: {advice}")
        try:
            X.iloc[:, j].to_numpy(dtype=np.float64, na_value=np.nan)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{problem}: {error}; {advice}") from error


def check_finite(estimator, X, allow_nan=False, advice=IMPUTE):
    """Raise ValueError naming the columns with NaN, infinity or overflowing values."""
    for kind, is_bad in (("NaN", np.isnan), ("infinity", np.isinf)):
        if allow_nan and kind == "NaN":
            continue
        bad = np.zeros(X.shape[1], dtype=bool)
        for start in range(0, len(X), CHUNK_ROWS):
            bad |= is_bad(X[start : start + CHUNK_ROWS]).any(axis=0)
        if bad.any():
            names = getattr(estimator, "feature_names_in_", None)
            accepted = "finite values and NaN" if allow_nan else "finite values"
            raise ValueError(
                f"Input X contains {kind} in column {column_names(names, bad)}; "
                f"{type(estimator).__name__} accepts {accepted} only. {advice}"
            )


def column_names(names, mask):
    """List the names, or else the numbers, of the columns in ``mask``; at most 5."""
    numbers = np.flatnonzero(mask)
    shown = [str(j) if names is None else repr(names[j]) for j in numbers[:5]]
    return ", ".join([*shown, "..."] if len(numbers) > 5 else shown)


class Standardizer:
    r"""Columns to mean zero and standard deviation one.

    .. math:: z_j = (x_j - m_j) / s_j, \qquad
              s_j \propto \max(\sigma_j, \min(\rho (\max x_j - \min x_j), 8 \sigma_j))

    With a range share rho above zero a column that hardly ever moves is not blown up:
    distances between rows stay meaningful. One factor for all columns then brings
    their mean variance to one. Moments are weighted, over the training rows, in float64
    whatever X's dtype, and taken in chunks, so that no copy of X is made on the way;
    entries that are NaN are left out. A constant column has s = 1.

    Parameters
    ----------
    range_share : float, default=0
        rho.

    Attributes
    ----------
    mean_, scale_ : ndarray of shape (n_features,)
        m and s.
    """

    #: Intervals that stand for single values; `MixedStandardizer` has some.
    cells = None
    #: Numbers of the columns of codes.
    code_columns = ()

    def __init__(self, range_share=0.0):
        self.range_share = range_share

    def fit(self, X, sample_weight=None, names=None):
        """Learn the moments of X; ``names`` are its columns', for messages.

        Raises
        ------
        ValueError
            Where a column's variance overflows float64.
        """
        weight = np.ones(len(X)) if sample_weight is None else sample_weight
        total = weight.sum()
        chunks = [slice(i, i + CHUNK_ROWS) for i in range(0, len(X), CHUNK_ROWS)]
        # Moments about the first row: no cancellation for columns far from zero.
        origin = X[0].astype(np.float64)
        if gaps := any(np.isnan(X[c]).any() for c in chunks):
            total = sum(weight[c] @ ~np.isnan(X[c]) for c in chunks)
            first = np.isnan(X).argmin(axis=0)
            origin = X[first, np.arange(X.shape[1])].astype(np.float64)

        def deviations(rows, centre):
            difference = rows - centre
            return np.where(np.isnan(rows), 0.0, difference) if gaps else difference

        with np.errstate(over="ignore", invalid="ignore"):
            shift = sum(weight[c] @ deviations(X[c], origin) for c in chunks) / total
            mean = origin + shift
            squares = (weight[c] @ deviations(X[c], mean) ** 2 for c in chunks)
            variance = sum(squares) / total
        if not np.isfinite(variance).all():
            bad = column_names(names, ~np.isfinite(variance))
            raise ValueError(
                f"X holds values too large for their variance to be computed in column "
                f"{bad}; rescale or drop it."
            )
        # Rounding leaves a constant column with a variance of about (eps * mean)^2.
        rounding = 10 * np.finfo(X.dtype).eps * np.abs(mean)
        spread = np.sqrt(variance)
        varies = spread > rounding
        self.mean_ = mean
        self.scale_ = np.where(varies, spread, 1.0)
        if self.range_share and varies.any():
            width = X.max(axis=0).astype(np.float64) - X.min(axis=0)
            floored = np.minimum(self.range_share * width, MAX_FLOOR * spread)
            floored = np.maximum(spread, floored)[varies]
            floored *= np.sqrt(np.mean((spread[varies] / floored) ** 2))
            self.scale_[varies] = floored
        return self

    def transform(self, X):
        """Return the standardised rows, float32, of shape (n, n_features)."""
        Z = np.empty(X.shape, dtype=np.float32)
        for start in range(0, len(X), CHUNK_ROWS):
            chunk = slice(start, start + CHUNK_ROWS)
            with np.errstate(over="ignore"):
                z = (X[chunk] - self.mean_) / self.scale_
            Z[chunk] = np.clip(z, -MAX_STANDARDIZED, MAX_STANDARDIZED)
        return Z

    def inverse_transform(self, Z):
        """Return rows in the units of X, float64."""
        return self.mean_ + self.scale_ * np.asarray(Z, dtype=np.float64)

    def log_mass(self, log_density):
        """Return the function that integrates exp(log_density) over cells, if any."""
        return log_density

    @property
    def log_jacobian(self):
        """Return the log of the density's factor from standardised units to X's."""
        return -np.log(self.scale_).sum()
