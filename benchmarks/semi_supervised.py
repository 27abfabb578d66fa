"""Few labels: JEMClassifier and supervised and semi-supervised methods.

Transductive (``ssl_book``): fit on all rows, error on the unlabelled ones, the twelve
official splits; 10 or 100 labels in total. ``oddbench`` and ``ovrbench`` likewise, on
the test halves of outlier tables, labels a class; their results are a file of their
own. Inductive: fit on at most ``--max-rows``
rows, with all but 10, 50 or 100 labels per class hidden; error on a test part, 30 % of
the rows if there is no official one. The result is that of the last iterate, no test
row is used for any choice, and probabilities are evaluated without calibration:
calibration error (15 bins of equal mass), Brier score (half the squared distance), log
loss in nats (probabilities floored at 1e-6). Columns are standardised by the training
rows; all pixels have one scale.

``--data`` names a folder of tables, not part of the project. Rows of earlier runs are
kept in the results, unless this run repeats them, and written after each task, so that
parts may be run one after the other. A method of `FEW_SEEDS` has the first seeds only.

    python benchmarks/semi_supervised.py --data DATA --tables ssl_book/digit1 \
        --labels 100 --methods JEMClassifier "supervised net" --seeds 2
    python benchmarks/semi_supervised.py --data DATA --outlier-tables --labels 10
    python benchmarks/semi_supervised.py --summary --picture docs/images/ranks.png
    python benchmarks/semi_supervised.py --data DATA --name few_labels_tables \
        --max-rows 2000 --labels 1 5 10 50 100 --seeds 2
    python benchmarks/semi_supervised.py --name few_labels_tables --by-labels
"""

from __future__ import annotations

import json
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _few_labels_methods import FEW_SEEDS, METHODS
from _few_labels_tables import (
    INDUCTIVE,
    PIXELS,
    TRANSDUCTIVE,
    make_task,
    outlier_tables,
)
from _ranks import draw_by_labels, draw_ranks, mean_ranks
from _report import earlier_rows, parser, save
from scipy.stats import t as student
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skebm.evaluation import expected_calibration_error

NAME, OUTLIER_TABLES = "semi_supervised", "few_labels_outlier_tables"
KEY = ("table", "labels", "seed", "method")
BASELINE = "supervised net"
OURS = "JEMClassifier"
SIMPLE = ("logistic regression", "random forest", "gradient boosting")
FLOOR = 1e-6


def scaler(table, X):
    """Return the scaler: by column, or one mean and deviation for all pixels."""
    if table not in PIXELS:
        return StandardScaler()
    mean, deviation = X.mean(), X.std()
    return FunctionTransformer(lambda rows: (rows - mean) / deviation)


def judge(model, task):
    """Return predicted classes and p(y|x) of the test rows."""
    last = model[-1]
    if task.hidden is not None and hasattr(last, "label_distributions_"):
        return last.transduction_[task.hidden], last.label_distributions_[task.hidden]
    return model.predict(task.X_test), model.predict_proba(task.X_test)


def floored(probability):
    """Return probabilities of at least `FLOOR`; uniform ones if a graph gives none."""
    probability = np.nan_to_num(probability)
    probability[probability.sum(axis=1) == 0] = 1.0
    probability = probability / probability.sum(axis=1, keepdims=True)
    probability = np.maximum(probability, FLOOR)
    return probability / probability.sum(axis=1, keepdims=True)


def measure(model, task):
    """Fit and evaluate; times include fit and predictions."""
    wall, cpu = time.perf_counter(), time.process_time()
    predicted, probability = judge(model.fit(task.X, task.y), task)
    seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    y, classes, probability = task.y_test, model[-1].classes_, floored(probability)
    figures = {
        "error": 100 * np.mean(predicted != y),
        "auc": 100 * area(y, probability, classes),
        "ece": expected_calibration_error(y, probability, classes=classes),
        "brier": brier_score_loss(y, probability, labels=classes, scale_by_half=True),
        "log_loss": log_loss(y, probability, labels=classes),
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
    }
    return {name: round(float(value), 5) for name, value in figures.items()}


def area(y, probability, classes):
    """Return the area under the ROC curve, of more classes the mean of one and rest."""
    if len(classes) == 2:
        return roc_auc_score(y, probability[:, 1])
    by_class = zip(classes, probability.T, strict=True)
    areas = [roc_auc_score(y == k, p) for k, p in by_class if (y == k).any()]
    return np.mean(areas)


def measure_task(args, table, n_labels, seed):
    """Return the rows of all methods on one draw of a table's labels."""
    task = make_task(args.data, table, n_labels, seed, args.max_rows)
    if task is None:
        return []
    rows = []
    for name in args.methods:
        if seed >= args.first_seed + FEW_SEEDS.get(name, args.seeds):
            continue
        row = {"table": table, "labels": n_labels, "seed": seed, "method": name}
        row |= {"n_train": len(task.X), "n_classes": len(np.unique(task.y_test))}
        model = make_pipeline(scaler(table, task.X), METHODS[name](seed))
        rows.append(row | measure(model, task))
        shown = {k: rows[-1][k] for k in ("error", "auc", "ece", "cpu_seconds")}
        print(table, n_labels, seed, name, shown, flush=True)
    return rows


def keep(name, new, max_rows):
    """Write the rows together with those of earlier runs."""
    rows = earlier_rows(name, new, KEY) + new
    rows.sort(key=lambda row: [row[name] for name in KEY])
    save(name, rows, max_rows=max_rows)


def summarise(rows, picture=None):
    """Print errors, calibration, differences to the supervised network, and ranks."""
    table = pd.DataFrame(rows)
    task = ["table", "labels"]
    for figure in ("error", "auc", "ece", "brier", "log_loss", "cpu_seconds"):
        groups = table.groupby([*task, "method"], sort=False)[figure]
        digits = 2 if figure == "error" else 3
        means, spread = groups.mean().unstack(), groups.sem().unstack()
        print(f"\n{figure}, mean over the draws\n{means.round(digits).to_string()}")
        if figure == "auc":
            print(f"\nmean over the tasks\n{means.dropna().mean().round(2)}")
        if figure == "error":
            print(f"\nits standard error\n{spread.round(digits).to_string()}")
            errors = means
    if BASELINE in errors:
        print(f"\nerror minus that of the {BASELINE}, same draws, with 95 % interval")
        print(paired(table).to_string())
    # Methods with a result on every task of ours, on the draws that all have.
    draws = table.pivot_table("error", [*task, "seed"], "method", sort=False)
    if OURS in errors:
        errors = errors[errors[OURS].notna()]
    draws = draws[errors.dropna(axis=1).columns].dropna()
    errors = draws.groupby(level=[0, 1], sort=False).mean()
    if min(errors.shape) < 2:
        return
    ranks, difference, p_value = mean_ranks(errors)
    print(f"\nmean ranks over {len(errors)} tasks\n{ranks.round(2).to_string()}")
    print(f"critical difference {difference:.2f}, Friedman's p {p_value:.2g}")
    if picture:
        draw_ranks(ranks, difference, picture)


def paired(table):
    """Return mean differences, intervals, wins and losses by method and task."""
    index = ["table", "labels", "seed"]
    errors = table.pivot_table("error", index, "method", sort=False)
    found = []
    for method in errors.columns.drop(BASELINE):
        differences = (errors[method] - errors[BASELINE]).dropna()
        row = {"wins": 0, "losses": 0, "ties": 0}
        for task, values in differences.groupby(level=[0, 1], sort=False):
            mean, half = values.mean(), np.nan
            if len(values) > 1:
                half = student.ppf(0.975, len(values) - 1) * values.sem()
            row[f"{task[0]} {task[1]}"] = f"{mean:+.2f} ({half:.2f})"
            told = abs(mean) > half
            row["ties" if not told else "wins" if mean < 0 else "losses"] += 1
        found.append({"method": method} | row)
    return pd.DataFrame(found).set_index("method").T


def print_by_labels(table, picture=None):
    """Print by number of labels: means, mean ranks, and ours beside the others.

    Only methods and draws that have all results count. The interval is of the mean
    difference over all draws of all tables.
    """
    sizes = table.groupby("method").size()
    ours = OURS if OURS in sizes else f"{OURS}, no density"
    methods = sizes.index[sizes == sizes[ours]]
    table = table[table["method"].isin(methods)]
    for figure in ("error", "auc", "ece", "log_loss"):
        draws = table.pivot_table(figure, ["labels", "table", "seed"], "method")
        tasks = draws.dropna().groupby(level=[0, 1]).mean()
        ranks = tasks.rank(axis=1, ascending=figure != "auc")
        for name, values in ((figure, tasks), (f"rank by {figure}", ranks)):
            by_labels = values.groupby(level=0).mean().T
            print(f"\n{name}, mean over the tables\n{by_labels.round(3).to_string()}")
            if picture and name == "rank by error":
                draw_by_labels(by_labels, ours, picture)
    draws = table.pivot_table("error", ["labels", "table", "seed"], "method").dropna()
    for n_labels, some in draws.groupby(level=0):
        tasks = some.groupby(level=1).mean()
        best = tasks.drop(columns=ours).mean().idxmin()
        for rival in dict.fromkeys((best, BASELINE)):
            difference = some[ours] - some[rival]
            half = student.ppf(0.975, len(difference) - 1) * difference.sem()
            print(f"{n_labels:4d} {rival:20s} {difference.mean():+.2f} ({half:.2f})")
        worst = tasks[ours] - tasks[list(SIMPLE)].min(axis=1)
        print(f"     above the best of {SIMPLE}: {worst.idxmax()} {worst.max():+.2f}")


def main():
    options = parser(__doc__, seeds=12)
    options.add_argument("--data", type=Path, help="folder of tables")
    options.add_argument("--first-seed", type=int, default=0)
    options.add_argument("--tables", nargs="+", default=TRANSDUCTIVE + INDUCTIVE)
    options.add_argument(
        "--outlier-tables", action="store_true", help="tasks of those, not of --tables"
    )
    options.add_argument("--labels", nargs="+", type=int, default=(10, 50, 100))
    options.add_argument("--methods", nargs="+", default=list(METHODS))
    options.add_argument("--max-rows", type=int, default=6000)
    options.add_argument("--summary", action="store_true", help="of earlier runs only")
    options.add_argument("--merge", type=Path, help="results of a run elsewhere")
    options.add_argument("--by-labels", action="store_true", help="print means by them")
    options.add_argument("--name", help="of the file of results")
    options.add_argument("--picture", type=Path, help="of critical differences")
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    name = args.name or (OUTLIER_TABLES if args.outlier_tables else NAME)
    if args.merge:
        keep(name, json.loads(args.merge.read_text())["rows"], args.max_rows)
    if args.by_labels:
        print_by_labels(pd.DataFrame(earlier_rows(name, [], KEY)), args.picture)
        return
    if args.summary or args.merge:
        summarise(earlier_rows(name, [], KEY), args.picture)
        return
    if args.data is None:
        print("semi_supervised.py: no --data, nothing measured")
        return
    warnings.simplefilter("ignore", ConvergenceWarning)
    warnings.filterwarnings("ignore", "invalid value", RuntimeWarning)  # an empty graph
    measured = []
    tables = outlier_tables(args.data) if args.outlier_tables else args.tables
    for table in tables:
        for n_labels in args.labels:
            for seed in range(args.first_seed, args.first_seed + args.seeds):
                new = measure_task(args, table, n_labels, seed)
                keep(name, new, args.max_rows)
                measured += new
    summarise(measured, args.picture)


if __name__ == "__main__":
    main()
