"""Methods of every density estimator, on its own public methods."""

from __future__ import annotations

import math
import warnings

import numpy as np
from sklearn.base import DensityMixin
from sklearn.utils.validation import _num_samples

from skebm.estimators._published import warn_unnormalized
from skebm.evaluation import benjamini_hochberg, conditional_p_values
from skebm.exceptions import CalibrationWarning
from skebm.utils import InvalidParameterError, warn_user


class DensityMethods(DensityMixin):
    """Mean log density, outliers by a threshold.

    An estimator has `score_samples`, `ood_scores`, `offset_`, `log_normalizer_`,
    `p_values` and `n_calibration_`.
    """

    def score(self, X, y=None):
        """Mean log density of the rows of X, in nats.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : None
            Ignored.

        Returns
        -------
        score : float
            Unnormalised, with a `NormalizerWarning`, where ``normalizer=None``.
        """
        del y
        scores = self.score_samples(X)
        if self.log_normalizer_ is None:
            warn_unnormalized()
        return float(scores.mean())

    def decision_function(self, X):
        """Return `ood_scores` less `offset_`: negative for outliers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; NaN where an entry is missing.

        Returns
        -------
        decision : ndarray of shape (n_samples,)
        """
        scores = self.ood_scores(X)
        return scores - self.offset_

    def predict(self, X, alpha=None, calibration=None, delta=None):
        r"""Tell rows in distribution (+1) from outliers (-1).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; NaN where an entry is missing.
        alpha : float, default=None
            None compares each row with the threshold `offset_`. A number above 0 bounds
            the share of false alarms among the rows of X that are called out, in
            expectation, by the method of Benjamini and Hochberg on `p_values`: what is
            -1 then depends on the other rows of X. With few calibration rows for so
            many rows of X, none may be called out, and a
            `skebm.exceptions.CalibrationWarning` says so; see
            `skebm.evaluation.benjamini_hochberg`.
        calibration : array-like of shape (n, n_features), default=None
            With ``alpha``: normal rows that `fit` has not seen, with which the bound is
            exact. None takes the rows of `fit`, with which it holds approximately: see
            `p_values`.
        delta : float, default=None
            With ``alpha``: a number between 0 and 1 makes the bound hold given the
            calibration rows, with a probability of 1 - delta over them; fewer rows are
            called out. None: it holds in the mean over calibration rows.

        Returns
        -------
        inlier : ndarray of int of shape (n_samples,)

        Raises
        ------
        ValueError
            Where ``calibration`` or ``delta`` is given without ``alpha``, or one is out
            of range; with ``alpha``, where there are no `p_values`.
        """
        if alpha is None:
            if calibration is not None or delta is not None:
                raise InvalidParameterError(
                    "The 'calibration' and 'delta' parameters of predict go with "
                    "alpha=. Got alpha=None."
                )
            return np.where(self.decision_function(X) >= 0, 1, -1)
        with warnings.catch_warnings():
            # contamination has no part in this; of alpha a warning follows below.
            warnings.filterwarnings("ignore", "contamination=", CalibrationWarning)
            p_values = self.p_values(X, calibration=calibration, delta=delta)
        is_outlier = benjamini_hochberg(p_values, alpha)
        if not is_outlier.any():
            n = (
                self.n_calibration_
                if calibration is None
                else _num_samples(calibration)
            )
            warn_if_none_can(alpha, len(p_values), n, delta)
        return np.where(is_outlier, -1, 1)

    def fit_predict(self, X, y=None, **fit_params):
        """Fit to the rows of X, and tell those in distribution (+1) from outliers (-1).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : None
            Ignored.
        **fit_params : dict
            Other parameters of `fit`.

        Returns
        -------
        inlier : ndarray of int of shape (n_samples,)
            Fewer than the share ``contamination`` may be -1: the threshold is that of
            new rows, and these rows were trained on.
        """
        return self.fit(X, y, **fit_params).predict(X)


def warn_if_none_can(alpha, n_rows, n_calibration, delta=None):
    """Warn where only half of the rows together could be called outliers.

    The least p-value of so many calibration rows then is above half of ``alpha``, or
    above ``alpha`` where there is one row.
    """
    least = 1 / (n_calibration + 1)
    if delta is not None:
        least = conditional_p_values([least], n_calibration, delta)[0]
    n_needed = math.ceil(n_rows * least / alpha)
    if n_needed <= max(1, n_rows // 2):
        return
    together = "" if n_needed > n_rows else f" unless {n_needed} of {n_rows} are"
    warn_user(
        f"No row can be called an outlier at alpha={alpha}{together}: by "
        f"{n_calibration} calibration rows no p-value is below {least:.2g}. Pass more "
        "rows as calibration=, or a larger alpha.",
        CalibrationWarning,
    )
