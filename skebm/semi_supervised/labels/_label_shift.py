"""Class priors of the unlabelled rows under label shift."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

#: Few, so that priors on which predictions hardly depend stay at their start.
N_STEPS = 10
N_RESAMPLES = 40
#: Factor of the variance, which a resampling of a few rows understates.
CAUTION = 3.0


def estimate_priors(
    predictions: Array,
    labels: Indices,
    mean_prediction: Array,
    counts: Indices,
    rng: np.random.RandomState,
) -> Array:
    r"""Estimate the class priors of unlabelled rows from a classifier's predictions.

    .. math:: m_j = \sum_k \pi_k C_{kj}, \qquad \pi_k \leftarrow
              \pi_k \sum_j C_{kj} \frac{m_j}{\sum_l \pi_l C_{lj}}

    with m the mean prediction over the unlabelled rows and :math:`C_k` that over the
    labelled rows of class k, each held out when it was predicted; the steps start at
    the class priors of the labelled rows. The estimate is shrunk towards these by the
    variances of both,

    .. math:: \pi_0 + w (\pi - \pi_0), \qquad w = \max\Big(
              \frac{v_0}{v_0 + v}, \; 1 - \frac{v}{|\pi - \pi_0|^2}, \; 0\Big)

    v is that of :math:`\pi`, by resampling, and :math:`v_0` that of a random draw of
    labels, zero where each class has as many: such labels were not drawn at random.

    Parameters
    ----------
    predictions : ndarray of shape (n_labeled, n_outputs)
        Nonnegative, of sum one; several classifiers' side by side if need be.
    labels : ndarray of shape (n_labeled,)
        Class indices.
    mean_prediction : ndarray of shape (n_outputs,)
        m.
    counts : ndarray of shape (n_classes,)
        Labels of each class; two at least.
    rng : RandomState
        Resamples the labelled rows, class by class.

    Returns
    -------
    class_priors : ndarray of shape (n_classes,)

    References
    ----------
    Saerens, Latinne, Decaestecker. Adjusting the outputs of a classifier to new a
    priori probabilities. Neural Computation 2002. Lipton, Wang, Smola. Detecting and
    correcting for label shift with black box predictors. ICML 2018. James, Stein.
    Estimation with quadratic loss. 1961, for the shrinkage.
    """
    known = counts / counts.sum()
    members = [np.flatnonzero(labels == k) for k in range(len(counts))]
    class_means = _class_means(predictions, members, predictions.mean(axis=0))
    found = _solve(class_means, mean_prediction, known)
    resampled = []
    for _ in range(N_RESAMPLES):
        drawn = [rng.choice(rows, len(rows)) for rows in members]
        any_row = predictions[rng.randint(len(labels), size=len(counts))]
        class_means = _class_means(predictions, drawn, any_row)
        resampled.append(_solve(class_means, mean_prediction, known))
    variance = CAUTION * np.var(resampled, axis=0).sum() + 1e-12
    at_random = np.ptp(counts) > 1
    known_variance = at_random * (known * (1 - known)).sum() / counts.sum()
    weight = max(
        known_variance / (known_variance + variance),
        1 - variance / (((found - known) ** 2).sum() + 1e-12),
    )
    return known + max(weight, 0.0) * (found - known)


def _class_means(predictions: Array, members: Sequence[Indices], extra: Array) -> Array:
    """Return the mean prediction of each class, one row of any class added to each."""
    totals = np.stack([predictions[rows].sum(axis=0) for rows in members])
    sizes = np.array([len(rows) + 1 for rows in members])
    return (totals + extra) / sizes[:, None]


def _solve(class_means: Array, mean_prediction: Array, start: Array) -> Array:
    """Return the class priors after a few steps of expectation maximisation."""
    priors = start
    for _ in range(N_STEPS):
        mixed = np.maximum(priors @ class_means, 1e-12)
        priors = priors * (class_means @ (mean_prediction / mixed))
    return priors / priors.sum()
