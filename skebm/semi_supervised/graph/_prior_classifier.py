"""The supervised classifier beside the graph, and its weight by cross-validation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import softmax
from sklearn.metrics.pairwise import euclidean_distances

from skebm.semi_supervised.graph._propagation import (
    PriorLabels,
    match_priors,
    propagate_labels,
)
from skebm.semi_supervised.labels._held_out_labels import HeldOutLabels
from skebm.semi_supervised.labels._label_shift import estimate_priors

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

#: Candidates for the weight of the classifier, in mean degrees of the graph.
PRIOR_WEIGHTS = (0.0, 0.01, 0.1, 1.0)
RIDGE = 0.01
RIDGE_SHARPNESS = 8.0
#: Rows that are predicted at once.
CHUNK_ROWS = 10_000
#: Probability that a label is wrong, so that no single row decides.
LABEL_NOISE = 0.05


class KernelRidge:
    """Kernel ridge regression on one-hot labels, fitted to any part of them.

    The width of its Gaussian kernel is the median distance.

    Parameters
    ----------
    Z : ndarray of shape (n, n_features)
        Standardised rows.
    rows : ndarray of int of shape (n_labeled,)
        Indices of the labelled rows.
    labels : ndarray of int of shape (n_labeled,)
        Their class indices.
    n_classes : int
        Number of classes.
    """

    def __init__(self, Z: Array, rows: Indices, labels: Indices, n_classes: int):
        kernel = euclidean_distances(Z, Z[rows], squared=True)
        kernel /= -max(np.median(kernel), 1e-12)
        self.kernel = np.exp(kernel, out=kernel)  # large: no further copy
        self.targets = np.eye(n_classes)[labels] - 1 / n_classes
        self.rows = rows

    def predict(self, part: Indices) -> Array:
        """Return class probabilities of all n rows after a fit to ``rows[part]``."""
        among = self.kernel[self.rows[part]][:, part].astype(np.float64)
        system = among + RIDGE * np.eye(len(part))
        weights = np.linalg.solve(system, self.targets[part])
        n_rows = len(self.kernel)
        predicted = np.empty((n_rows, weights.shape[1]))
        for start in range(0, n_rows, CHUNK_ROWS):
            some = slice(start, start + CHUNK_ROWS)
            predicted[some] = self.kernel[some][:, part].astype(np.float64) @ weights
        return softmax(RIDGE_SHARPNESS * predicted, axis=1)

    def predict_by(self, y: Indices) -> Array:
        """Return class probabilities of all n rows after a fit to those labelled."""
        return self.predict(np.flatnonzero(y[self.rows] >= 0))


@dataclass(frozen=True, eq=False)
class GraphPriors:
    """Class priors of the unlabelled rows, and the weight of a supervised classifier.

    Attributes
    ----------
    class_priors : ndarray of shape (n_classes,)
        Estimated class priors.
    weight : float, default=0.0
        Of the classifier, in units of the graph's mean degree.
    classifier : KernelRidge or None, default=None
        None where the weight is zero.
    """

    class_priors: Array
    weight: float = 0.0
    classifier: KernelRidge | None = None

    def labels(self, y: Indices) -> PriorLabels | None:
        """Return the classifier's predictions after a fit to y; None without one."""
        if self.classifier is None:
            return None
        return PriorLabels(self.classifier.predict_by(y), self.weight)

    def on_more_rows(self, Z: Array, y: Indices, part: Indices) -> GraphPriors:
        """Return a copy for a table whose rows ``part`` these priors are of.

        Parameters
        ----------
        Z : ndarray of shape (n, n_features)
            Rows of the table.
        y : ndarray of int of shape (n,)
            Their class indices, -1 where unlabelled.
        part : ndarray of int
            Indices of the rows that the priors were chosen by.
        """
        if self.classifier is None:
            return self
        rows, n_classes = part[self.classifier.rows], len(self.class_priors)
        return replace(self, classifier=KernelRidge(Z, rows, y[rows], n_classes))


@dataclass(frozen=True, eq=False)
class Fold:
    """One fold of a cross-validation.

    Attributes
    ----------
    held_out : ndarray of int
        Positions of its rows among the held-out labels.
    rows : ndarray of int
        Indices of these rows in the graph.
    y : ndarray of int of shape (n,)
        Class indices without the fold's labels.
    prediction : ndarray of shape (n, n_classes)
        The classifier's class probabilities after a fit to y.
    soft : ndarray of shape (n, n_classes)
        Those along the graph alone, by the labels y.
    """

    held_out: Indices
    rows: Indices
    y: Indices
    prediction: Array
    soft: Array


def choose_priors(
    affinities: sparse.csr_array,
    Z: Array,
    y: Indices,
    n_classes: int,
    rng: np.random.RandomState,
) -> GraphPriors:
    """Choose class priors and the weight of a supervised classifier by held-out labels.

    Parameters
    ----------
    affinities : sparse array of shape (n, n)
        Edge weights.
    Z : ndarray of shape (n, n_features)
        Standardised rows.
    y : ndarray of int of shape (n,)
        Class indices, -1 where unlabelled.
    n_classes : int
        Number of classes.
    rng : RandomState
        Draws the held-out labels, and resamples them.
    """
    counts = np.bincount(y[y >= 0], minlength=n_classes)
    labeled_priors = counts / counts.sum()
    held_out = HeldOutLabels.choose(y, n_classes, rng)
    if held_out is None:
        return GraphPriors(labeled_priors)
    singles = np.flatnonzero((y >= 0) & (counts[y] < 2))
    known = np.append(held_out.rows, singles)
    classifier = KernelRidge(Z, known, y[known], n_classes)
    folds = _make_folds(classifier, held_out, y, affinities)
    class_priors = labeled_priors
    if (counts >= 2).all():
        predictions, mean = _predict_side_by_side(folds)
        class_priors = estimate_priors(predictions, held_out.labels, mean, counts, rng)
    predicted = _predict_by_weight(affinities, folds, class_priors)
    # The held-out rows have the class priors of the labelled rows.
    predicted *= labeled_priors / np.maximum(class_priors, 1e-12)
    predicted /= predicted.sum(axis=2, keepdims=True)
    weight = PRIOR_WEIGHTS[choose_weight(predicted, held_out.labels)]
    return GraphPriors(class_priors, weight, classifier if weight else None)


def _make_folds(
    classifier: KernelRidge,
    held_out: HeldOutLabels,
    y: Indices,
    affinities: sparse.csr_array,
) -> list[Fold]:
    """Fit the classifier, and spread the labels, without each fold in turn."""
    folds = []
    n_singles = len(classifier.rows) - len(held_out)
    fold_of_row = np.append(held_out.folds, np.full(n_singles, -1))
    for k in range(held_out.n_folds):
        positions = np.flatnonzero(held_out.folds == k)
        prediction = classifier.predict(np.flatnonzero(fold_of_row != k))
        rows = held_out.rows[positions]
        known = held_out.hide(y, k)
        soft = propagate_labels(affinities, known, prediction.shape[1])
        folds.append(Fold(positions, rows, known, prediction, soft))
    return folds


def _predict_side_by_side(folds: Sequence[Fold]) -> tuple[Array, Array]:
    """Return the held-out rows' probabilities by graph and classifier, side by side.

    And the mean over the unlabelled rows.
    """
    n_classes = folds[0].prediction.shape[1]
    n_held_out = sum(len(fold.rows) for fold in folds)
    predictions, means = np.empty((n_held_out, 2 * n_classes)), []
    for fold in folds:
        both = np.hstack([fold.soft, fold.prediction]) / 2
        predictions[fold.held_out] = both[fold.rows]
        unlabeled = fold.y < 0
        unlabeled[fold.rows] = False
        means.append(both[unlabeled].mean(axis=0))
    return predictions, np.mean(means, axis=0)


def _predict_by_weight(
    affinities: sparse.csr_array, folds: Sequence[Fold], class_priors: Array
) -> Array:
    """Return the held-out rows' class probabilities by each candidate weight.

    They match the given class priors; the shape is (n_weights, n_held_out, n_classes).
    """
    n_classes = len(class_priors)
    n_held_out = sum(len(fold.rows) for fold in folds)
    predicted = np.empty((len(PRIOR_WEIGHTS), n_held_out, n_classes))
    for fold in folds:
        for i, weight in enumerate(PRIOR_WEIGHTS):
            soft = fold.soft
            if weight:
                prior = PriorLabels(fold.prediction, weight)
                soft = propagate_labels(affinities, fold.y, n_classes, prior)
            matched = match_priors(soft, fold.y, class_priors)
            predicted[i, fold.held_out] = matched[fold.rows]
    return predicted


def choose_weight(predicted: Array, labels: Indices) -> int:
    """Return the index of the likeliest weight; 0 unless clearly more rows are right.

    That is, unless the rows that it gains outnumber those that it loses by a standard
    error.

    Parameters
    ----------
    predicted : ndarray of shape (n_weights, n, n_classes)
        Class probabilities of held-out rows by each weight.
    labels : ndarray of int of shape (n,)
        Their class indices.
    """
    of_label = predicted[:, np.arange(len(labels)), labels]
    noise = LABEL_NOISE / predicted.shape[2]
    likelihood = np.log((1 - LABEL_NOISE) * of_label + noise).mean(axis=1)
    best = int(likelihood.argmax())
    right = (predicted.argmax(axis=2) == labels).astype(int)
    change = right[best] - right[0]
    return best if change.sum() > math.sqrt(np.abs(change).sum()) else 0
