"""Metrics of outlier detection: AUROC, average precision and FPR."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from skebm.utils import InvalidParameterError


@dataclass(frozen=True)
class Detection:
    """Metrics of scores as detectors of outliers.

    Attributes
    ----------
    auroc : float
        Chance that a normal row scores above an outlier; ties count half.
    aupr : float
        Average precision, with the outliers as the positive class.
    fpr95 : float
        Share of the outliers that pass a threshold that 95 % of the normal rows pass;
        low is good.
    """

    auroc: float
    aupr: float
    fpr95: float


def detection(normal: ArrayLike, outliers: ArrayLike) -> Detection:
    r"""Return metrics of scores that should be high on normal rows, low on outliers.

    .. math:: \mathrm{AUROC} = P(s > s') + \tfrac12 P(s = s'), \qquad
              \mathrm{FPR}_{95} = P(s' \ge t), \quad t: P(s \ge t) \ge 0.95

    with s the score of a normal row and s' that of an outlier, t as high as can be.

    Parameters
    ----------
    normal, outliers : array-like of shape (n,) and (m,)
        Scores, higher is more normal, as of ``ood_scores`` and ``score_samples``.

    Returns
    -------
    detection : Detection

    Raises
    ------
    ValueError
        Where there are no scores of either, or they hold NaN.

    References
    ----------
    Liang et al. Enhancing the reliability of out-of-distribution image detection in
    neural networks. ICLR 2018.

    Examples
    --------
    >>> from skebm.evaluation import detection
    >>> detection(normal=[3.0, 2.0, 1.0], outliers=[0.0, 1.5]).auroc
    0.8333333333333334
    """
    normal, outliers = (
        checked_scores("normal", normal),
        checked_scores("outliers", outliers),
    )
    is_outlier = np.repeat([0, 1], [len(normal), len(outliers)])
    # The metrics need finite values and depend on ranks alone: infinities are allowed.
    rank = np.unique(np.concatenate([normal, outliers]), return_inverse=True)[1]
    threshold = np.sort(normal)[len(normal) // 20]
    return Detection(
        auroc=float(roc_auc_score(is_outlier, -rank)),
        aupr=float(average_precision_score(is_outlier, -rank)),
        fpr95=float((outliers >= threshold).mean()),
    )


def checked_scores(name: str, scores: ArrayLike) -> NDArray[np.float64]:
    """Return scores as an array; raise ValueError if there are none or NaN."""
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim != 1 or not len(array) or np.isnan(array).any():
        raise InvalidParameterError(
            f"The {name!r} parameter must be a 1-D array of at least one score, none "
            f"of them NaN. Got shape {array.shape} with {np.isnan(array).sum()} NaN."
        )
    return array
