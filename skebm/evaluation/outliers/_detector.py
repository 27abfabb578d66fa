"""Outliers: scores, a threshold, p-values."""

from __future__ import annotations

import math

import numpy as np
import torch

from skebm.evaluation import OOD_SCORES, ScoredModel, conformal_p_values
from skebm.utils import make_generator

#: Tukey's fence, in interquartile ranges below the lower quartile.
FENCE = 1.5


def threshold(scores, contamination):
    r"""Return the score below which a row is an outlier, by scores of normal rows.

    Their quantile at ``contamination``; "auto" is Tukey's lower fence,

    .. math:: Q_{1/4} - 1.5 \, (Q_{3/4} - Q_{1/4})

    which rows far out do not move, as long as they are fewer than a quarter.
    """
    if contamination != "auto":
        return float(np.quantile(scores, contamination))
    low, high = np.quantile(scores, [0.25, 0.75])
    return float(low - FENCE * (high - low))


class OODScoresMixin:
    """The scores named by ``ood_score``, once a model is trained."""

    def _fit_ood_scores(self, train, held_out, seed):
        """Prepare the scores and keep those of the held-out rows; log Z is known."""
        judged = train if held_out is None else held_out
        self._is_calibrated = held_out is not None
        epochs = self._resolve_max_iter(len(train))
        max_steps = epochs * max(1, len(train) // self.batch_size)
        self._ood_scores, self._calibration = {}, {}
        for name, kind in OOD_SCORES.items():
            if not kind.is_free and name != self.ood_score:
                continue
            with torch.inference_mode(False), torch.no_grad():
                rows = [torch.from_numpy(z).to(self._device) for z in (train, judged)]
                generator = make_generator(seed, self._device)
                fitted = kind.fit(self._scored_model(), *rows, generator, max_steps)
            self._ood_scores[name] = fitted
            self._calibration[name] = np.sort(
                self._on_standardized(self._ood_function(name), judged)
            )

    def _scored_model(self):
        return ScoredModel(
            self._make_model(), self._log_density(), self._energy_standardized
        )

    def _ood_function(self, name):
        """Return the score as a function of standardised rows."""
        if name not in self._ood_scores:
            raise ValueError(
                f"ood_score={name!r} is not ready: it learns from the rows of fit, "
                "which are not kept. Fit with it, or choose one of "
                f"{sorted(self._ood_scores)}."
            )
        score, scored = self._ood_scores[name], self._scored_model()
        return lambda Z: score(scored, Z)

    @property
    def offset_(self):
        """Threshold of `ood_scores`, by ``contamination`` and ``ood_score``."""
        scores = self._calibration.get(self.ood_score)
        return math.nan if scores is None else threshold(scores, self.contamination)

    def ood_scores(self, X):
        """Score of each row by ``ood_score``; higher is more normal.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        scores : ndarray of shape (n_samples,)
            float64. Less ``offset_`` it is negative for rows out of distribution.

        Raises
        ------
        ValueError
            Where ``ood_score`` was changed since `fit` to one that has to be learnt.
        """
        X = self._check_scored(X)
        self._refresh()
        return self._on_rows(self._ood_function(self.ood_score), X)

    def p_values(self, X, calibration=None):
        r"""Conformal p-values: small for rows out of distribution.

        .. math:: p(x) = \frac{1 + \#\{i: s(x_i) \le s(x)\}}{1 + n}

        with s the score named by ``ood_score`` and :math:`x_i` the calibration rows.
        For a new row of their distribution, :math:`P(p \le \alpha) \le \alpha`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        calibration : array-like of shape (n, n_features), default=None
            Normal rows that `fit` has not seen, for which the statement is exact. None
            takes the rows that `fit` held out; they also chose the epoch to stop at,
            which is a small departure.

        Returns
        -------
        p_values : ndarray of shape (n_samples,)
            float64, from 1 / (n + 1) to 1.

        Raises
        ------
        ValueError
            Where no rows were held out and none are given.

        References
        ----------
        Bates et al. Testing for outliers with conformal p-values. Annals of Statistics
        51, 2023.
        """
        scores = self.ood_scores(X)
        if calibration is not None:
            return conformal_p_values(scores, self.ood_scores(calibration))
        if not self._is_calibrated:
            raise ValueError(
                "p_values needs rows that the model was not trained on. Pass "
                "calibration=, or fit with early_stopping=True."
            )
        return conformal_p_values(scores, self._calibration[self.ood_score])
