"""Temperature scaling of predicted probabilities, by held-out labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

#: Mean and deviation of the normal prior of log T: few held-out labels cannot show how
#: overconfident nets of few labels are.
LOG_TEMPERATURE, LOG_TEMPERATURE_SPREAD = 0.2, 0.4
#: The same without any held-out label, where labels are fewer and nets surer.
LOG_TEMPERATURE_OF_FEWEST = 0.5


def fit_temperature(
    log_prob: Array, labels: Indices, weight: float | Array = 1.0
) -> float:
    """Return the T that maximises the posterior of softmax(log_prob / T).

    Parameters
    ----------
    log_prob : ndarray of shape (n, n_classes)
        Predictions for rows that were held out of training.
    labels : ndarray of int of shape (n,)
        Their class indices.
    weight : float or ndarray of shape (n,), default=1.0
        Sample weights.

    References
    ----------
    Guo, Pleiss, Sun, Weinberger. On calibration of modern neural networks. ICML 2017.
    """
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(log_prob / np.exp(log_temperature), axis=1)
        deviation = (log_temperature - LOG_TEMPERATURE) / LOG_TEMPERATURE_SPREAD
        return 0.5 * deviation**2 - (weight * scaled[rows, labels]).sum()

    return float(np.exp(minimize_scalar(loss, bounds=(-2, 2), method="bounded").x))


def scale_by_own_temperature(
    probability: Array, labels: Indices, weight: float | Array = 1.0
) -> Array:
    """Return predicted probabilities after temperature scaling on these very rows."""
    log_prob = np.log(probability + 1e-12)
    temperature = fit_temperature(log_prob, labels, weight)
    return softmax(log_prob / temperature, axis=1)
