"""Tables of values in [0, 1], dense or sparse."""

from __future__ import annotations

import warnings

import numpy as np
from scipy import sparse
from sklearn.utils.validation import validate_data

from skebm.exceptions import RangeWarning
from skebm.models.boltzmann._rows import refuse_missing
from skebm.tables._checks import column_names


class BinaryRowsMixin:
    """Checks rows of binary values or probabilities, by the option `check_range`."""

    def _check_rows(self, X, *, reset, allow_nan=False, fitting=False):
        """Return validated X, a float array or CSR matrix."""
        del fitting
        X = validate_data(
            self,
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
            refuse_missing(self, X)
        self._check_values(X)
        return X

    def _check_values(self, X):
        """Warn of values outside of [0, 1], or refuse them."""
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
        names = getattr(self, "feature_names_in_", None)
        worst = [
            f"{column_names(names, np.arange(len(columns)) == j)} ({columns[j]})"
            for j in np.argsort(-columns, kind="stable")[:5]
            if columns[j]
        ]
        n_columns = int((columns > 0).sum())
        message = (
            f"X holds {columns.sum()} values outside of [0, 1], in {n_columns} "
            f"columns: {', '.join(worst)}{', ...' if n_columns > 5 else ''}. "
            f"{type(self).__name__} is made for binary values or probabilities; scale "
            "X, for example by MinMaxScaler."
        )
        if self.check_range == "raise":
            raise ValueError(message)
        warnings.warn(message, RangeWarning, stacklevel=4)
