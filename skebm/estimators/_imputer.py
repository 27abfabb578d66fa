"""A transformer that fills missing entries by a density of the rows."""

from __future__ import annotations

from numbers import Real
from typing import ClassVar

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.utils.validation import check_is_fitted, validate_data

from skebm.estimators._density import EBMDensityEstimator
from skebm.estimators._input import private_random_state
from skebm.estimators._large_numbers import keep_large
from skebm.estimators._tables import DENSE
from skebm.exceptions import DataWarning
from skebm.tables._checks import columns_text
from skebm.tables._frames import TableFormat
from skebm.tables._seen import see
from skebm.utils import InvalidParameterError, draw_seed, is_count, warn_user
from skebm.utils._sklearn import HasMethods, StrOptions, check_feature_names_in


class EBMImputer(TransformerMixin, BaseEstimator):
    """Transformer that fills missing entries from a density of the rows.

    `fit` learns a density of all columns from rows with gaps; `transform` fills the
    gaps of any rows from p(missing | observed), each row by itself. Columns may be
    numbers and categories.

    Parameters
    ----------
    estimator : estimator, default=None
        An `EBMDensityEstimator`, `JEMClassifier` or `JEMRegressor`, a clone of which is
        fitted. None is an `EBMDensityEstimator` with its defaults, without log Z, which
        imputation does not need.
    strategy : {"mean", "median", "draw"}, default="mean"
        What `transform` fills in. "mean" is the conditional mean, which has the least
        squared error, "median" the conditional median, which has the least absolute
        error; both fill a category with the most likely one. "draw" draws all missing
        entries of a row together.
    missing_values : int, float, str, numpy.nan, None or pandas.NA, default=numpy.nan
        A value that stands for a missing entry. NaN, None and pandas.NA do so always.
    add_indicator : bool, default=False
        Whether to append a column for each one that had missing entries in `fit`: 1 (in
        data frames True) where an entry was missing.
    keep_empty_features : bool, default=False
        Whether to keep columns that had no entry in `fit`. Their gaps are filled with
        0, in columns of known categories with the first one. Otherwise they are left
        out, with a `skebm.exceptions.DataWarning`.
    random_state : int, RandomState or None, default=None
        Seed of the fit, where it is not None, and of ``strategy="draw"``. One int gives
        one result.

    Attributes
    ----------
    estimator_ : estimator
        The fitted density; its `score_samples` and others take rows with gaps.
    indicator_features_ : ndarray of int of shape (n_indicators,)
        Columns that had missing entries in `fit`.
    empty_features_ : ndarray of int of shape (n_empty,)
        Columns that had no entry in `fit`.
    n_features_in_ : int
        Columns seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X had string names.

    See Also
    --------
    EBMDensityEstimator.impute : The same of a fitted density.
    sklearn.impute.IterativeImputer : Imputation by a regression for each column.

    References
    ----------
    Rubin. Multiple Imputation for Nonresponse in Surveys. Wiley, 1987.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from skebm import EBMDensityEstimator, EBMImputer
    >>> X, _ = load_iris(return_X_y=True)
    >>> X[::5, 2] = np.nan
    >>> density = EBMDensityEstimator(max_iter=5, normalizer=None)
    >>> imputer = EBMImputer(density, random_state=0).fit(X)
    >>> imputer.transform([[5.0, 3.4, np.nan, 0.2]]).shape
    (1, 4)
    >>> [table.shape for table in imputer.draw(X, n_imputations=2)]
    [(150, 4), (150, 4)]
    """

    _parameter_constraints: ClassVar[dict] = {
        "estimator": [HasMethods(["fit", "impute", "sample"]), None],
        "strategy": [StrOptions({"mean", "median", "draw"})],
        "missing_values": [Real, str, None, type(pd.NA)],
        "add_indicator": ["boolean"],
        "keep_empty_features": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator=None,
        *,
        strategy="mean",
        missing_values=np.nan,
        add_indicator=False,
        keep_empty_features=False,
        random_state=None,
    ):
        self.estimator = estimator
        self.strategy = strategy
        self.missing_values = missing_values
        self.add_indicator = add_indicator
        self.keep_empty_features = keep_empty_features
        self.random_state = random_state

    def fit(self, X, y=None):
        """Fit the density to rows with missing entries.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, with or without gaps. Rows that have no entry are left out.
        y : array-like of shape (n_samples,), default=None
            Passed to the estimator; a density ignores it.

        Returns
        -------
        self : EBMImputer
        """
        self._validate_params()
        values = _marked(X, self.missing_values)
        validate_data(self, values, reset=True, skip_check_array=True)
        missing = np.asarray(pd.isna(values))
        is_empty = missing.all(axis=0) if len(missing) else missing.any(axis=0)
        if is_empty.any() and not self.keep_empty_features and not is_empty.all():
            names = getattr(self, "feature_names_in_", None)
            warn_user(
                f"X has no entry in {columns_text(names, is_empty)}: left out of the "
                "result. keep_empty_features=True keeps such columns.",
                DataWarning,
            )
        estimator = self.estimator
        if estimator is None:
            estimator = EBMDensityEstimator(
                normalizer=None, ood_score="negative_energy"
            )
        estimator = clone(estimator)
        if self.random_state is not None:
            seed = draw_seed(private_random_state(self.random_state))
            estimator.set_params(random_state=seed % 2**32)
        if not is_empty.all():  # else the estimator tells that nothing can be learnt
            values = _columns_of(values, ~is_empty)
        self.estimator_ = estimator.fit(values, y)
        self.indicator_features_ = np.flatnonzero(missing.any(axis=0))
        self.empty_features_ = np.flatnonzero(is_empty)
        return self

    def transform(self, X):
        """Fill the missing entries of rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; they need not be those of `fit`.

        Returns
        -------
        X_filled : array or data frame of shape (n_samples, n_features_out)
            A data frame where X is one, of its library, with its labels of rows, and
            dtypes where these hold the values; `set_output` asks for another kind.

        Warns
        -----
        skebm.exceptions.TrainingWarning
            If the draws for a row can't be trusted.
        """
        seen = self._see(X)
        options = {"strategy": self.strategy}
        if self.strategy == "draw":
            options["random_state"] = private_random_state(self.random_state)
        return self._written(self.estimator_.impute(seen.observed, **options), seen)

    def draw(self, X, n_imputations=5, random_state=None):
        """Fill the missing entries of rows several times: multiple imputation.

        Fit what you want to know to each of the tables. The mean of the answers is the
        estimate; their spread tells what the gaps add to its error (Rubin's rules).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; they need not be those of `fit`.
        n_imputations : int, default=5
            Number of tables.
        random_state : int, RandomState or None, default=None
            None takes the parameter of the imputer.

        Returns
        -------
        tables : list of array or data frame of shape (n_samples, n_features_out)
            Each is like the result of `transform`, its missing entries drawn together
            from p(missing | observed), whatever ``strategy`` is.
        """
        seen = self._see(X)
        if not is_count(n_imputations, 1):
            raise InvalidParameterError(
                "The 'n_imputations' parameter must be an integer, at least 1. Got "
                f"{n_imputations!r}."
            )
        if random_state is None:
            random_state = self.random_state
        missing = pd.isna(seen.observed)
        if not np.asarray(missing).any():
            return [self._written(seen.observed, seen) for _ in range(n_imputations)]
        rows = self.estimator_.sample(
            n_imputations, private_random_state(random_state), given=seen.observed
        )
        tables = []
        for k in range(n_imputations):
            kth = slice(k, None, n_imputations)
            table = rows.iloc[kth] if isinstance(rows, pd.DataFrame) else rows[kth]
            tables.append(self._written(table, seen))
        return tables

    def get_feature_names_out(self, input_features=None):
        """Names of the columns of the result.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the columns of X; None takes those of `fit`, or x0, x1, ...

        Returns
        -------
        names : ndarray of str
            Indicators are named ``missingindicator_`` and the column's name.
        """
        check_is_fitted(self, "estimator_")
        names = check_feature_names_in(self, input_features)
        out = list(names[self._kept()])
        if self.add_indicator:
            out += [f"missingindicator_{name}" for name in self._indicated(names)]
        return np.asarray(out, dtype=object)

    # ----------------------------------------------------------------- tables

    def _see(self, X):
        """Return a table to be filled, its columns checked."""
        check_is_fitted(self, "estimator_")
        values = _marked(X, self.missing_values)
        validate_data(self, values, reset=False, skip_check_array=True)
        is_known = np.ones(self.n_features_in_, dtype=bool)
        is_known[self.empty_features_] = False
        return _Seen(X, values, _columns_of(values, is_known))

    def _kept(self):
        """Return the numbers of the columns that the result has."""
        columns = np.arange(self.n_features_in_)
        if self.keep_empty_features:
            return columns
        return np.setdiff1d(columns, self.empty_features_)

    def _indicated(self, of_columns):
        """Return the items of the columns that have an indicator."""
        return [of_columns[j] for j in self.indicator_features_]

    def _written(self, filled, seen):
        """Return the table that stands for X, of filled entries and indicators."""
        empty = self.empty_features_ if self.keep_empty_features else []
        missing = np.asarray(pd.isna(seen.values))
        added = self._indicated(missing.T) if self.add_indicator else []
        if not isinstance(filled, pd.DataFrame):
            for j in empty:
                column = np.where(missing[:, j], 0, seen.values[:, j])
                filled = np.insert(filled, j, column.astype(filled.dtype), axis=1)
            return np.column_stack([filled, *(a.astype(filled.dtype) for a in added)])
        columns = [filled.iloc[:, j] for j in range(filled.shape[1])]
        for j in empty:
            columns.insert(j, _filled_with_first(seen.values.iloc[:, j]))
        columns = [column.reset_index(drop=True) for column in columns]
        frame = pd.DataFrame(dict(enumerate([*columns, *map(pd.Series, added)])))
        table_format, kept = see(seen.X).format, self._kept()
        names = [table_format.names[j] for j in kept]
        names += [f"missingindicator_{n}" for n in self._indicated(table_format.names)]
        table_format = TableFormat(
            table_format.library,
            names[: frame.shape[1]],
            [
                *(table_format.dtypes[j] for j in kept),
                *[table_format.like(bool.__name__)] * len(added),
            ],
            table_format.labels,
        )
        written = table_format.write(frame)
        is_whole = len(kept) == self.n_features_in_
        return keep_large(written, seen.X) if is_whole else written

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        return tags


class _Seen:
    """A table to be filled: as it came, marked, and without empty columns."""

    def __init__(self, X, values, observed):
        self.X, self.values, self.observed = X, values, observed


def _columns_of(values, mask):
    """Return columns of an array or a frame; the same object where it is all."""
    if mask.all():
        return values
    return values.loc[:, mask] if isinstance(values, pd.DataFrame) else values[:, mask]


def _marked(X, missing_values):
    """Return an array or a pandas frame with NaN where an entry is missing."""
    values = see(X).values
    if sparse.issparse(values):
        raise TypeError(DENSE)
    if pd.isna(missing_values):
        return values
    if not isinstance(values, pd.DataFrame):
        is_missing = values == missing_values
        if not np.any(is_missing):
            return values
        is_number = values.dtype.kind in "iu"
        return np.where(
            is_missing, np.nan, values.astype(float) if is_number else values
        )
    columns = {
        j: _marked_column(values.iloc[:, j], missing_values)
        for j in range(values.shape[1])
    }
    marked = pd.DataFrame(columns, index=values.index)
    marked.columns = values.columns
    return marked


def _marked_column(column, missing_values):
    """Return a column of a frame with NaN in place of a value."""
    if pd.api.types.is_bool_dtype(column.dtype):
        return column
    kind = getattr(column.dtype, "numpy_dtype", column.dtype)
    if (
        isinstance(kind, np.dtype)
        and kind.kind == "f"
        and isinstance(missing_values, Real)
    ):
        # A column of float32 holds 99.9 as float32 has it.
        is_missing = column.isin(np.array([missing_values], dtype=kind))
    else:
        is_missing = column.isin([missing_values])
    if not is_missing.any():
        return column
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.remove_categories([missing_values])
    return column.mask(is_missing)


def _filled_with_first(column):
    """Return a column with no entry in `fit`, its gaps filled with 0 or a category."""
    if not column.isna().any():
        return column
    if isinstance(column.dtype, pd.CategoricalDtype):
        known = column.cat.categories
        return column.fillna(known[0]) if len(known) else pd.Series(0.0, column.index)
    if column.isna().all():
        return pd.Series(0.0, column.index)
    return column.fillna(0)
