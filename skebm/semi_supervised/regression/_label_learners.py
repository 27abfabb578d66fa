"""Simple learners of a number from few labels, and their held-out predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)
from sklearn.linear_model import RidgeCV

from skebm.semi_supervised.regression._gaussian_process import GaussianProcess

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

N_TREES = 100
#: Labels above which boosted trees bin their features.
MANY_LABELS = 1000
#: Most labels that a tree of a forest draws, which bounds its size.
MAX_RESAMPLED = 10_000
#: Least labels that linear models and trees are fitted to; below they are constant.
MIN_LABELS = 3
#: Folds of few labels and of more, and where the former end.
N_FOLDS_OF_FEW, N_FOLDS, FEW_LABELS = 10, 5, 100
#: Least labels of complete rows that are held out alone: the gaps of others widen
#: errors, which complete rows do not make.
MIN_COMPLETE = 30
#: Least distinct labels of which repeats are told from ties.
MIN_RECORDS = 10
#: Labels above which a single set of them is held out, and its size.
MAX_CROSS_FITTED, N_HELD_OUT = 2000, 1000


@dataclass(frozen=True, eq=False)
class Labels:
    """Labelled rows.

    Attributes
    ----------
    x : ndarray of shape (n, n_features)
        Features.
    y : ndarray of shape (n,)
        Numbers.
    weight : ndarray of shape (n,) or None, default=None
        Weights; None of ones.
    """

    x: Array
    y: Array
    weight: Array | None = None

    def some(self, rows: Any) -> Labels:
        """Return some of the rows, or all in another order."""
        weight = None if self.weight is None else self.weight[rows]
        return Labels(self.x[rows], self.y[rows], weight)

    @property
    def weights(self) -> Array:
        """Their weights, of mean one."""
        if self.weight is None:
            return np.ones(len(self.y))
        return self.weight / self.weight.mean()


def _make_process(names: tuple[str, ...]) -> Callable[..., Any]:
    return lambda x, y, weight, seed: GaussianProcess.fit(x, y, weight, names)


def _fit_linear(x: Array, y: Array, weight: Array, seed: int) -> Any:
    del seed
    return RidgeCV(np.logspace(-2, 3, 11)).fit(x, y, weight)


def _fit_forest(x: Array, y: Array, weight: Array, seed: int) -> Any:
    trees = RandomForestRegressor(
        N_TREES, max_samples=_n_resampled(y), random_state=seed
    )
    return trees.fit(x, y, weight)


def _fit_extra_trees(x: Array, y: Array, weight: Array, seed: int) -> Any:
    trees = ExtraTreesRegressor(
        N_TREES, bootstrap=True, max_samples=_n_resampled(y), random_state=seed
    )
    return trees.fit(x, y, weight)


def _n_resampled(y: Array) -> int | None:
    """Return how many labels each tree of a forest draws; None as many as there are."""
    return MAX_RESAMPLED if len(y) > MAX_RESAMPLED else None


def _fit_boosted(x: Array, y: Array, weight: Array, seed: int) -> Any:
    if len(y) > MANY_LABELS:
        trees = HistGradientBoostingRegressor(max_iter=200, random_state=seed)
        return trees.set_params(early_stopping=False).fit(x, y, weight)
    trees = GradientBoostingRegressor(
        n_estimators=N_TREES,
        subsample=0.7,
        max_features=0.5,
        min_samples_leaf=2,
        random_state=seed,
    )
    return trees.fit(x, y, weight)


#: By name, the view that a learner takes and the function that fits it.
LEARNERS: dict[str, tuple[str, Callable[..., Any]]] = {
    "linear": ("numbers", _fit_linear),
    "Gaussian process": ("numbers", _make_process(("constant", "linear", "smooth"))),
    "Gaussian process of ranks": (
        "scores",
        _make_process(("constant", "linear", "additive", "rough")),
    ),
    "forest": ("numbers", _fit_forest),
    "extra trees": ("numbers", _fit_extra_trees),
    "boosted trees": ("numbers", _fit_boosted),
}

#: Learners whose trees are fitted to resampled labels.
BAGGED = ("forest", "extra trees")


def is_process(name: str) -> bool:
    """Tell whether a learner knows how far to trust each prediction."""
    return name.startswith("Gaussian process")


def fit_learner(
    name: str, views: Mapping[str, Array], y: Array, weight: Array, seed: int
) -> Any:
    """Return the learner of a name, fitted; a number where labels are too few."""
    view, fit = LEARNERS[name]
    if len(y) < MIN_LABELS and not is_process(name):
        return float(np.average(y, weights=weight))
    return fit(views[view], y, weight / weight.mean(), seed)


def ask_learner(
    name: str, learner: Any, views: Mapping[str, Array]
) -> tuple[Array, Array]:
    """Return the predictions of a fitted learner and their relative widths."""
    x = views[LEARNERS[name][0]]
    if isinstance(learner, float):
        return np.full(len(x), learner), np.ones(len(x))
    predicted = learner.predict(x)
    return predicted if is_process(name) else (predicted, np.ones(len(x)))


def record_numbers(x: Array, y: Array) -> Indices:
    """Return the number of each label's record, in the order of first appearance.

    Labels are of one record where features and label are equal. That tells of repeats
    where each label has rows of its own; where labels are few values it does not, and
    each row is a record.
    """
    each = np.arange(len(y))
    values, first, of_y = np.unique(y, return_index=True, return_inverse=True)
    if len(values) == len(y) or len(values) < MIN_RECORDS:
        return each
    rows, of_x = np.unique(x, axis=0, return_inverse=True)
    pairs = np.unique(np.stack([of_x.ravel(), of_y.ravel()], axis=1), axis=0)
    if not len(pairs) == len(values) == len(rows):
        return each
    return np.asarray(first.argsort().argsort()[of_y.ravel()])


def assign_folds(
    is_complete: NDArray[np.bool_], records: Indices | None = None
) -> Indices:
    """Return the fold of each label, -1 where a label is never held out.

    Those are labels of rows with gaps, unless few rows have none. A record is in one
    fold: its repeats would tell the held-out label.
    """
    records = np.arange(len(is_complete)) if records is None else records
    n_complete = int(is_complete.sum())
    if n_complete < min(MIN_COMPLETE, len(is_complete)):
        return _deal_folds(records)
    folds = np.full(len(is_complete), -1)
    folds[is_complete] = _deal_folds(records[is_complete])
    return folds


def _deal_folds(records: Indices) -> Indices:
    distinct, place = np.unique(records, return_inverse=True)
    if len(records) > MAX_CROSS_FITTED:
        return np.where(place < N_HELD_OUT, 0, -1)
    n_folds = N_FOLDS_OF_FEW if len(records) <= FEW_LABELS else N_FOLDS
    return np.asarray(place % min(n_folds, len(distinct)))


def cross_fit(
    name: str,
    views: Mapping[str, Array],
    y: Array,
    weight: Array,
    fitted: Any,
    folds: Indices,
    seed: int,
    has_repeats: bool = False,
) -> tuple[Array, Array]:
    """Return predictions of held-out labels, and their relative widths.

    Each tree of a forest has labels that it did not see, and a Gaussian process whose
    weights many labels chose leaves each label out in closed form. Other learners are
    fitted anew without each fold, as are forests whose every tree saw some label, for
    its great weight; and all of them where labels repeat, so that others tell them.
    """
    held = folds >= 0
    if name in BAGGED and not isinstance(fitted, float) and not has_repeats:
        center = _out_of_bag(fitted, views[LEARNERS[name][0]], held)[held]
        if not np.isnan(center).any():
            return center, np.ones(held.sum())
    center, width = np.empty((2, len(y)))
    if is_process(name) and len(y) > FEW_LABELS and not has_repeats:
        n = len(fitted.x)
        center[:n], width[:n] = fitted.left_out(y[:n])
        new = held & (np.arange(len(y)) >= n)
        if new.any():
            rows = {view: x[new] for view, x in views.items()}
            center[new], width[new] = ask_learner(name, fitted, rows)
        return center[held], width[held]
    for fold in range(folds.max() + 1):
        out = folds == fold
        some = {view: x[~out] for view, x in views.items()}
        rest = {view: x[out] for view, x in views.items()}
        learner = fit_learner(name, some, y[~out], weight[~out], seed)
        center[out], width[out] = ask_learner(name, learner, rest)
    return center[held], width[held]


def _out_of_bag(forest: Any, x: Array, held: NDArray[np.bool_]) -> Array:
    """Return means over the trees that did not see a row; NaN where all did."""
    total, count = np.zeros((2, len(x)))
    for tree, sampled in zip(
        forest.estimators_, forest.estimators_samples_, strict=True
    ):
        new = held.copy()
        new[sampled] = False
        if new.any():
            total[new] += tree.predict(x[new])
            count[new] += 1
    with np.errstate(invalid="ignore"):
        return total / count
