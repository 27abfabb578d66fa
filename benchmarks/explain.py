"""Which column of a row is wrong: planted faults, told by conditionals and by others.

In rows of tables that were not fitted, one column is moved by four of its conditional
deviations, those of a linear regression on the other columns. The AUROC is that of the
wrong column among the columns of its row. Run with the folder of the tables:
``python benchmarks/explain.py DATA``.
"""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LinearRegression
from sklearn.metrics import roc_auc_score

from skebm import EBMDensityEstimator

TABLES = ("keel/vehicle", "keel/phoneme", "keel/magic", "keel/segment", "keel/banana")
N_FIT, N_FAULTY, N_DEVIATIONS = 700, 100, 4.0
#: In standard deviations: others determine a column of less, so none is a fault.
LEAST_DEVIATION = 0.03


def planted(X, rng):
    """Return rows with a fault each, and the columns of the faults."""
    fit, rows = X[:N_FIT], X[N_FIT : N_FIT + N_FAULTY].copy()
    column, is_moved = (
        rng.randint(X.shape[1], size=len(rows)),
        np.zeros(len(rows), bool),
    )
    for j in range(X.shape[1]):
        rest = np.delete(fit, j, axis=1)
        line = LinearRegression().fit(rest, fit[:, j])
        deviation = np.std(fit[:, j] - line.predict(rest))
        moved = (column == j) & (deviation > LEAST_DEVIATION * fit[:, j].std())
        signs = rng.choice([-1, 1], size=moved.sum())
        rows[moved, j] += N_DEVIATIONS * deviation * signs
        is_moved |= moved
    return fit, rows[is_moved], column[is_moved]


def forest_differences(forest, rows, centre):
    """Return what each column adds: the score with its median in its place."""
    base = forest.score_samples(rows)
    gains = np.empty(rows.shape)
    for j in range(rows.shape[1]):
        mended = rows.copy()
        mended[:, j] = centre[j]
        gains[:, j] = forest.score_samples(mended) - base
    return gains


def auroc(strangeness, column):
    """Return the mean over rows of the AUROC of the wrong column in its row."""
    d = strangeness.shape[1]
    wrong = np.arange(d) == column[:, None]
    pairs = zip(wrong, strangeness, strict=True)
    return np.mean([roc_auc_score(is_wrong, s) for is_wrong, s in pairs])


def main(folder):
    """Print a line for each table."""
    print(f"{'table':14} columns  explain  log p  |z|  forest  CPU s")
    for name in TABLES:
        stored = np.load(Path(folder) / f"{name}.npz", allow_pickle=True)
        rng = np.random.RandomState(0)
        X = stored["X"].astype(float)
        X = X[rng.permutation(len(X))]
        X = X[:, [len(np.unique(x)) > 10 for x in X.T]]
        X = X[:, X.std(axis=0) > 0]
        fit, rows, column = planted(X, rng)
        model = EBMDensityEstimator(
            random_state=0, normalizer=None, ood_score="log_density", max_iter=20
        ).fit(fit)
        start = time.process_time()
        found = model.explain(rows)
        seconds = time.process_time() - start
        tail = found["tail_probability"].to_numpy().reshape(rows.shape)
        log_p = found["log_p"].to_numpy().reshape(rows.shape)
        log_p = log_p + np.log(fit.std(axis=0))
        z = np.abs(rows - fit.mean(axis=0)) / fit.std(axis=0)
        forest = IsolationForest(random_state=0).fit(fit)
        gains = forest_differences(forest, rows, np.median(fit, axis=0))
        figures = [auroc(s, column) for s in (-tail, -log_p, z, gains)]
        shown = "  ".join(f"{figure:.3f}" for figure in figures)
        print(f"{name:14} {X.shape[1]:7}  {shown}  {seconds:.1f}", flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(sys.argv[1])
