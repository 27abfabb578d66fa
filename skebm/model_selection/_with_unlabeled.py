"""A classifier that is given its unlabelled rows apart from y."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from skebm.tables._labels import encode_labels, split_marker, warn_of_empty_words
from skebm.utils import InvalidParameterError

#: Marker of unlabelled rows that the inner classifier is given.
MARKER = -1


def _inner_has(name):
    """Return a check that the inner classifier has a method."""

    def check(self):
        getattr(getattr(self, "estimator_", self.estimator), name)
        return True

    return check


class WithUnlabeledRows(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """Semi-supervised classifier that is given its unlabelled rows apart from y.

    Many meta-estimators of scikit-learn (`VotingClassifier`, `BaggingClassifier`,
    `StackingClassifier`, `CalibratedClassifierCV`, `OneVsRestClassifier`, and
    `cross_val_predict` of probabilities) take the marker -1 for one more class. This
    wrapper is fitted to labelled rows alone, as they expect, and adds the unlabelled
    ones in each `fit` of its classifier.

    Parameters
    ----------
    estimator : classifier
        A classifier to which -1 in y means unlabelled, such as `JEMClassifier`,
        `RBMClassifier` or those of `sklearn.semi_supervised`; or a pipeline that ends
        in one, whose transformers then learn from unlabelled rows too.
    X_unlabeled : array-like of shape (n_unlabeled, n_features)
        Rows without a label, with the columns of the X of `fit`.

    Attributes
    ----------
    estimator_ : classifier
        The fitted classifier. Its classes are 0, 1, ..., the places of ours.
    classes_ : ndarray of shape (n_classes,)
        The classes.
    n_features_in_ : int
        Columns seen in fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X had string names.

    See Also
    --------
    SemiSupervisedSplit : Folds for searches, where y may hold the marker.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.calibration import CalibratedClassifierCV
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.semi_supervised import LabelSpreading
    >>> from skebm.model_selection import WithUnlabeledRows
    >>> X, y = load_iris(return_X_y=True)
    >>> labeled = np.arange(150) % 5 == 0
    >>> model = WithUnlabeledRows(LabelSpreading(), X[~labeled])
    >>> CalibratedClassifierCV(model).fit(X[labeled], y[labeled]).classes_
    array([0, 1, 2])
    """

    def __init__(self, estimator, X_unlabeled):
        self.estimator = estimator
        self.X_unlabeled = X_unlabeled

    def fit(self, X, y, **fit_params):
        """Fit the classifier to the rows of X and the unlabelled ones.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows that have a label.
        y : array-like of shape (n_samples,)
            Their labels.
        **fit_params : dict
            Other parameters of the classifier's `fit`. ``sample_weight`` has a weight
            for each row of X; the unlabelled rows get their mean.

        Returns
        -------
        self : WithUnlabeledRows

        Raises
        ------
        ValueError
            Where y holds the marker beside two classes or more, where `X_unlabeled` has
            other columns than X, or where `estimator` has another marker.
        TypeError
            Where ``sample_weight`` is given to a classifier that takes none.
        """
        self._check_marker()
        values, hidden = split_marker(y, MARKER)
        # Beside one other class, -1 is the second class: labels of -1 and 1.
        is_class = len(set(values[~hidden].tolist())) == 1
        if hidden.any() and not is_class:
            raise ValueError(
                f"y holds {int(hidden.sum())} unlabelled rows. Pass labelled rows alone"
                " to fit, and the others as the 'X_unlabeled' parameter."
            )
        indices, classes = encode_labels(y, None)
        warn_of_empty_words(classes)
        rows = _stacked(X, self.X_unlabeled)
        n_unlabeled = rows.shape[0] - len(indices)
        labels = np.r_[indices, np.full(n_unlabeled, MARKER)]
        for name, value in fit_params.items():
            if name.rpartition("__")[2] == "sample_weight" and value is not None:
                self._check_takes(name)
                weight = _weights_of_all(value, len(indices), n_unlabeled)
                fit_params[name] = weight
        if fit_params.get("sample_weight", 0) is None:
            del fit_params["sample_weight"]
        self.estimator_ = clone(self.estimator).fit(rows, labels, **fit_params)
        self.classes_ = classes[self.estimator_.classes_]
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self.estimator_, name):
                setattr(self, name, getattr(self.estimator_, name))
        return self

    def _check_marker(self):
        """Raise ValueError where the classifier, or a step of it, marks otherwise."""
        for name, marker in self.estimator.get_params().items():
            is_marker = name.rpartition("__")[2] == "unlabeled"
            if is_marker and (marker is None or marker != MARKER):
                raise InvalidParameterError(
                    "The 'estimator' parameter must mark unlabelled rows by "
                    f"unlabeled={MARKER}. Got {name}={marker!r}."
                )

    def _check_takes(self, name):
        """Raise TypeError where the classifier's `fit` takes no ``sample_weight``."""
        if name == "sample_weight" and not has_fit_parameter(self.estimator, name):
            raise InvalidParameterError(
                f"The 'sample_weight' parameter: {type(self.estimator).__name__}.fit "
                "takes none. In a pipeline name the step, as "
                "'jemclassifier__sample_weight'."
            )

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
        check_is_fitted(self)
        places = np.searchsorted(self.estimator_.classes_, self.estimator_.predict(X))
        return self.classes_[places]

    @available_if(_inner_has("predict_proba"))
    def predict_proba(self, X):
        """Return p(y|x) by the classifier, of shape (n_samples, n_classes).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        probability : ndarray of shape (n_samples, n_classes)
        """
        check_is_fitted(self)
        return self.estimator_.predict_proba(X)

    @available_if(_inner_has("predict_log_proba"))
    def predict_log_proba(self, X):
        """Return log p(y|x) by the classifier, of shape (n_samples, n_classes).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        log_probability : ndarray of shape (n_samples, n_classes)
        """
        check_is_fitted(self)
        return self.estimator_.predict_log_proba(X)

    @available_if(_inner_has("decision_function"))
    def decision_function(self, X):
        """Return the decision function of the classifier.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        decision : ndarray of shape (n_samples, n_classes), or (n_samples,) for two
        """
        check_is_fitted(self)
        return self.estimator_.decision_function(X)


def _weights_of_all(weight, n_labeled, n_unlabeled):
    """Return weights of labelled rows, and their mean for each unlabelled one."""
    weight = np.asarray(weight, dtype=np.float64)
    if weight.shape != (n_labeled,):
        raise InvalidParameterError(
            "The 'sample_weight' parameter must have a weight for each of the "
            f"{n_labeled} rows of X. Got the shape {weight.shape}."
        )
    return np.r_[weight, np.full(n_unlabeled, weight.mean())]


def _stacked(X, X_unlabeled):
    """Return the rows of both; a data frame, of the same library, where X is one.

    Raises
    ------
    ValueError
        Where the columns differ.
    """
    if isinstance(X, pd.DataFrame):
        if not isinstance(X_unlabeled, pd.DataFrame):
            _check_width(np.shape(X), np.shape(X_unlabeled))
            X_unlabeled = pd.DataFrame(X_unlabeled, columns=X.columns)
        if list(X.columns) != list(X_unlabeled.columns):
            raise InvalidParameterError(
                "The 'X_unlabeled' parameter must have the columns of X, "
                f"{list(X.columns)}. Got {list(X_unlabeled.columns)}."
            )
        return pd.concat(_with_same_categories(X, X_unlabeled), ignore_index=True)
    library = type(X).__module__.partition(".")[0]
    if library in ("polars", "pyarrow") and type(X) is type(X_unlabeled):
        import narwhals as nw

        frames = [nw.from_native(X), nw.from_native(X_unlabeled)]
        return nw.concat(frames).to_native()
    if sparse.issparse(X) or sparse.issparse(X_unlabeled):
        _check_width(X.shape, X_unlabeled.shape)
        return sparse.vstack([sparse.csr_array(X), sparse.csr_array(X_unlabeled)])
    X, X_unlabeled = np.asarray(X), np.asarray(X_unlabeled)
    _check_width(X.shape, X_unlabeled.shape)
    return np.concatenate([X, X_unlabeled])


def _with_same_categories(X, X_unlabeled):
    """Return both frames; categories of a column are those that either of them lists.

    Without that pandas takes columns apart into words or numbers.
    """
    X, X_unlabeled = X.copy(deep=False), X_unlabeled.copy(deep=False)
    for j in range(X.shape[1]):
        first, second = X.dtypes.iloc[j], X_unlabeled.dtypes.iloc[j]
        are_categories = all(
            isinstance(dtype, pd.CategoricalDtype) for dtype in (first, second)
        )
        if are_categories and first != second:
            categories = first.categories.append(second.categories).unique()
            dtype = pd.CategoricalDtype(categories)
            for frame in (X, X_unlabeled):
                frame.isetitem(j, frame.iloc[:, j].astype(dtype))
    return X, X_unlabeled


def _check_width(shape, shape_unlabeled):
    """Raise ValueError unless both are two-dimensional and of the same width."""
    if len(shape_unlabeled) != 2 or shape[1:] != shape_unlabeled[1:]:
        raise InvalidParameterError(
            "The 'X_unlabeled' parameter must be as wide as X, which is of shape "
            f"{shape}. Got the shape {shape_unlabeled}."
        )
