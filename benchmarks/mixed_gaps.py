"""Missing categories and numbers: a fit to adult, and its imputations.

The columns are those of columns.py, eight categorical ones, two booleans and three
numbers, with a quarter of the entries missing at random. The density estimator, with
its defaults, is fitted to the table with missing entries, to the table filled with
modes and means, to a table in which a missing category is a category of its own
(numbers: the mean), to the complete rows alone, and to the complete table; all are
scored on complete test rows, in nats. Then a quarter of the entries of some test rows
is filled in, by the first of these fits, by modes and means, and by gradient-boosted
trees, one fit per column, with all other columns as features and their missing entries
left as they are.

With ``--raw`` the table is the frame as it comes, six numbers and eight categories, of
2000 rows with 15 % missing. Its first rows are filled in by the density that was fitted
to it and by the trees; the result is the share of entries filled right, by column.

``--data`` names the folder of ``adult.npz``, as in columns.py.

    python benchmarks/mixed_gaps.py --data DATA [--raw]
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _report import parser, report
from columns import NUMBERS, load_adult
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)

from skebm import EBMDensityEstimator

MISSING = 0.25
RAW_MISSING, RAW_ROWS = 0.15, 2000


def punch(X, rng):
    """Return rows with missing entries, and at least one observed entry in each row."""
    mask = rng.uniform(size=X.shape) < MISSING
    mask[mask.all(axis=1), 0] = False
    return X.mask(mask).astype(
        {name: X[name].dtype for name in X.select_dtypes("category")}
    )


def as_categories(train, test):
    """Return both parts, booleans as strings, with the training rows' categories."""
    names = train.columns.difference(NUMBERS)
    train, test = (X.astype(dict.fromkeys(names, str)) for X in (train, test))
    train = train.astype(dict.fromkeys(names, "category"))
    test = test.astype({name: train[name].dtype for name in names})
    return train, test[test[names].notna().all(axis=1)].reset_index(drop=True)


def filled(X, categories):
    values = X[NUMBERS].mean().to_dict()
    for name in X.columns.difference(NUMBERS):
        if categories == "mode":
            values[name] = X[name].mode()[0]
        else:
            X = X.assign(**{name: X[name].cat.add_categories("missing")})
            values[name] = "missing"
    return X.fillna(values)


METHODS = {
    "fit on the table with gaps": lambda train, holes: holes,
    "modes and means, then fit": lambda train, holes: filled(holes, "mode"),
    "missing as a category, then fit": lambda train, holes: filled(holes, "own"),
    "fit on complete rows": lambda train, holes: holes.dropna(),
    "fit on the table without gaps": lambda train, holes: train,
}


def score_fits(train, test, holes, seed):
    """Yield a row for each method, and the model of the first."""
    for name, prepare in METHODS.items():
        started, X = time.process_time(), prepare(train, holes)
        model = EBMDensityEstimator(ood_score="log_density", random_state=seed).fit(X)
        yield (
            model,
            {
                "method": name,
                "n_train": len(X),
                "log_likelihood": model.score(test.astype(X.dtypes)),
                "log_normalizer_se": model.log_normalizer_se_,
                "cpu_seconds": time.process_time() - started,
            },
        )


def by_trees(holes, test_holes, seed, numbers=NUMBERS):
    result = test_holes.copy()
    for name in holes:
        is_number = name in numbers
        kind = (
            HistGradientBoostingRegressor
            if is_number
            else HistGradientBoostingClassifier
        )
        known, wanted = holes[name].notna(), test_holes[name].isna()
        trees = kind(categorical_features="from_dtype", random_state=seed)
        trees.fit(holes[known].drop(columns=name), holes.loc[known, name])
        if wanted.any():
            found = trees.predict(test_holes[wanted].drop(columns=name))
            result.loc[wanted, name] = found
    return result


def score_imputations(model, test, holes, seed):
    """Yield the errors of each way to fill in test rows."""
    test_holes = punch(test, np.random.default_rng(seed + 1))
    means = holes[NUMBERS].mean().to_dict()
    modes = {name: holes[name].mode()[0] for name in holes.columns.difference(NUMBERS)}
    ways = {
        "EBMDensityEstimator": lambda: model.impute(test_holes),
        "modes and means": lambda: test_holes.fillna(means | modes),
        "gradient-boosted trees": lambda: by_trees(holes, test_holes, seed),
    }
    missing = test_holes.isna()
    for name, fill in ways.items():
        started, found = time.process_time(), fill()
        wrong = [
            (found[c] != test[c])[missing[c]].mean()
            for c in holes.columns.difference(NUMBERS)
        ]
        squares = [((found[c] - test[c])[missing[c]] ** 2).mean() for c in NUMBERS]
        yield {
            "method": name,
            "n_test": len(test),
            "category_error": float(np.mean(wrong)),
            "rmse": float(np.sqrt(np.mean(squares))),
            "cpu_seconds": time.process_time() - started,
        }


def load_raw(folder, n_rows, seed):
    """Return rows of adult as they come, whole numbers and categories."""
    with np.load(folder / "adult.npz", allow_pickle=True) as arrays:
        table, names = arrays["X"], [str(name) for name in arrays["feature_names"]]
    order = np.random.default_rng(seed).permutation(len(table))[:n_rows]
    table = pd.DataFrame(table[order], columns=names)
    one_hot = [name for name in names if "_" in name]
    words = pd.from_dummies(table[one_hot].astype(bool), sep="_").astype("category")
    return pd.concat([table.drop(columns=one_hot).astype(float), words], axis=1)


def score_raw(X, n_filled, seed):
    """Yield the shares of entries of each column that are filled right."""
    rng = np.random.default_rng(seed)
    holes = X.mask(rng.uniform(size=X.shape) < RAW_MISSING).astype(X.dtypes)
    model = EBMDensityEstimator(ood_score="log_density", random_state=seed).fit(holes)
    numbers = X.select_dtypes(float).columns
    some, truth = holes.head(n_filled), X.head(n_filled)
    ways = {
        "EBMDensityEstimator": lambda: model.impute(some),
        "gradient-boosted trees": lambda: by_trees(holes, some, seed, numbers),
    }
    for name, fill in ways.items():
        found = fill()
        right = {c: float((found[c] == truth[c])[some[c].isna()].mean()) for c in holes}
        yield {"method": name, "n_filled": n_filled, "right": right}


def main():
    options = parser(__doc__, seeds=3)
    options.add_argument("--data", type=Path, help="folder of adult.npz")
    options.add_argument("--max-rows", type=int, default=8000)
    options.add_argument("--n-imputed", type=int, default=500)
    options.add_argument("--raw", action="store_true", help="the frame as it comes")
    arguments = options.parse_args()
    if arguments.data is None:
        print("mixed_gaps.py: no --data, nothing measured")
        return
    torch.set_num_threads(arguments.threads)
    rows = []
    if arguments.raw:
        for seed in range(arguments.seeds):
            X = load_raw(arguments.data, RAW_ROWS, seed)
            for row in score_raw(X, arguments.n_imputed, seed):
                rows.append({"seed": seed} | row)
                print(rows[-1], flush=True)
        report("raw_gaps", rows, seeds=arguments.seeds, missing=RAW_MISSING)
        return
    for seed in range(arguments.seeds):
        train, test = as_categories(
            *load_adult(arguments.data, arguments.max_rows, seed)
        )
        holes = punch(train, np.random.default_rng(seed))
        learnt = None
        for model, row in score_fits(train, test, holes, seed):
            learnt = learnt or model
            rows.append({"seed": seed, "n_test": len(test)} | row)
            print(rows[-1], flush=True)
        some = test.head(arguments.n_imputed)
        for row in score_imputations(learnt, some, holes, seed):
            rows.append({"seed": seed} | row)
            print(rows[-1], flush=True)
    report("mixed_gaps", rows, seeds=arguments.seeds, missing=MISSING)


if __name__ == "__main__":
    main()
