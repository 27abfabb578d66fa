"""Calibration error: predicted probabilities against frequencies."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skebm.utils import InvalidParameterError, is_count

Array = NDArray[np.float64]


def expected_calibration_error(
    y: ArrayLike,
    probability: ArrayLike,
    n_bins: int = 15,
    *,
    classes: ArrayLike | None = None,
) -> float:
    r"""Return the calibration error of the most probable class, in bins of equal mass.

    .. math:: \sum_b \frac{n_b}{n} \Big| \frac{1}{n_b} \sum_{i \in b} [\hat y_i = y_i]
              - \frac{1}{n_b} \sum_{i \in b} \max_k p_k(x_i) \Big|

    Bin b holds the rows between two quantiles of the confidence; rows of equal
    confidence share a bin. A calibrated model has zero in the limit; of n rows it
    still has about :math:`\sum_b (n_b / n) \sqrt{2 a_b (1 - a_b) / (\pi n_b)}`, with
    :math:`a_b` the bin's accuracy. (scikit-learn has ``brier_score_loss`` and
    ``log_loss`` of many classes.)

    Parameters
    ----------
    y : array-like of shape (n,)
        Labels.
    probability : array-like of shape (n, n_classes)
        p(y|x), as of ``predict_proba``.
    n_bins : int, default=15
        Number of bins.
    classes : array-like of shape (n_classes,), default=None
        Label of each column, as ``classes_``; None takes 0, 1, ...

    Returns
    -------
    error : float
        From 0 to 1.

    Raises
    ------
    ValueError
        Where shapes disagree, rows aren't probabilities, or y holds other labels.

    References
    ----------
    Guo, Pleiss, Sun, Weinberger. On calibration of modern neural networks. ICML 2017.
    Nixon et al. Measuring calibration in deep learning. CVPR workshops 2019.

    Examples
    --------
    >>> from skebm.evaluation import expected_calibration_error
    >>> expected_calibration_error([0, 0, 1, 1], [[0.75, 0.25]] * 4)
    0.25
    """
    n_rows, gaps = _binned(y, probability, n_bins, classes)
    return float(np.abs(gaps[:, 0] - gaps[:, 1]).sum() / n_rows.sum())


def reliability_bins(
    y: ArrayLike,
    probability: ArrayLike,
    n_bins: int = 15,
    *,
    classes: ArrayLike | None = None,
) -> tuple[Array, Array, NDArray[np.int64]]:
    """Return mean confidence, accuracy and number of rows of each bin that has rows.

    The bins and parameters are those of `expected_calibration_error`.
    """
    n_rows, sums = _binned(y, probability, n_bins, classes)
    hits, confidence = (sums / n_rows[:, None]).T
    return confidence, hits, n_rows


def _binned(
    y: ArrayLike, probability: ArrayLike, n_bins: int, classes: ArrayLike | None
) -> tuple[NDArray[np.int64], Array]:
    """Return the rows of each bin, and its sums of hits and of confidence, (n, 2)."""
    probability = _check_probability(probability)
    if not is_count(n_bins, 1):
        raise InvalidParameterError(
            f"The 'n_bins' parameter must be an integer, at least 1. Got {n_bins!r}."
        )
    n_rows, n_classes = probability.shape
    columns = np.arange(n_classes) if classes is None else np.asarray(classes)
    labels = np.asarray(y)
    if labels.shape != (n_rows,) or columns.shape != (n_classes,):
        raise ValueError(
            f"With 'probability' of shape {probability.shape}, 'y' must hold {n_rows} "
            f"labels and 'classes' {n_classes}. Got shapes {labels.shape} and "
            f"{columns.shape}."
        )
    unknown = labels[~np.isin(labels, columns)]
    if len(unknown):
        raise InvalidParameterError(
            f"The 'y' parameter must hold labels of {columns.tolist()}. Got "
            f"{unknown.tolist()[0]!r}."
        )
    confidence = probability.max(axis=1)
    right = columns[probability.argmax(axis=1)] == labels
    ordered = np.sort(confidence)
    first = np.searchsorted(ordered, confidence, side="left")
    last = np.searchsorted(ordered, confidence, side="right") - 1
    bins = (first + last) * n_bins // (2 * n_rows)
    counts = np.bincount(bins).astype(np.int64)
    sums = np.empty((len(counts), 2))
    sums[:, 0] = np.bincount(bins, right)
    sums[:, 1] = np.bincount(bins, confidence)
    return counts[counts > 0], sums[counts > 0]


def _check_probability(probability: ArrayLike) -> NDArray[np.float64]:
    """Return p(y|x) as an array; raise ValueError if it holds no probabilities."""
    array = np.asarray(probability, dtype=np.float64)
    if array.ndim != 2 or not len(array) or array.shape[1] < 2:
        raise InvalidParameterError(
            "The 'probability' parameter must have the shape (n, n_classes), with at "
            f"least one row and two classes. Got {array.shape}."
        )
    if not (array.min() >= 0 and np.allclose(array.sum(axis=1), 1, atol=1e-4)):
        raise InvalidParameterError(
            "The rows of the 'probability' parameter must be at least 0 and sum to 1. "
            f"Got a least entry of {array.min():.3g} and sums from "
            f"{array.sum(axis=1).min():.3g} to {array.sum(axis=1).max():.3g}."
        )
    return array
