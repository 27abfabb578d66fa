"""Imputers that are fitted to rows with gaps and fill new rows.

A quarter of the entries of training and test rows is missing at random. `EBMImputer`,
with its defaults, is compared with scikit-learn's `IterativeImputer` (BayesianRidge,
and trees), `KNNImputer` and `SimpleImputer`. All are fitted to the training rows, and
fill the test rows.

Tables of numbers: the RMSE of the missing entries, in standard deviations of the
columns of the training rows; the mean absolute error of the same kind, for `EBMImputer`
by its conditional medians. The table of numbers and categories is adult, as it came:
beside the errors of its numbers, the share of categories that were filled right. There,
`IterativeImputer` with BayesianRidge regresses one-hot columns, of which the greatest
wins; with trees, it regresses the numbers of categories, and rounds them; `KNNImputer`
is given the one-hot columns.

``--data`` names a folder as in references.py; the data are not part of the project.

    python benchmarks/imputers.py --data DATA
"""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _adult_frame import load_frame
from _report import parser, report
from imputation import punch
from references import load_protocol, load_rows
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.linear_model import BayesianRidge

from skebm import EBMImputer

TABLES = ("keel/phoneme", "keel/magic", "keel/vehicle", "adult")
MISSING = 0.25


def trees(seed):
    return IterativeImputer(
        ExtraTreesRegressor(50, min_samples_leaf=5, random_state=seed),
        max_iter=5,
        random_state=seed,
    )


METHODS = {
    "EBMImputer": lambda seed: EBMImputer(random_state=seed),
    "IterativeImputer, BayesianRidge": lambda seed: IterativeImputer(
        BayesianRidge(), max_iter=20, random_state=seed
    ),
    "IterativeImputer, trees": trees,
    "KNNImputer": lambda seed: KNNImputer(),
    "SimpleImputer": lambda seed: SimpleImputer(),
}


class Coded:
    """An imputer of numbers for frames with categories.

    Categories become one-hot columns, or their numbers.
    """

    def __init__(self, imputer, one_hot):
        self.imputer, self.one_hot = imputer, one_hot

    def fit(self, X):
        """Fit the imputer to the numbers that stand for a frame."""
        self.words = list(X.select_dtypes("category"))
        self.numbers = [name for name in X if name not in self.words]
        self.scale = X[self.numbers].std()
        self.imputer.fit(self._coded(X))
        return self

    def transform(self, X):
        """Return a filled frame."""
        filled = self.imputer.transform(self._coded(X))
        k = len(self.numbers)
        result = {name: filled[:, j] for j, name in enumerate(self.numbers)}
        result = {name: v * self.scale[name] for name, v in result.items()}
        for name in self.words:
            levels = X[name].cat.categories
            if self.one_hot:
                codes = filled[:, k : k + len(levels)].argmax(axis=1)
                k += len(levels)
            else:
                codes = filled[:, k].round().clip(0, len(levels) - 1).astype(int)
                k += 1
            result[name] = pd.Categorical.from_codes(codes, dtype=X[name].dtype)
        return pd.DataFrame(result, index=X.index)[X.columns]

    def _coded(self, X):
        parts = [(X[self.numbers] / self.scale).to_numpy()]
        for name in self.words:
            codes = X[name].cat.codes.to_numpy().astype(float)
            codes[codes < 0] = np.nan
            if self.one_hot:
                one_hot = codes[:, None] == np.arange(len(X[name].cat.categories))
                parts.append(np.where(np.isnan(codes)[:, None], np.nan, one_hot))
            else:
                parts.append(codes[:, None])
        return np.column_stack(parts)


def for_frames(name, seed):
    imputer = METHODS[name](seed)
    if name == "EBMImputer":
        return imputer
    if name == "SimpleImputer":
        return Coded(imputer, one_hot=True)
    return Coded(imputer, one_hot="trees" not in name)


def punch_frame(X, rng):
    mask = rng.uniform(size=X.shape) < MISSING
    mask[mask.all(axis=1), 0] = False
    holes = X.mask(mask)
    return holes.astype({name: X[name].dtype for name in X.select_dtypes("category")})


def load_adult(folder, max_rows, n_test, seed):
    X, _ = load_frame(folder)
    numbers = X.select_dtypes("number").columns
    X = X.astype(dict.fromkeys(numbers, float))
    X = X.astype(dict.fromkeys(X.columns.difference(numbers), "category"))
    X = X.sample(max_rows + n_test, random_state=seed).reset_index(drop=True)
    return X[:max_rows], X[max_rows:]


def errors_of_numbers(filled, test, missing, scale):
    error = ((np.asarray(filled) - np.asarray(test)) / scale)[missing]
    return {
        "rmse": float(np.sqrt((error**2).mean())),
        "mean_absolute_error": float(np.abs(error).mean()),
    }


def scored(filled, test, holes, train):
    """Return the errors of filled test rows."""
    if not isinstance(test, pd.DataFrame):
        scale = train.std(axis=0)
        return errors_of_numbers(filled, test, np.isnan(holes), scale)
    numbers = list(test.select_dtypes(float))
    words = [name for name in test if name not in numbers]
    missing = holes.isna()
    errors = errors_of_numbers(
        filled[numbers],
        test[numbers],
        missing[numbers].to_numpy(),
        train[numbers].std().to_numpy(),
    )
    right = [(filled[n].astype(str) == test[n].astype(str))[missing[n]] for n in words]
    return errors | {"categories_right": float(np.mean(np.concatenate(right)))}


def compare(train, test, seed):
    """Yield a row for each method."""
    is_frame = isinstance(train, pd.DataFrame)
    hide = punch_frame if is_frame else punch
    rng = np.random.default_rng(seed)
    train_holes, holes = hide(train, rng), hide(test, rng)
    for name in METHODS:
        started = time.process_time()
        imputer = for_frames(name, seed) if is_frame else METHODS[name](seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            imputer.fit(train_holes)
            fitted = time.process_time()
            filled = imputer.transform(holes)
        row = {"method": name} | scored(filled, test, holes, train)
        row["fit_cpu_seconds"] = fitted - started
        row["transform_cpu_seconds"] = time.process_time() - fitted
        if name == "EBMImputer":
            imputer.strategy = "median"
            by_medians = scored(imputer.transform(holes), test, holes, train)
            row["mean_absolute_error"] = by_medians["mean_absolute_error"]
        yield row


def main():
    options = parser(__doc__, seeds=1)
    options.add_argument("--data", type=Path, help="folder of tables")
    options.add_argument("--tables", nargs="+", default=TABLES)
    options.add_argument("--max-rows", type=int, default=2000)
    options.add_argument("--test-rows", type=int, default=400)
    arguments = options.parse_args()
    if arguments.data is None:
        print("imputers.py: no --data, nothing measured")
        return
    torch.set_num_threads(arguments.threads)
    rows = []
    for table in arguments.tables:
        for seed in range(arguments.seeds):
            if table == "adult":
                train, test = load_adult(
                    arguments.data, arguments.max_rows, arguments.test_rows, seed
                )
            else:
                density_table = load_protocol(arguments.data)
                X = load_rows(arguments.data, table)
                train, test = density_table(X, arguments.max_rows, seed)
                test = test[: arguments.test_rows]
            for row in compare(train, test, seed):
                sizes = {"n_train": len(train), "n_test": len(test)}
                rows.append({"table": table, "seed": seed} | sizes | row)
                print(rows[-1], flush=True)
    report(
        "imputers",
        rows,
        tables=list(arguments.tables),
        seeds=arguments.seeds,
        max_rows=arguments.max_rows,
        missing=MISSING,
    )


if __name__ == "__main__":
    main()
