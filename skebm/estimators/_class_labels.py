"""Predicts classes from logits, and translates labels to class indices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import check_consistent_length
from sklearn.utils.class_weight import compute_class_weight

from skebm.estimators._published import Read
from skebm.tables import UNLABELED, encode_known, encode_labels


@dataclass(frozen=True, eq=False)
class Labeled:
    """Rows and labels as `fit` reads them.

    Attributes
    ----------
    read : Read
        The rows that count.
    y : array-like of shape (n,)
        Their labels.
    all_rows, all_y
        Of every row, those of weight zero included.
    """

    read: Read
    y: object
    all_rows: np.ndarray
    all_y: object


class ClassLabelsMixin(ClassifierMixin):
    """Adds predictions, probabilities and accuracy to an estimator that has logits.

    The estimator has `_logits(X)` of shape (n, n_classes), which are log p(y|x) up to
    a constant in each row, the attribute `classes_` and the option `unlabeled`; one
    that is calibrated has `temperature_`.
    """

    def predict(self, X):
        """Return the most probable class of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        y : ndarray of shape (n_samples,)
        """
        indices = self._logits(X).argmax(axis=1)
        return self.classes_[indices]

    def predict_proba(self, X):
        """Return p(y|x), of shape (n_samples, n_classes), in the order of `classes_`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        probability : ndarray of shape (n_samples, n_classes)
        """
        probability = np.exp(self.predict_log_proba(X))
        return probability / probability.sum(axis=1, keepdims=True)

    def predict_log_proba(self, X):
        """Return log p(y|x), of shape (n_samples, n_classes).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        log_probability : ndarray of shape (n_samples, n_classes)
        """
        temperature = getattr(self, "temperature_", 1.0)
        return log_softmax(self._logits(X) / temperature, axis=1)

    def decision_function(self, X):
        """Return the logits; for two classes the second's less the first's.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        decision : ndarray of shape (n_samples, n_classes), or (n_samples,) for two
        """
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits

    def score(self, X, y, sample_weight=None):
        """Return the accuracy over the labelled rows; NaN where there is none.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Labels; rows with the marker don't count.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        accuracy : float
        """
        predicted = self._logits(X).argmax(axis=1)
        check_consistent_length(predicted, y, sample_weight)
        indices = encode_known(y, self.unlabeled, self.classes_)
        labeled = indices != UNLABELED
        if not labeled.any():
            return float("nan")
        if sample_weight is not None:
            sample_weight = np.asarray(sample_weight)[labeled]
        return accuracy_score(
            indices[labeled], predicted[labeled], sample_weight=sample_weight
        )


def learn_classes(y, unlabeled, given, known):
    """Return the classes of training passes, which the first pass decides.

    Parameters
    ----------
    y : array-like
        Labels.
    unlabeled : object
        The marker of rows without a label.
    given : array-like or None
        The option ``classes`` of this pass.
    known : ndarray or None
        The classes of the first pass; None in the first pass.

    Raises
    ------
    ValueError
        Where a later pass gives other classes than the first.
    """
    if known is not None and given is None:
        return known
    classes = encode_labels(y if given is None else given, unlabeled)[1]
    if known is not None and classes.tolist() != known.tolist():
        raise ValueError(
            f"The 'classes' parameter must be that of the first call, "
            f"{known.tolist()}. Got {classes.tolist()} instead."
        )
    return classes


def known_indices(y, unlabeled, classes):
    """Return the class indices of labels; -1 where unlabelled.

    Raises
    ------
    ValueError
        Where a label is not in ``classes``, or no row has a label.
    """
    indices = encode_known(y, unlabeled, classes)
    if (indices < UNLABELED).any():
        raise ValueError(
            "y holds classes that the first call did not see; expected "
            f"{classes.tolist()}."
        )
    if (indices == UNLABELED).all():
        raise ValueError(
            f"All {len(indices)} rows of y are unlabelled "
            f"(unlabeled={unlabeled!r}); at least one label is needed."
        )
    return indices


def requested_indices(y, n_samples, classes):
    """Return the class indices of rows to draw; one label applies to all rows.

    Raises
    ------
    ValueError
        Where y has another length than n_samples, or a label not in ``classes``.
    """
    labels = np.full(n_samples, y) if np.ndim(y) == 0 else np.asarray(y)
    if len(labels) != n_samples:
        raise ValueError(
            f"The 'y' parameter must be a class or hold n_samples={n_samples} of "
            f"them. Got {len(labels)}."
        )
    indices = encode_known(labels, None, classes)
    if (indices < 0).any():
        unknown = labels[indices < 0][0]
        raise ValueError(
            f"The 'y' parameter must hold classes of {classes.tolist()}. Got "
            f"{unknown!r}."
        )
    return indices


def class_weights(option, indices, classes):
    """Return the class weights of the option ``class_weight``; None without it.

    Raises
    ------
    ValueError
        Where the option names a class that is not in ``classes``.
    """
    if option is None:
        return None
    if isinstance(option, dict):
        known = encode_known(list(option), None, classes)
        if (known < 0).any():
            raise ValueError(
                f"The 'class_weight' parameter holds {list(option)}; the classes "
                f"are {classes.tolist()}."
            )
        weights = dict(zip(known.tolist(), option.values(), strict=True))
        return tuple(float(weights.get(k, 1.0)) for k in range(len(classes)))
    labels = indices[indices >= 0]
    present = np.unique(labels)
    balanced = compute_class_weight(option, classes=present, y=labels)
    by_class = dict(zip(present.tolist(), balanced.tolist(), strict=True))
    return tuple(by_class.get(k, 1.0) for k in range(len(classes)))
