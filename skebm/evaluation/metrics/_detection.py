"""How well scores tell outliers from normal rows, and conformal p-values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import average_precision_score, roc_auc_score


@dataclass(frozen=True)
class Detection:
    """What scores are worth as detectors of outliers.

    Attributes
    ----------
    auroc : float
        Chance that a normal row scores above an outlier; ties count half.
    aupr : float
        Average precision, the outliers being what is looked for.
    fpr95 : float
        Share of the outliers that are taken for normal where 95 % of the normal rows
        are; low is good.
    """

    auroc: float
    aupr: float
    fpr95: float


def detection(normal: ArrayLike, outliers: ArrayLike) -> Detection:
    r"""Judge scores that should be high on normal rows and low on outliers.

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
    normal, outliers = _scores("normal", normal), _scores("outliers", outliers)
    is_outlier = np.repeat([0, 1], [len(normal), len(outliers)])
    # The metrics need finite numbers and only the order counts: -inf and inf are fine.
    rank = np.unique(np.concatenate([normal, outliers]), return_inverse=True)[1]
    threshold = np.sort(normal)[len(normal) // 20]
    return Detection(
        auroc=float(roc_auc_score(is_outlier, -rank)),
        aupr=float(average_precision_score(is_outlier, -rank)),
        fpr95=float((outliers >= threshold).mean()),
    )


def conformal_p_values(
    scores: ArrayLike, calibration: ArrayLike
) -> NDArray[np.float64]:
    r"""Chance of a score as low, were the row exchangeable with the calibration rows.

    .. math:: p = \frac{1 + \#\{i: s_i \le s\}}{1 + n}

    Where the n calibration rows had no part in the making of the score and the row is
    exchangeable with them, :math:`P(p \le \alpha) \le \alpha` for every
    :math:`\alpha`, whatever the score.

    Parameters
    ----------
    scores : array-like of shape (m,)
        Scores to judge, higher is more normal.
    calibration : array-like of shape (n,)
        Scores of the calibration rows.

    Returns
    -------
    p_values : ndarray of shape (m,)
        float64, from 1 / (n + 1) to 1.

    References
    ----------
    Vovk, Gammerman, Shafer. Algorithmic learning in a random world. Springer, 2005.
    Bates et al. Testing for outliers with conformal p-values. Annals of Statistics 51,
    2023.

    Examples
    --------
    >>> from skebm.evaluation import conformal_p_values
    >>> conformal_p_values([-9.0, 2.0], calibration=[1.0, 2.0, 3.0])
    array([0.25, 0.75])
    """
    ordered = np.sort(_scores("calibration", calibration))
    n_as_low = np.searchsorted(ordered, _scores("scores", scores), side="right")
    return np.asarray((1 + n_as_low) / (1 + len(ordered)), np.float64)


def _scores(name: str, scores: ArrayLike) -> NDArray[np.float64]:
    """Return the scores as an array; raise ValueError naming what is wrong."""
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim != 1 or not len(array) or np.isnan(array).any():
        raise ValueError(
            f"The {name!r} parameter must be a 1-D array of at least one score, none "
            f"of them NaN. Got shape {array.shape} with {np.isnan(array).sum()} NaN."
        )
    return array
