"""Outliers told from p-values so that few of them are false alarms."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln
from scipy.stats import false_discovery_control

from skebm.utils import InvalidParameterError, is_count, is_number, is_positive

#: Adjusted p-values above the level by so little, in relation, are at it: rounding.
ROUNDING = 1e-12


def benjamini_hochberg(p_values: ArrayLike, alpha: float = 0.1) -> NDArray[np.bool_]:
    r"""Return which rows are outliers, with a bounded share of false alarms.

    .. math:: p_i \le \alpha k / m, \qquad
              k = \max \{j: p_{(j)} \le \alpha j / m\}

    of m rows. Where the p-values of normal rows are valid, and independent or conformal
    by the same calibration rows, the expected share of normal rows among those called
    out is at most :math:`\alpha` times the share of normal rows.

    Parameters
    ----------
    p_values : array-like of shape (m,)
        P-values of the rows that are judged together, such as those of
        `conformal_p_values`.
    alpha : float, default=0.1
        The false discovery rate, between 0 and 1.

    Returns
    -------
    is_outlier : ndarray of bool of shape (m,)

    Raises
    ------
    ValueError
        Where the p-values are not numbers from 0 to 1, or ``alpha`` is out of range.

    See Also
    --------
    conditional_p_values : P-values that hold for the calibration rows at hand.

    Notes
    -----
    With n calibration rows, no conformal p-value is below 1 / (n + 1), so that fewer
    than :math:`m / (\alpha (n + 1))` outliers are never called out. Take n well above
    :math:`1 / (\alpha \pi)`, where :math:`\pi` is the share of outliers.

    References
    ----------
    Benjamini, Hochberg. Controlling the false discovery rate. JRSS B 57, 1995.
    Bates, Candès, Lei, Romano, Sesia. Testing for outliers with conformal p-values.
    Annals of Statistics 51, 2023.

    Examples
    --------
    >>> from skebm.evaluation import benjamini_hochberg
    >>> benjamini_hochberg([0.001, 0.4, 0.06, 0.9], alpha=0.1).tolist()
    [True, False, False, False]
    """
    p_values = _checked("p_values", p_values)
    if not (is_positive(alpha) and is_number(alpha, 0, 1)):
        raise InvalidParameterError(
            f"The 'alpha' parameter must be a number above 0, at most 1. Got {alpha!r} "
            "instead."
        )
    if not len(p_values):
        return np.zeros(0, dtype=bool)
    adjusted = false_discovery_control(p_values)
    return np.asarray(adjusted <= alpha * (1 + ROUNDING))


def conditional_p_values(
    p_values: ArrayLike, n_calibration: int, delta: float = 0.1
) -> NDArray[np.float64]:
    r"""Return conformal p-values that hold for the calibration rows at hand.

    A conformal p-value is valid in the mean over calibration rows: with some of them,
    more than :math:`\alpha` of all new normal rows have :math:`p \le \alpha`. The
    p-values returned are larger, and
    :math:`P(p \le \alpha | \text{calibration rows}) \le \alpha` holds for all
    :math:`\alpha` at once, with a probability of :math:`1 - \delta` over calibration
    rows. They are

    .. math:: b_{(n + 1) p}, \qquad b_{n + 1 - i} = 1 - \left( \delta
              \frac{i (i - 1) \dots (i - k + 1)}{n (n - 1) \dots (n - k + 1)}
              \right)^{1 / k}, \qquad b_{n + 1} = 1

    with k = n / 2: by the generalised inequality of Simes, b bounds all order
    statistics of n uniform numbers.

    Parameters
    ----------
    p_values : array-like of shape (m,)
        P-values of `conformal_p_values`.
    n_calibration : int
        Number n of calibration rows.
    delta : float, default=0.1
        Probability that they do not hold, between 0 and 1.

    Returns
    -------
    p_values : ndarray of shape (m,)
        float64. The least is about :math:`2 \log(1 / \delta) / n`; those above a half
        are 1.

    Raises
    ------
    ValueError
        Where an argument is out of range.

    References
    ----------
    Bates, Candès, Lei, Romano, Sesia. Testing for outliers with conformal p-values.
    Annals of Statistics 51, 2023.
    Sarkar. Generalizing Simes' test and Hochberg's stepup procedure. Annals of
    Statistics 36, 2008.

    Examples
    --------
    >>> from skebm.evaluation import conditional_p_values, conformal_p_values
    >>> p_values = conformal_p_values([-9.0, 50.0], calibration=range(100))
    >>> p_values.round(3)
    array([0.01 , 0.515])
    >>> conditional_p_values(p_values, 100).round(3)
    array([0.045, 1.   ])
    """
    p_values = _checked("p_values", p_values)
    if not is_count(n_calibration, 1):
        raise InvalidParameterError(
            "The 'n_calibration' parameter must be an integer, at least 1. Got "
            f"{n_calibration!r} instead."
        )
    if not (is_positive(delta) and is_number(delta, 0, 1) and delta < 1):
        raise InvalidParameterError(
            f"The 'delta' parameter must be a number between 0 and 1. Got {delta!r} "
            "instead."
        )
    place = np.ceil((n_calibration + 1) * p_values * (1 - ROUNDING)).astype(int)
    return _bounds(n_calibration, delta)[place.clip(1) - 1]


def _bounds(n: int, delta: float) -> NDArray[np.float64]:
    """Return b_1 to b_(n + 1)."""
    k = max(n // 2, 1)
    i = np.arange(n, k - 1, -1)  # below k the product is 0
    log_share = gammaln(i + 1) - gammaln(i - k + 1)
    log_share -= log_share[0]
    bounds = np.ones(n + 1)
    bounds[: len(i)] = -np.expm1((np.log(delta) + log_share) / k)
    return bounds


def _checked(name: str, p_values: ArrayLike) -> NDArray[np.float64]:
    """Return p-values as an array."""
    array = np.asarray(p_values, dtype=np.float64)
    if array.ndim != 1 or not ((array >= 0) & (array <= 1)).all():
        raise InvalidParameterError(
            f"The {name!r} parameter must be a 1-D array of numbers from 0 to 1. Got "
            f"shape {array.shape}."
        )
    return array
