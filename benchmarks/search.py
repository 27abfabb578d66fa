"""A search of 32 candidates and 3 folds on digits: together, and in two processes.

Wall-clock seconds of `BatchedSearchCV` and of `GridSearchCV(n_jobs=2)`, one after the
other in one run; the processes of the latter have imported skebm before. Both give the
same scores: the largest difference is reported, and the load of the machine, since on a
busy one the ratio is that of what the others left.

    python benchmarks/search.py
    python benchmarks/search.py --cases "RBM, 64 units"
"""

from __future__ import annotations

import os
import time
import warnings

import numpy as np
import torch
from _report import earlier_rows, parser, report
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

from skebm import BernoulliRBM, EBMDensityEstimator
from skebm.model_selection import BatchedSearchCV

NAME = "search"
GRID = {
    "learning_rate": [0.01, 0.02, 0.05, 0.1],
    "weight_decay": [0.0, 1e-4, 1e-3, 1e-2],
    "weight_averaging": [0.9, 0.99],
}
DENSITY = EBMDensityEstimator(random_state=0, max_iter=3, normalizer="importance")


def pseudo_likelihood(model, X, y=None):
    """Return the mean pseudo-likelihood of some rows, which needs no log Z."""
    return float(model.pseudo_likelihood(X[:100]).mean())


def rbm(n_components, n_iter=10):
    """Return an RBM."""
    return BernoulliRBM(n_components, n_iter=n_iter, random_state=0)


CASES = {
    "RBM, 10 units": (rbm(10), GRID, None),
    "RBM, 64 units": (rbm(64), GRID, None),
    "RBM, 64 units, 50 epochs": (rbm(64, 50), GRID, None),
    "RBM, 64 units, no log Z": (rbm(64), GRID, pseudo_likelihood),
    "RBM, 256 units, no log Z": (rbm(256), GRID, pseudo_likelihood),
    "density, 4 candidates": (DENSITY, {"learning_rate": GRID["learning_rate"]}, None),
}


def measure(estimator, grid, scoring):
    """Return the seconds of both searches, and how far scores differ."""
    X = load_digits().data
    if isinstance(estimator, BernoulliRBM):
        X = (X > 7).astype(float)
    options = {"cv": 3, "refit": False, "scoring": scoring}
    searches = {
        "grid_2_jobs": GridSearchCV(estimator, grid, n_jobs=2, **options),
        "batched": BatchedSearchCV(estimator, grid, **options),
    }
    seconds = {}
    for name, search in searches.items():
        started = time.perf_counter()
        search.fit(X)
        seconds[name] = time.perf_counter() - started
    scores = [s.cv_results_["mean_test_score"] for s in searches.values()]
    return seconds | {
        "ratio": seconds["grid_2_jobs"] / seconds["batched"],
        "largest_difference": float(np.abs(scores[0] - scores[1]).max()),
        "load": os.getloadavg()[0],
    }


def main():
    options = parser(__doc__)
    options.add_argument("--cases", nargs="+", help='such as "RBM, 64 units"')
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore")
    # Processes are begun, and torch's one-off costs paid, before the first case.
    few, grid = (load_digits().data[:60] > 7).astype(float), {"n_iter": [1, 2]}
    for kind in (GridSearchCV, BatchedSearchCV):
        kind(rbm(2), grid, n_jobs=2, cv=2).fit(few)
    rows = []
    for case, given in CASES.items():
        if args.cases and case not in args.cases:
            continue
        rows.append({"case": case} | measure(*given))
        report(NAME, earlier_rows(NAME, rows, ("case",)) + rows)


if __name__ == "__main__":
    main()
