"""Predicts classes from logits, and translates labels to class indices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy.special import log_softmax
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.validation import _num_samples

from skebm.estimators._published import Read, warn_of_interrupt
from skebm.estimators._weights import check_weights
from skebm.tables import UNLABELED, encode_known, encode_labels
from skebm.tables._checks import columns_text
from skebm.tables._labels import warn_of_empty_words
from skebm.utils import InvalidParameterError, is_number, sklearn_callers

#: Beyond, a class's gradient is as good as the only one, and single precision ends.
MAX_CLASS_WEIGHT = 1e6


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
        check_labels(y, predicted)
        sample_weight = check_weights(sample_weight, predicted)
        indices = encode_known(y, self.unlabeled, self.classes_)
        labeled = indices != UNLABELED
        if not labeled.any():
            return float("nan")
        if sample_weight is not None:
            sample_weight = sample_weight[labeled]
        return accuracy_score(
            indices[labeled], predicted[labeled], sample_weight=sample_weight
        )


def check_labels(y, X):
    """Raise an error unless y has a label for each row of X."""
    try:
        n_labels, n_rows = _num_samples(y), _num_samples(X)
    except TypeError as error:
        raise TypeError(f"y must be an array of labels. Got {y!r:.80}.") from error
    if n_labels != n_rows:
        raise ValueError(
            f"y must have one label for each of the {n_rows} rows of X. Got "
            f"inconsistent numbers of samples: {n_labels} labels."
        )


def check_movable(estimator, X):
    """Raise an error unless X is a tensor of the columns of `fit`, finite numbers."""
    if not isinstance(X, torch.Tensor):
        raise TypeError(f"X must be a torch tensor. Got {type(X).__name__}.")
    if X.ndim != 2 or X.shape[1] != estimator.n_features_in_:
        raise ValueError(
            f"X must have the shape (n_samples, {estimator.n_features_in_}). Got "
            f"{tuple(X.shape)}."
        )
    names = getattr(estimator, "feature_names_in_", None)
    if estimator.is_categorical_ is not None:
        raise ValueError(
            "The logits have no derivative in categories. Got "
            f"{columns_text(names, estimator.is_categorical_)} of categories."
        )
    bad = ~X.isfinite().all(dim=0)
    if bad.any():
        raise ValueError(
            "X must hold finite numbers, as missing entries have no derivative. Got "
            f"NaN or infinity in {columns_text(names, bad.cpu().numpy())}."
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
        raise InvalidParameterError(
            f"The 'classes' parameter must be that of the first call, "
            f"{known.tolist()}. Got {classes.tolist()} instead."
        )
    if known is None and given is None:
        warn_of_empty_words(classes)
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
    check_caller(indices)
    if (indices == UNLABELED).all():
        raise ValueError(
            f"All {len(indices)} rows of y are unlabelled "
            f"(unlabeled={unlabeled!r}); at least one label is needed."
        )
    return indices


def check_caller(indices):
    """Raise ValueError where the caller takes the unlabelled rows for a class.

    `CalibratedClassifierCV` calibrates a class of that name; with two others it then
    predicts one of them everywhere.
    """
    modules = {module for module, _ in sklearn_callers()}
    if (indices == UNLABELED).any() and "sklearn.calibration" in modules:
        raise ValueError(
            "CalibratedClassifierCV takes unlabelled y for a class. Use "
            "skebm.model_selection.WithUnlabeledRows, which takes unlabelled rows "
            "apart from y."
        )


def requested_indices(y, n_samples, classes):
    """Return the class indices of rows to draw; one label applies to all rows.

    Raises
    ------
    ValueError
        Where y has another length than n_samples, or a label not in ``classes``.
    """
    labels = [y] * n_samples if pd.api.types.is_scalar(y) else y
    indices = encode_known(labels, None, classes)
    if len(indices) != n_samples:
        raise InvalidParameterError(
            f"The 'y' parameter must be a class or hold n_samples={n_samples} of "
            f"them. Got {len(indices)}."
        )
    if (indices < 0).any():
        unknown = list(labels)[int((indices < 0).argmax())]
        raise InvalidParameterError(
            f"The 'y' parameter must hold classes of {classes.tolist()}. Got "
            f"{unknown!r}."
        )
    return indices


def class_weights(option, indices, classes):
    """Return the class weights of the option ``class_weight``; None without it.

    Raises
    ------
    ValueError
        Where the option names a class that is not in ``classes``, or a weight is not a
        number of at least 0, or all are 0.
    """
    if option is None:
        return None
    if isinstance(option, dict):
        return _weights_by_class(option, classes.tolist())
    labels = indices[indices >= 0]
    present = np.unique(labels)
    balanced = compute_class_weight(option, classes=present, y=labels)
    by_class = dict(zip(present.tolist(), balanced.tolist(), strict=True))
    return tuple(by_class.get(k, 1.0) for k in range(len(classes)))


def _weights_by_class(option, classes):
    """Return the weights that a dict gives the classes; 1 where it gives none."""
    unknown = [label for label in option if label not in classes]
    if unknown:
        raise InvalidParameterError(
            f"The 'class_weight' parameter must name classes of {classes}. Got "
            f"{unknown[0]!r}."
        )
    for label, weight in option.items():
        if not is_number(weight, 0, MAX_CLASS_WEIGHT):
            raise InvalidParameterError(
                "The 'class_weight' parameter must hold numbers from 0 to "
                f"{MAX_CLASS_WEIGHT:.0g}. Got {weight!r} for class {label!r}."
            )
    weights = tuple(float(option.get(label, 1.0)) for label in classes)
    if not any(weights):
        raise InvalidParameterError(
            "The 'class_weight' parameter must give a class a weight above 0. Got "
            f"{option!r}."
        )
    return weights


def transduced(labeled, fitted, classes, marker, temperature):
    """Return the classes of all rows: the label where there is one, else predicted.

    None where a KeyboardInterrupt comes.
    """
    try:
        z = fitted.encoder.encode(labeled.all_rows)
        y = encode_known(labeled.all_y, marker, classes)
        predicted = fitted.class_logits(z, temperature).argmax(axis=1)
    except KeyboardInterrupt:
        warn_of_interrupt("the labelling of the rows; transduction_ is None")
        return None
    return classes[np.where(y < 0, predicted, y)]
