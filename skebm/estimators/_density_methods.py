"""Methods of every density estimator, on its own public methods."""

from __future__ import annotations

import numpy as np
from sklearn.base import DensityMixin

from skebm.estimators._published import warn_unnormalized


class DensityMethods(DensityMixin):
    """Mean log density, outliers by a threshold.

    An estimator has `score_samples`, `ood_scores`, `offset_` and `log_normalizer_`.
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

    def predict(self, X):
        """Tell rows in distribution (+1) from outliers (-1).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; NaN where an entry is missing.

        Returns
        -------
        inlier : ndarray of int of shape (n_samples,)
        """
        return np.where(self.decision_function(X) >= 0, 1, -1)

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
