"""Scorers that leave out unlabelled rows."""

from __future__ import annotations

from inspect import signature

import numpy as np
from sklearn.metrics import get_scorer
from sklearn.utils import _safe_indexing, check_consistent_length
from sklearn.utils.metadata_routing import get_routing_for_object

from skebm.tables._labels import split_marker
from skebm.utils import InvalidParameterError


def ignore_unlabeled(scorer, *, unlabeled=-1):
    """Return the scorer that leaves out unlabelled rows.

    A plain scorer treats the marker as a class: every prediction of an unlabelled row
    is wrong for "accuracy", and "neg_log_loss" fails. The scorer returned is given the
    labelled rows only. It works with any split and any estimator, also of other
    packages.

    Parameters
    ----------
    scorer : str or callable
        Name of a scorer of scikit-learn, or a callable ``(estimator, X, y, **metadata)
        -> float``, such as those of ``make_scorer``.
    unlabeled : object, default=-1
        The marker; None, NaN and pd.NA mark unlabelled rows too.

    Returns
    -------
    scorer : callable
        ``(estimator, X, y, **metadata) -> float``, NaN where no row has a label.
        From metadata with one entry per row, such as ``sample_weight``, the entries of
        unlabelled rows are removed. The metadata requests are those of `scorer`. For
        several metrics:
        ``scoring={name: ignore_unlabeled(name) for name in names}``.

    Raises
    ------
    ValueError
        Where `scorer` is neither a known name nor callable.

    See Also
    --------
    SemiSupervisedSplit : Folds that test labelled rows only.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skebm.model_selection import ignore_unlabeled
    >>> X, y = np.array([[-1.0], [1.0], [2.0]]), np.array([0, 1, -1])
    >>> model = LogisticRegression().fit(X[:2], y[:2])
    >>> ignore_unlabeled("accuracy")(model, X, y)
    1.0
    """
    if not isinstance(scorer, str) and not callable(scorer):
        raise InvalidParameterError(
            "The 'scorer' parameter must be a name of scikit-learn's or a callable. "
            f"Got {scorer!r}."
        )
    return _LabeledScorer(get_scorer(scorer), unlabeled)


class _LabeledScorer:
    """Scorer returned by `ignore_unlabeled`; a class, so that it can be pickled."""

    def __init__(self, scorer, unlabeled):
        self._scorer = scorer
        self._unlabeled = unlabeled

    def __call__(self, estimator, X, y, **metadata):
        check_consistent_length(X, y)
        values, hidden = split_marker(y, self._unlabeled)
        labeled = np.flatnonzero(~hidden)
        if len(labeled) == 0:
            return float("nan")
        metadata = {
            name: _safe_indexing(value, labeled) if _is_a_row(value, hidden) else value
            for name, value in metadata.items()
        }
        labels = np.asarray(values[labeled].tolist())
        return self._scorer(estimator, _safe_indexing(X, labeled), labels, **metadata)

    def __repr__(self):
        return f"ignore_unlabeled({self._scorer!r})"

    def get_metadata_routing(self):
        """Return the metadata requests of the wrapped scorer."""
        return get_routing_for_object(self._scorer)

    def _accept_sample_weight(self):
        # scikit-learn's searches call this where metadata routing is off.
        if hasattr(self._scorer, "_accept_sample_weight"):
            return self._scorer._accept_sample_weight()
        return "sample_weight" in signature(self._scorer).parameters


def _is_a_row(value, rows):
    """Tell whether metadata have one entry per row."""
    return not isinstance(value, str) and np.shape(value)[:1] == rows.shape
