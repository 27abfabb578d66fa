"""Class shares of the unlabelled rows from stacked predictions, with an interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

#: Weight of the labelled rows' shares against those that all unlabelled rows show.
PRIOR_WEIGHT = 0.15
#: Level of the interval, resamples behind it, and the factor by which its arms are
#: longer than the resamples': these know the classifier that is there, not its errors.
LEVEL, N_RESAMPLES, ARM_FACTOR = 0.9, 100, 2.0
#: Added to both arms: the shares of the rows themselves are finite samples.
LEAST_ARM = 0.01
MAX_STEPS, TOLERANCE = 200, 1e-6


@dataclass(frozen=True, eq=False)
class ClassShares:
    """Class shares of the unlabelled rows, and how far they can be wrong.

    Attributes
    ----------
    shares : ndarray of shape (n_classes,)
        Of sum one.
    interval : ndarray of shape (n_classes, 2)
        Lower and upper ends of a 90 % interval of each share.
    """

    shares: Array
    interval: Array

    @classmethod
    def unknown(cls, shares: Array) -> Self:
        """Return shares that no held-out label supports: the interval is all."""
        return cls(shares, np.tile([0.0, 1.0], (len(shares), 1)))

    @classmethod
    def exact(cls, shares: Array) -> Self:
        """Return shares that are known: those of a table without unlabelled rows."""
        return cls(shares, np.repeat(shares[:, None], 2, axis=1))

    @classmethod
    def estimate(
        cls,
        unlabeled: Array,
        held_out: Array,
        labels: Indices,
        known: Array,
        rng: np.random.RandomState,
        trained: Array | None = None,
    ) -> Self:
        r"""Return the shares that maximise a penalised likelihood.

        .. math:: \pi_k \leftarrow \frac{1}{1 + a} \Big(\frac1n \sum_i
                  \frac{\pi_k p_k(x_i) / \tau_k}{\sum_l \pi_l p_l(x_i) / \tau_l}
                  + a \kappa_k\Big)

        with :math:`\kappa` the shares of the labelled rows, :math:`\tau` those that
        they have by their weights in training, which p is for, and
        a = 0.15. The ends of the interval are at twice the distance of the quantiles
        of shares that explain the mean prediction by the mean predictions of the
        classes' held-out labels, under resampling of these.

        Parameters
        ----------
        unlabeled : ndarray of shape (n, n_classes)
            Class probabilities p of the unlabelled rows.
        held_out : ndarray of shape (n_labels, n_classes)
            Those of the labelled rows, each by a classifier that did not see it.
        labels : ndarray of int of shape (n_labels,)
            Their class indices.
        known : ndarray of shape (n_classes,)
            kappa.
        rng : RandomState
            Resamples the labels.
        trained : ndarray of shape (n_classes,) or None, default=None
            tau; None where labels have equal weights.

        References
        ----------
        Saerens, Latinne, Decaestecker. Adjusting the outputs of a classifier to new a
        priori probabilities. Neural Computation 2002. Lipton, Wang, Smola. Detecting
        and correcting for label shift with black box predictors. ICML 2018.
        """
        shares = _maximise(unlabeled, known, known if trained is None else trained)
        mean = unlabeled.mean(axis=0)
        resampled = [
            _explain(mean, _resample(held_out, labels, len(known), rng))
            for _ in range(N_RESAMPLES)
        ]
        ends = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
        below = ARM_FACTOR * np.maximum(shares - ends[0], 0) + LEAST_ARM
        above = ARM_FACTOR * np.maximum(ends[1] - shares, 0) + LEAST_ARM
        interval = np.stack([shares - below, shares + above], axis=1)
        return cls(shares, interval.clip(0, 1))


def _maximise(probability: Array, known: Array, trained: Array) -> Array:
    """Return the fixed point of the steps of expectation maximisation."""
    relative, shares = probability / np.maximum(trained, 1e-12), known
    for _ in range(MAX_STEPS):
        joint = relative * shares
        found = (joint / np.maximum(joint.sum(axis=1, keepdims=True), 1e-300)).mean(0)
        before, shares = shares, (found + PRIOR_WEIGHT * known) / (1 + PRIOR_WEIGHT)
        if np.abs(shares - before).max() < TOLERANCE:
            break
    return shares / shares.sum()


def _resample(
    held_out: Array, labels: Indices, n_classes: int, rng: np.random.RandomState
) -> Array:
    """Return mean predictions of the classes under random weights of the labels.

    One row of any class is added to each: a class may have few labels.
    """
    weights = rng.exponential(size=len(labels))
    totals = np.zeros((n_classes, n_classes))
    np.add.at(totals, labels, held_out * weights[:, None])
    sizes = np.bincount(labels, weights, minlength=n_classes)
    extra = held_out[rng.randint(len(labels), size=n_classes)]
    return (totals + extra) / (sizes + 1)[:, None]


def _explain(mean: Array, class_means: Array) -> Array:
    """Return the shares of classes whose mean predictions mix to a given mean."""
    shares = np.full(len(mean), 1 / len(mean))
    for _ in range(MAX_STEPS // 2):
        mixed = np.maximum(shares @ class_means, 1e-12)
        shares = shares * (class_means @ (mean / mixed))
    return shares / shares.sum()
