"""Missing entries: `impute` and `sample(given=)` against scikit-learn's imputers.

A quarter of the test rows' entries is missing at random; training rows are complete.
`EBMDensityEstimator`, with its defaults, fills them with conditional means (RMSE) and
medians (mean absolute error) and draws twenty completions. `IterativeImputer` uses
training and test rows together, which it needs for more than one round, with
BayesianRidge (five draws by ``sample_posterior``, each a new fit) or with trees;
`KNNImputer` and column means are fitted to the training rows.

The energy score of the draws X on each row's missing entries x, low is good, is
E|X - x| - E|X - X'| / 2 (Gneiting, Raftery, JASA 102, 2007); for a single answer it is
|X - x|. All errors are in standard deviations of the columns.

``--data`` names a folder as in references.py; the data are not part of the project.

    python benchmarks/imputation.py --data DATA
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from _report import parser, report
from references import load_protocol, load_rows
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.linear_model import BayesianRidge

from skebm import EBMDensityEstimator

TABLES = ("keel/phoneme", "keel/magic", "keel/vehicle")
MISSING = 0.25
N_DRAWS, N_ITERATIVE_DRAWS = 20, 5


def punch(X, rng):
    """Return X with missing entries, and at least one observed entry in each row."""
    mask = rng.uniform(size=X.shape) < MISSING
    mask[mask.all(axis=1), 0] = False
    return np.where(mask, np.nan, X)


def ebm(train, holes, seed):
    """Return means, medians and draws (or None), and the seconds of fit and means."""
    started = time.perf_counter()
    model = EBMDensityEstimator(random_state=seed).fit(train)
    fitted = time.perf_counter()
    means = model.impute(holes)
    seconds = fitted - started, time.perf_counter() - fitted
    medians = model.impute(holes, strategy="median")
    draws = model.sample(N_DRAWS, given=holes, random_state=seed)
    draws = draws.reshape(len(holes), N_DRAWS, -1).swapaxes(0, 1)
    return means, medians, draws, *seconds


def separate(model):
    """Return the method of an imputer that is fitted to the training rows."""

    def method(train, holes, seed):
        del seed
        started = time.perf_counter()
        model.fit(train)
        fitted = time.perf_counter()
        means = model.transform(holes)
        return means, means, None, fitted - started, time.perf_counter() - fitted

    return method


def together(regressor, max_iter, draws=False):
    """Return the method of an `IterativeImputer`, which uses all rows."""

    def fill(train, holes, seed, posterior=False):
        model = IterativeImputer(
            regressor, max_iter=max_iter, random_state=seed, sample_posterior=posterior
        )
        return model.fit_transform(np.concatenate([train, holes]))[len(train) :]

    def method(train, holes, seed):
        started = time.perf_counter()
        means, several = fill(train, holes, seed), None
        seconds = time.perf_counter() - started
        if draws:
            seeds = range(N_ITERATIVE_DRAWS * seed, N_ITERATIVE_DRAWS * (seed + 1))
            several = np.stack([fill(train, holes, s, True) for s in seeds])
        return means, means, several, seconds, 0.0

    return method


METHODS = {
    "EBMDensityEstimator": ebm,
    "IterativeImputer, BayesianRidge": together(BayesianRidge(), 20, draws=True),
    "IterativeImputer, trees": together(
        ExtraTreesRegressor(50, min_samples_leaf=5, random_state=0), 5
    ),
    "KNNImputer": separate(KNNImputer()),
    "SimpleImputer": separate(SimpleImputer()),
}


def energy_score(truth, draws, mask):
    """Return the mean over rows of the energy score of draws (m, n, d)."""
    draws, truth = np.where(mask, draws, 0.0), np.where(mask, truth, 0.0)
    error = np.linalg.norm(draws - truth, axis=2).mean(axis=0)
    m = len(draws)
    if m > 1:
        pairs = sum(np.linalg.norm(draws - x, axis=2).sum(axis=0) for x in draws)
        error -= pairs / (2 * m * (m - 1))
    return float(error[mask.any(axis=1)].mean())


def main():
    options = parser(__doc__, seeds=1)
    options.add_argument("--data", type=Path, help="folder of tables")
    options.add_argument("--tables", nargs="+", default=TABLES)
    options.add_argument("--max-rows", type=int, default=6000)
    options.add_argument("--test-rows", type=int, default=400)
    arguments = options.parse_args()
    if arguments.data is None:
        print("imputation.py: no --data, nothing measured")
        return
    torch.set_num_threads(arguments.threads)
    density_table = load_protocol(arguments.data)
    rows = []
    for table in arguments.tables:
        X = load_rows(arguments.data, table)
        for seed in range(arguments.seeds):
            train, test = density_table(X, arguments.max_rows, seed)
            test = test[: arguments.test_rows]
            holes = punch(test, np.random.default_rng(seed))
            mask = np.isnan(holes)
            for name, method in METHODS.items():
                means, medians, draws, *seconds = method(train, holes, seed)
                draws = means[None] if draws is None else draws
                row = {
                    "table": table,
                    "n_train": len(train),
                    "n_test": len(test),
                    "n_features": train.shape[1],
                    "seed": seed,
                    "method": name,
                    "rmse": float(np.sqrt(((means - test)[mask] ** 2).mean())),
                    "mean_absolute_error": float(np.abs((medians - test)[mask]).mean()),
                    "energy_score": energy_score(test, draws, mask),
                    "fit_seconds": seconds[0],
                    "impute_seconds": seconds[1],
                }
                rows.append(row)
                print(f"{table} {name} {row['rmse']:.3f}", flush=True)
    report(
        "imputation",
        rows,
        tables=list(arguments.tables),
        seeds=arguments.seeds,
        max_rows=arguments.max_rows,
        missing=MISSING,
        n_draws=N_DRAWS,
        n_iterative_draws=N_ITERATIVE_DRAWS,
    )


if __name__ == "__main__":
    main()
