"""The log ratio of the densities of two tables, by classifiers that tell their rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from skebm.evaluation.drift._features import coordinates
from skebm.evaluation.drift._pool import Array, Indices, Pool

N_TREES = 100
#: Rounds of the search for the learners' weights.
WEIGHT_ROUNDS = 200
#: Rows of a leaf.
LEAF_ROWS = 10


def make_learners(seed: int) -> dict[str, Any]:
    """Return unfitted classifiers, by name."""
    return {
        "linear": LogisticRegression(C=0.1, max_iter=300),
        "forest": RandomForestClassifier(
            N_TREES, min_samples_leaf=LEAF_ROWS, random_state=seed
        ),
        "boosted trees": HistGradientBoostingClassifier(
            learning_rate=0.05,
            max_iter=30,
            max_leaf_nodes=8,
            early_stopping=False,
            random_state=seed,
        ),
    }


def log_ratios(
    pool: Pool, rows: Indices, n_splits: int, seed: int
) -> tuple[Array, dict[str, float]]:
    r"""Return log p_new / p_old of each row, and the weights of the learners.

    .. math:: \log\frac{p_{new}(x)}{p_{old}(x)} =
              \log\frac{P(new | x)}{P(old | x)} - \log\frac{n_{new}}{n_{old}}

    P is a mean of classifiers that the row had no part in, and of one that knows
    nothing. Their weights maximise the likelihood of all rows so told.

    Parameters
    ----------
    pool : Pool
        Rows of both tables.
    rows : ndarray of int
        Rows that the classifiers may learn from.
    n_splits : int
        Folds; at most as many as there are rows of a table.
    seed : int
        Seed of folds and trees.
    """
    points, is_new = coordinates(pool), pool.is_new
    learners = make_learners(seed)
    share = float(is_new[rows].mean())
    told = np.full((1 + len(learners), len(is_new)), share)
    least = int(min(is_new[rows].sum(), (~is_new[rows]).sum()))
    if least >= 2:
        folds = StratifiedKFold(min(n_splits, least), shuffle=True, random_state=seed)
        may_teach = np.zeros(len(is_new), dtype=bool)
        may_teach[rows] = True
        for train, test in folds.split(points, is_new):
            taught = train[may_teach[train]]
            if is_new[taught].all() or not is_new[taught].any():
                continue
            for k, learner in enumerate(learners.values(), 1):
                learner.fit(points[taught], is_new[taught])
                told[k, test] = learner.predict_proba(points[test])[:, 1]
    told = told.clip(1 / (2 * len(rows)), 1 - 1 / (2 * len(rows)))
    weights = _mixture_weights(np.where(is_new, told, 1 - told)[:, rows])
    mean = weights @ told
    ratios = np.log(mean / (1 - mean)) - np.log(share / (1 - share))
    return ratios, dict(zip(("nothing", *learners), weights.tolist(), strict=True))


def _mixture_weights(likelihoods: Array) -> Array:
    """Return the weights of the mixture of most likelihood, by EM, (k,)."""
    weights = np.full(len(likelihoods), 1 / len(likelihoods))
    for _ in range(WEIGHT_ROUNDS):
        shares = weights[:, None] * likelihoods
        weights = (shares / shares.sum(axis=0)).mean(axis=1)
    return weights
