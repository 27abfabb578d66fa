"""The rivals of ``regression_few_labels.py``, beside JEMRegressor.

scikit-learn's supervised methods are fitted to the labelled rows.
"""

from __future__ import annotations

import warnings

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import (
    RBF,
    ConstantKernel,
    DotProduct,
    WhiteKernel,
)
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsRegressor

from skebm import EBMDensityEstimator, JEMRegressor

#: Of co-training: neighbours, and orders of Minkowski's distance.
N_NEIGHBOURS, ORDERS = 3, (2, 5)


class Supervised(RegressorMixin, BaseEstimator):
    """A supervised regressor that drops rows without a label."""

    def __init__(self, estimator):
        self.estimator = estimator

    def fit(self, X, y):
        known = ~np.isnan(y)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.estimator.fit(X[known], y[known])
        return self

    def predict(self, X):
        return self.estimator.predict(X)


class SelfTrained(RegressorMixin, BaseEstimator):
    """A forest that learns from its own predictions, in three rounds.

    In each it takes those rows as labelled on which its trees agree best: a sixth, a
    third and a half of the unlabelled ones.
    """

    def __init__(self, seed):
        self.seed = seed

    def fit(self, X, y):
        known = ~np.isnan(y)
        forest = RandomForestRegressor(100, random_state=self.seed)
        self.forest_ = forest.fit(X[known], y[known])
        others = np.flatnonzero(~known)
        for share in (1 / 6, 1 / 3, 1 / 2):
            votes = np.stack([t.predict(X[others]) for t in self.forest_.estimators_])
            sure = np.argsort(votes.std(axis=0))[: int(share * len(others))]
            rows = np.r_[np.flatnonzero(known), others[sure]]
            labels = np.r_[y[known], votes.mean(axis=0)[sure]]
            self.forest_ = forest.fit(X[rows], labels)
        return self

    def predict(self, X):
        return self.forest_.predict(X)


class CoTrained(RegressorMixin, BaseEstimator):
    """COREG: two nearest-neighbour regressors that label rows for each other.

    Three neighbours, Minkowski's distances of orders 2 and 5, at most a hundred rounds
    with pools of a hundred rows, as published.
    """

    def __init__(self, seed):
        self.seed = seed

    def fit(self, X, y):
        rng = np.random.RandomState(self.seed)
        known, others = ~np.isnan(y), rng.permutation(np.flatnonzero(np.isnan(y)))
        self.sets_ = [(X[known], y[known]) for _ in range(2)]
        for _ in range(100):
            found = [self._best(j, X, others[:100]) for j in range(2)]
            for j, pair in enumerate(found):
                if pair is not None:
                    rows, labels = self.sets_[1 - j]
                    row, label = X[[pair[0]]], pair[1]
                    self.sets_[1 - j] = np.r_[rows, row], np.r_[labels, label]
            used = [pair[0] for pair in found if pair is not None]
            if not used:
                break
            others = others[~np.isin(others, used)]
        return self

    def _best(self, j, X, pool):
        """Return the row, and its label, that lessens the error of its neighbours."""
        rows, labels = self.sets_[j]
        k = min(N_NEIGHBOURS, len(rows))
        own, to_pool = (
            cdist(rows, x, "minkowski", p=ORDERS[j]) for x in (rows, X[pool])
        )
        near = np.argsort(own, axis=1)[:, :k]
        farthest = np.take_along_axis(own, near, axis=1)[:, -1:]
        total, last = labels[near].sum(axis=1), labels[near[:, -1]]
        guess = labels[np.argsort(to_pool, axis=0)[:k]].mean(axis=0)
        with_it = (total - last)[:, None] + guess
        after = np.where(to_pool < farthest, with_it, total[:, None]) / k
        gained = (labels - total / k)[:, None] ** 2 - (labels[:, None] - after) ** 2
        is_near = np.argsort(np.argsort(to_pool, axis=0), axis=0) < k
        gain = (gained * is_near).sum(axis=0)
        best = int(gain.argmax())
        return (pool[best], guess[best]) if gain[best] > 0 else None

    def predict(self, X):
        predicted = []
        for (rows, labels), order in zip(self.sets_, ORDERS, strict=True):
            k = min(N_NEIGHBOURS, len(rows))
            model = KNeighborsRegressor(k, p=order).fit(rows, labels)
            predicted.append(model.predict(X))
        return np.mean(predicted, axis=0)


class JointDensity(RegressorMixin, BaseEstimator):
    """The conditional mean of a density of rows and labels together."""

    def __init__(self, seed):
        self.seed = seed

    def fit(self, X, y):
        self.model_ = EBMDensityEstimator(random_state=self.seed)
        self.model_.fit(np.c_[X, y])
        return self

    def predict(self, X):
        return self.model_.impute(np.c_[X, np.full(len(X), np.nan)])[:, -1]


def process():
    kernel = ConstantKernel() * RBF(3.0, (0.1, 100)) + WhiteKernel(0.1, (1e-3, 10))
    kernel += ConstantKernel(0.1) * DotProduct(sigma_0_bounds="fixed")
    return GaussianProcessRegressor(kernel, normalize_y=True)


def neighbours():
    grid = {"n_neighbors": [1, 2, 3, 5, 8, 12]}
    return GridSearchCV(KNeighborsRegressor(weights="distance"), grid, cv=5)


#: Functions of the seed and the options, by name.
METHODS = {
    "JEMRegressor": lambda seed, args: JEMRegressor(
        reference="gaussian", max_iter=args.max_iter, random_state=seed
    ),
    "ridge": lambda seed, args: Supervised(RidgeCV(np.logspace(-2, 3, 11))),
    "nearest neighbours": lambda seed, args: Supervised(neighbours()),
    "random forest": lambda seed, args: Supervised(
        RandomForestRegressor(300, random_state=seed)
    ),
    "boosting": lambda seed, args: Supervised(
        GradientBoostingRegressor(random_state=seed)
    ),
    "histogram boosting": lambda seed, args: Supervised(
        HistGradientBoostingRegressor(min_samples_leaf=5, random_state=seed)
    ),
    "Gaussian process": lambda seed, args: Supervised(process()),
    "self-training": lambda seed, args: SelfTrained(seed),
    "co-training": lambda seed, args: CoTrained(seed),
    "joint density": lambda seed, args: JointDensity(seed),
}
SLOW = ("joint density",)
