"""Cross-validation of tables with unlabelled rows."""

from __future__ import annotations

import numpy as np
from sklearn.model_selection import BaseCrossValidator, StratifiedKFold
from sklearn.utils import indexable

from skebm.tables._labels import split_marker
from skebm.utils import sklearn_callers, warn_user

#: The end of messages about functions of scikit-learn that read y themselves.
ADVICE = (
    "Use skebm.model_selection.WithUnlabeledRows, which takes unlabelled rows apart "
    "from y, with any cv."
)


class SemiSupervisedSplit(BaseCrossValidator):
    """Stratified folds of the labelled rows; unlabelled rows are always trained on.

    A plain stratified split treats the marker as a class, and its test folds contain
    rows that cannot be scored.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds; each class needs as many labelled rows.
    shuffle : bool, default=False
        Whether to shuffle each class before it is split.
    random_state : int, RandomState or None, default=None
        Seed of the shuffle.
    unlabeled : object, default=-1
        The marker; None, NaN and pd.NA mark unlabelled rows too.

    Examples
    --------
    >>> import numpy as np
    >>> from skebm.model_selection import SemiSupervisedSplit
    >>> y = np.array([0, 1, -1, 0, 1, -1])
    >>> for train, test in SemiSupervisedSplit(2).split(np.zeros((6, 1)), y):
    ...     print(train, test)
    [2 3 4 5] [0 1]
    [0 1 2 5] [3 4]
    """

    def __init__(self, n_splits=5, *, shuffle=False, random_state=None, unlabeled=-1):
        self.n_splits = n_splits
        self.shuffle = shuffle
        self.random_state = random_state
        self.unlabeled = unlabeled

    def split(self, X, y=None, groups=None):
        """Yield the row indices of training and test sets.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; only their number counts.
        y : array-like of shape (n_samples,)
            Labels and markers.
        groups : None
            Ignored.

        Yields
        ------
        train, test : ndarray of int
            ``test`` holds labelled rows only; ``train`` every unlabelled row.

        Raises
        ------
        ValueError
            Where y is missing or has fewer labels of every class than folds; where
            `cross_val_predict` or `CalibratedClassifierCV` of scikit-learn ask, and y
            has unlabelled rows, with which they can't work.
        """
        del groups
        if y is None:
            raise ValueError("SemiSupervisedSplit needs y to stratify the labels by.")
        X, y = indexable(X, y)
        values, hidden = split_marker(y, self.unlabeled)
        _check_caller(hidden.any())
        labeled = np.flatnonzero(~hidden)
        if len(labeled) == 0:
            raise ValueError(
                f"All {len(values)} rows of y are unlabelled "
                f"(unlabeled={self.unlabeled!r}); there is nothing to split."
            )
        folds = StratifiedKFold(
            self.n_splits,
            shuffle=self.shuffle,
            random_state=self.random_state if self.shuffle else None,
        )
        labels = np.asarray(values[labeled].tolist())
        for _, test in folds.split(labeled, labels):
            is_test = np.zeros(len(values), dtype=bool)
            is_test[labeled[test]] = True
            yield np.flatnonzero(~is_test), np.flatnonzero(is_test)

    def get_n_splits(self, X=None, y=None, groups=None):
        """Return the number of folds."""
        del X, y, groups
        return self.n_splits


def _check_caller(has_unlabeled):
    """Refuse or warn of functions of scikit-learn that treat the marker as a class.

    Raises
    ------
    ValueError
        Where the caller can't work with unlabelled rows.
    """
    callers = list(sklearn_callers())
    if has_unlabeled and callers and callers[0][1] == "cross_val_predict":
        raise ValueError(
            "cross_val_predict needs each row in one test fold, and "
            f"SemiSupervisedSplit has unlabelled rows in none. {ADVICE}"
        )
    modules = {module for module, _ in callers}
    if has_unlabeled and "sklearn.calibration" in modules:
        raise ValueError(
            f"CalibratedClassifierCV takes unlabelled y for a class. {ADVICE}"
        )
    if not has_unlabeled and "sklearn.ensemble._stacking" in modules:
        warn_user(
            "StackingClassifier encodes y, so that unlabelled rows, if there are any, "
            f"have become a class that SemiSupervisedSplit can't tell. {ADVICE}",
            UserWarning,
        )
