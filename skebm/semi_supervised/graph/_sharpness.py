"""How sure a graph's soft labels should be, by held-out labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from skebm.semi_supervised.graph._prior_classifier import LABEL_NOISE

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

#: Greatest power, and deviation of the normal prior of its log about zero.
MAX_SHARPNESS, LOG_SHARPNESS_SPREAD = 32.0, 1.0


def sharpen(soft: Array, power: float) -> Array:
    """Return probabilities to a power, scaled to sums of one a row."""
    log_soft = power * np.log(np.maximum(soft, 1e-300))
    sharp = np.exp(log_soft - log_soft.max(axis=-1, keepdims=True))
    return sharp / sharp.sum(axis=-1, keepdims=True)


def fit_sharpness(soft: Array, labels: Indices) -> float:
    r"""Return the power of soft labels, from 1 to 32, that held-out labels like best.

    .. math:: \max_g \sum_i \log \Big((1 - e) \frac{p_i(y_i)^g}{\sum_k p_i(k)^g}
              + \frac{e}{K}\Big) - \frac{(\log g)^2}{2}

    with a share e of wrong labels. Harmonic labels are nearly even where labelled rows
    are few among many: a random walk forgets where it came from. Their order is right
    all the same.

    Parameters
    ----------
    soft : ndarray of shape (n, n_classes)
        Soft labels of rows whose labels were held out.
    labels : ndarray of int of shape (n,)
        Class indices of these rows.
    """
    rows, noise = np.arange(len(labels)), LABEL_NOISE / soft.shape[1]

    def loss(log_power: float) -> float:
        of_label = sharpen(soft, float(np.exp(log_power)))[rows, labels]
        fit = np.log((1 - LABEL_NOISE) * of_label + noise).sum()
        return 0.5 * (log_power / LOG_SHARPNESS_SPREAD) ** 2 - float(fit)

    bounds = 0.0, float(np.log(MAX_SHARPNESS))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))
