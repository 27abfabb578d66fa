"""Labels in, class numbers out; unlabelled rows marked."""

from __future__ import annotations

import numbers

import numpy as np
import pandas as pd
from scipy.special import log_softmax
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.class_weight import compute_class_weight

UNLABELED = -1


def split_marker(y, unlabeled):
    """Return y as an array of numbers or objects and a mask of its unlabelled rows.

    Parameters
    ----------
    y : array-like of shape (n,)
        Labels; numbers, strings, objects, nullable or categorical.
    unlabeled : object
        The marker. None, NaN and pd.NA mark unlabelled rows too. With
        ``unlabeled=None`` no row is unlabelled and missing labels raise ValueError.
    """
    if isinstance(y, (list, tuple)):
        y = np.asarray(y, dtype=object)  # NumPy would turn NaN among strings into "nan"
    if not isinstance(y, (pd.Series, pd.api.extensions.ExtensionArray)):
        y = column_or_1d(y, dtype=None, warn=True)
    if isinstance(y, np.ndarray) and y.dtype.kind in "biuf":
        values, missing = y, np.isnan(y) if y.dtype.kind == "f" else y != y
    else:
        values = pd.Series(y).astype(object).to_numpy()
        missing = pd.isna(values)
    if unlabeled is None:
        if missing.any():
            raise ValueError(
                f"Input y contains NaN or None in {int(missing.sum())} rows, but "
                "unlabeled=None says that every row has a label."
            )
        return values, missing
    return values, missing | _equals_marker(values, missing, unlabeled)


def _equals_marker(values, missing, unlabeled):
    """Compare each label with the marker; arrays of strings hold it as a string."""
    if values.dtype != object:
        return values == unlabeled if isinstance(unlabeled, numbers.Number) else missing
    if pd.isna(unlabeled):
        return missing
    strings = all(isinstance(value, str) for value in values[~missing])
    if strings and isinstance(unlabeled, numbers.Number):
        unlabeled = str(unlabeled)
    marked = np.zeros(len(values), dtype=bool)
    for i, value in enumerate(values):
        if not missing[i]:
            same_kind = isinstance(value, str) == isinstance(unlabeled, str)
            marked[i] = same_kind and value == unlabeled
    return marked


def encode_labels(y, unlabeled):
    """Return class numbers (-1 where unlabelled) and the sorted classes.

    Raises
    ------
    ValueError
        Where fewer than two classes are left beside the marker, or labels are not of
        one kind.
    """
    values, hidden = split_marker(y, unlabeled)
    labels = values[~hidden]
    _check_classification(labels)
    if len(labels) == 0:
        raise ValueError(
            f"All {len(values)} rows of y are unlabelled (unlabeled={unlabeled!r}); "
            "at least two classes with a label each are needed."
        )
    try:
        classes, codes = np.unique(_compact(labels), return_inverse=True)
    except TypeError as error:
        kinds = sorted({type(label).__name__ for label in labels})
        raise ValueError(
            f"y must hold labels of one kind. Got a mixture of {kinds}."
        ) from error
    _check_two_classes(classes, hidden.sum(), unlabeled)
    numbers_of_rows = np.full(len(values), UNLABELED, dtype=np.int64)
    numbers_of_rows[~hidden] = codes
    return numbers_of_rows, classes


def encode_known(y, unlabeled, classes):
    """Return the numbers of y in ``classes``: -1 unlabelled, -2 a class not in fit."""
    values, hidden = split_marker(y, unlabeled)
    number = {label: k for k, label in enumerate(classes.tolist())}
    codes = np.array([number.get(v, -2) for v in values.tolist()], dtype=np.int64)
    codes[hidden] = UNLABELED
    return codes


def _compact(labels):
    """Return the labels in the dtype NumPy would give them, objects where mixed."""
    if labels.dtype != object:
        return labels
    if all(isinstance(label, str) for label in labels):
        return np.array(labels.tolist())
    if any(isinstance(label, str) for label in labels):
        return labels
    return np.array(labels.tolist())


def _check_classification(labels):
    floats = [v for v in labels.tolist() if isinstance(v, float)]
    broken = [v for v in floats if v != np.floor(v) or np.isinf(v)]
    if broken:
        raise ValueError(
            "Unknown label type: continuous. Classes are needed in y; got the value "
            f"{broken[0]!r}."
        )


def _check_two_classes(classes, n_unlabeled, unlabeled):
    if len(classes) >= 2:
        return
    message = (
        f"y holds only one class, {classes.tolist()[0]!r}, beside {n_unlabeled} "
        "unlabelled rows; at least two classes are needed."
    )
    if n_unlabeled and unlabeled == -1 and str(classes[0]) in ("1", "1.0"):
        message += (
            " Labels are {-1, 1}: -1 means unlabelled here; recode y or set "
            "unlabeled=None."
        )
    raise ValueError(message)


class ClassLabelsMixin(ClassifierMixin):
    """Classes from logits: predictions, accuracy and class weights, known labels.

    A face provides `_logits(X)` of shape (n, n_classes), up to a constant a row the log
    of p(y|x), the attribute `classes_` and the options `unlabeled` and `class_weight`.
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
        codes = self._logits(X).argmax(axis=1)
        return self.classes_[codes]

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
        return log_softmax(self._tempered_logits(X), axis=1)

    def _tempered_logits(self, X):
        """Return the logits of p(y|x); a face that calibrates divides them."""
        return self._logits(X)

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
        codes = encode_known(y, self.unlabeled, self.classes_)
        labeled = codes != UNLABELED
        if not labeled.any():
            return float("nan")
        if sample_weight is not None:
            sample_weight = np.asarray(sample_weight)[labeled]
        return accuracy_score(
            codes[labeled], predicted[labeled], sample_weight=sample_weight
        )

    def _learn_classes(self, y, classes, first):
        """Set `classes_`; later calls of `partial_fit` may only confirm them."""
        if not first and classes is None:
            return
        given = encode_labels(y if classes is None else classes, self.unlabeled)[1]
        if not first and given.tolist() != self.classes_.tolist():
            raise ValueError(
                f"The 'classes' parameter must be that of the first call, "
                f"{self.classes_.tolist()}. Got {given.tolist()} instead."
            )
        self.classes_ = given

    def _requested_codes(self, y, n_samples):
        labels = np.full(n_samples, y) if np.ndim(y) == 0 else np.asarray(y)
        if len(labels) != n_samples:
            raise ValueError(
                f"The 'y' parameter must be a class or hold n_samples={n_samples} of "
                f"them. Got {len(labels)}."
            )
        codes = encode_known(labels, None, self.classes_)
        if (codes < 0).any():
            unknown = labels[codes < 0][0]
            raise ValueError(
                f"The 'y' parameter must hold classes of {self.classes_.tolist()}. Got "
                f"{unknown!r}."
            )
        return codes

    def _codes_of_known_classes(self, y):
        codes = encode_known(y, self.unlabeled, self.classes_)
        if (codes < UNLABELED).any():
            raise ValueError(
                "y holds classes that the first call did not see; expected "
                f"{self.classes_.tolist()}."
            )
        if (codes == UNLABELED).all():
            raise ValueError(
                f"All {len(codes)} rows of y are unlabelled "
                f"(unlabeled={self.unlabeled!r}); at least one label is needed."
            )
        return codes

    def _resolve_class_weights(self, codes):
        if self.class_weight is None:
            return None
        labels = codes[codes >= 0]
        numbers = np.arange(len(self.classes_))
        weights = self.class_weight
        if isinstance(weights, dict):
            known = encode_known(list(weights), None, self.classes_)
            if (known < 0).any():
                raise ValueError(
                    f"The 'class_weight' parameter holds {list(weights)}; the classes "
                    f"are {self.classes_.tolist()}."
                )
            weights = dict(zip(known.tolist(), weights.values(), strict=True))
            return tuple(float(weights.get(k, 1.0)) for k in numbers)
        present = np.unique(labels)
        balanced = compute_class_weight(weights, classes=present, y=labels)
        by_class = dict(zip(present.tolist(), balanced.tolist(), strict=True))
        return tuple(by_class.get(k, 1.0) for k in numbers.tolist())
