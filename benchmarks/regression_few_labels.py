"""Regression with few labels: JEMRegressor beside supervised and other rivals.

A column of a table is predicted from the others. Of up to 2000 rows, 20, 50 or 200 have
a label; errors are of up to 1000 other rows: root mean squared error in standard
deviations of the test labels. A table's column is the last one that has 50 distinct
values and that boosted trees with 1000 labels predict with an R2 between 0.3 and 0.97
on 500 rows. Half of the tables, by a hash of their names, were used for choices
(``--tables choice``); the others confirm (``--tables held-out``).

All methods see columns standardised by all rows. Rivals: ridge regression and nearest
neighbours chosen by cross-validation; forest of 300 trees; gradient boosting, by exact
splits and by histograms of leaves of five labels; scikit-learn's Gaussian process
(squared exponential, linear term and noise, by maximum likelihood); self-training of
a forest of 100, which then learns from its own predictions where its trees agree best;
co-training of two nearest-neighbour regressors (COREG). JEMRegressor has a Gaussian,
tilted for one epoch (``--max-iter``), as density of x: in complete tables no prediction
depends on it. "joint density" is EBMDensityEstimator fitted to rows and labels
together, and its conditional mean (``--methods``; slow).

``--data`` names the folder of tables, not part of the project. Rows of earlier runs are
kept in the results, unless this run repeats them.

    python benchmarks/regression_few_labels.py --data DATA --tables choice --seeds 1

References
----------
Zhou, Li. Semi-supervised regression with co-training. IJCAI 2005.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _ranks import mean_ranks
from _regression_methods import METHODS, SLOW
from _report import earlier_rows, parser, save
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import StandardScaler

NAME = "regression_few_labels"
KEY = ("table", "labels", "seed", "method")
N_LABELS = (20, 50, 200)
N_ROWS, N_TEST = 2000, 1000
#: Columns to predict, by table.
CHOICE = {
    "sklearn/diabetes": None,
    "adult/hours-per-week": None,
    "adbench/11_donors": 7,
    "adbench/38_thyroid": 5,
    "adbench/44_Wilt": 3,
    "adbench/6_cardio": 19,
    "keel/magic": 9,
    "keel/phoneme": 3,
    "keel/texture": 35,
    "oddbench/CodeBugs": 14,
    "oddbench/JournalPublicationCycle": 6,
    "oddbench/NetworkStatus": 3,
    "oddbench/QuantumJobStatus": 1,
    "oddbench/SalesAnomalies": 3,
    "oddbench/TCRSeverity": 6,
    "ovrbench/batch-2401_part-4_i4379": 4,
    "ovrbench/batch-3655_part-5_i5552": 4,
    "ovrbench/kc1": 11,
}
HELD_OUT = {
    "oddbench/ElectionVoterLists": 4,
    "oddbench/FootballBetting": 3,
    "oddbench/InsuranceClaims": 7,
    "oddbench/LoanPerformance": 7,
    "oddbench/PatientStatusTracking": 5,
    "ovrbench/batch-2353_part-2_i1185": 7,
    "ovrbench/batch-3353_part-3_i111": 5,
    "ovrbench/dry_bean_dataset": 15,
    "keel/segment": 17,
    "adbench/23_mammography": 5,
    "adbench/2_annthyroid": 5,
    "adbench/28_pendigits": 15,
    "adbench/7_Cardiotocography": 19,
    "adbench/12_fault": 25,
    "oddbench/AndroidMalwareDetection": 19,
    "ovrbench/batch-2005_part-4_i701": 24,
    "higgs_lgbm": 27,
    "keel/spambase": 56,
    "adult/age": None,
}


def load(folder: Path, table, column):
    """Return the other columns, and the one to predict."""
    if table == "sklearn/diabetes":
        return load_diabetes(return_X_y=True)
    path, _, name = table.partition("/") if "adult" in table else (table, "", "")
    with np.load(folder / f"{path}.npz") as arrays:
        if "X" in arrays:
            X = arrays["X"]
        else:
            parts = [k for k in ("X_train", "train", "X_test", "test") if k in arrays]
            X = np.concatenate([arrays[part] for part in parts])
        if name:
            column = [str(n) for n in arrays["feature_names"]].index(name)
    X = X.astype(np.float64)
    return np.delete(X, column, 1), X[:, column]


def make_task(folder, table, column, n_labels, seed):
    """Return rows, labels with NaN, test rows and their labels."""
    X, y = load(folder, table, column)
    order = np.random.RandomState(1000 + seed).permutation(len(X))
    n_test = min(N_TEST, len(X) // 4)
    test, train = order[:n_test], order[n_test : n_test + N_ROWS]
    scaler = StandardScaler().fit(X[train])
    few = np.where(np.arange(len(train)) < n_labels, y[train], np.nan)
    return scaler.transform(X[train]), few, scaler.transform(X[test]), y[test]


def measure(args, task, about, method):
    """Return the figures of a method on a task."""
    X, y, X_test, y_test = task
    start = time.process_time()
    model = METHODS[method](about["seed"], args).fit(X, y)
    predicted = model.predict(X_test)
    seconds, unit = time.process_time() - start, y_test.std()
    row = about | {"method": method}
    row["rmse"] = round(np.sqrt(np.mean((predicted - y_test) ** 2)) / unit, 5)
    row["cpu_seconds"] = round(seconds, 2)
    if method == "JEMRegressor":
        lower, upper = model.predict_interval(X_test, 0.9).T
        row["covered"] = round(np.mean((lower <= y_test) & (y_test <= upper)), 4)
        row["width"] = round(np.mean(upper - lower) / unit, 4)
        density = model.predict_log_density(X_test, y_test).mean() + np.log(unit)
        row["log_density"] = round(density, 4)
    return row


def summarize(rows):
    """Print mean errors, ranks, and wins of JEMRegressor, by tables and labels."""
    frame = pd.DataFrame(rows)
    for (part, labels), some in frame.groupby(["part", "labels"]):
        errors = some.pivot(index=["table", "seed"], columns="method", values="rmse")
        errors = errors.drop(columns=list(SLOW), errors="ignore").dropna()
        if "JEMRegressor" not in errors:
            continue
        by_table = errors.groupby("table").mean()
        ranks, difference, _ = mean_ranks(by_table)
        table = pd.DataFrame(
            {
                "mean": np.exp(np.log(by_table).mean()),
                "rank": ranks,
                "JEM better": by_table.gt(by_table["JEMRegressor"], axis=0).sum(),
            }
        ).sort_values("rank")
        print(f"\n{part}, {labels} labels, {len(by_table)} tables")
        print(table.to_string(float_format="%.3f"))
        covered = some["covered"].mean()
        print(f"critical difference {difference:.2f}, covered {covered:.3f}")


def main():
    options = parser(__doc__, seeds=1)
    options.add_argument("--data", type=Path, help="folder of tables")
    options.add_argument("--tables", choices=("choice", "held-out"), default="choice")
    options.add_argument("--only", nargs="+", help="names of tables")
    options.add_argument("--labels", nargs="+", type=int, default=N_LABELS)
    options.add_argument("--first-seed", type=int, default=0)
    options.add_argument("--max-iter", type=int, default=1)
    fast = [name for name in METHODS if name not in SLOW]
    options.add_argument("--methods", nargs="+", choices=METHODS, default=fast)
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    tables = CHOICE if args.tables == "choice" else HELD_OUT
    rows = []
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for table, column in tables.items():
            if args.only and table not in args.only:
                continue
            for labels in args.labels:
                about = {"part": args.tables, "table": table, "labels": labels}
                about["seed"] = seed
                task = make_task(args.data, table, column, labels, seed)
                new = [measure(args, task, about, name) for name in args.methods]
                rows += new
                print(
                    table,
                    labels,
                    {r["method"]: round(float(r["rmse"]), 3) for r in new},
                )
            save(NAME, earlier_rows(NAME, rows, KEY) + rows, max_iter=args.max_iter)
    summarize(earlier_rows(NAME, rows, KEY) + rows)


if __name__ == "__main__":
    main()
