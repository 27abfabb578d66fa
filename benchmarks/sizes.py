"""Seconds and memory of fit and questions over rows and columns, beside others.

Each case runs in a process of its own, on one thread, on rows of three normal clusters.
Measured are CPU seconds of `fit`, of the first question (what only it needs is computed
then), of the same question again, and of a thousand draws; and the peak of memory above
that of a small fit before. Classifiers have ten labels a class. A growth exponent is
the slope of log seconds (fit and first question) in log rows from 1000 rows on, at ten
columns, or in log columns, at a thousand rows: 1 is linear, 2 is quadratic.

    python benchmarks/sizes.py
    python benchmarks/sizes.py --rows 100 1000 --columns 2 10 --methods "KernelDensity"
    python benchmarks/sizes.py --summary --picture docs/images/sizes.png
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from _report import earlier_rows, parser, save
from large_tables import forget_peak, memory

NAME, KEY = "sizes", ("method", "rows", "columns")
ROWS, COLUMNS = (100, 1000, 10_000, 100_000), (2, 10, 50, 200)
MIDDLE = (1000, 10)
N_CLASSES, N_LABELED, N_DRAWS = 3, 10, 1000
STARTED = 1000  # rows from which on growth is measured
DENSITIES = ("EBMDensityEstimator", "GaussianMixture", "KernelDensity")
OUTLIERS = ("EBMDensityEstimator, predict", "IsolationForest", "LocalOutlierFactor")
CLASSIFIERS = ("JEMClassifier", "LabelSpreading", "SelfTrainingClassifier")
MACHINES = ("BernoulliRBM", "BernoulliRBM, scikit-learn")
OURS = (DENSITIES[0], OUTLIERS[0], CLASSIFIERS[0], MACHINES[0])
METHODS = DENSITIES + OUTLIERS + CLASSIFIERS + MACHINES


def estimator(method):
    """Return an estimator of default settings and the name of its question."""
    from sklearn import ensemble, mixture, neighbors, neural_network, semi_supervised
    from sklearn.svm import SVC

    import skebm

    return {
        "EBMDensityEstimator": (
            lambda: skebm.EBMDensityEstimator(random_state=0),
            "score_samples",
        ),
        "EBMDensityEstimator, predict": (
            lambda: skebm.EBMDensityEstimator(random_state=0),
            "predict",
        ),
        "JEMClassifier": (lambda: skebm.JEMClassifier(random_state=0), "predict"),
        "BernoulliRBM": (lambda: skebm.BernoulliRBM(random_state=0), "transform"),
        "BernoulliRBM, scikit-learn": (
            lambda: neural_network.BernoulliRBM(random_state=0),
            "transform",
        ),
        "GaussianMixture": (
            lambda: mixture.GaussianMixture(5, random_state=0),
            "score_samples",
        ),
        "KernelDensity": (
            lambda: neighbors.KernelDensity(bandwidth="scott"),
            "score_samples",
        ),
        "IsolationForest": (
            lambda: ensemble.IsolationForest(random_state=0),
            "predict",
        ),
        "LocalOutlierFactor": (
            lambda: neighbors.LocalOutlierFactor(novelty=True),
            "predict",
        ),
        "LabelSpreading": (
            lambda: semi_supervised.LabelSpreading(kernel="knn"),
            "predict",
        ),
        "SelfTrainingClassifier": (
            lambda: semi_supervised.SelfTrainingClassifier(
                SVC(probability=True, random_state=0)
            ),
            "predict",
        ),
    }[method]


def table(method, n_rows, n_columns):
    """Return rows of clusters and their labels, -1 where there is none."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(N_CLASSES, n_columns))
    y = rng.integers(N_CLASSES, size=n_rows)
    X = centres[y] + rng.normal(size=(n_rows, n_columns))
    if method in MACHINES:
        return (X > 0).astype(np.float64), None
    if method not in CLASSIFIERS:
        return X, None
    few = np.full(n_rows, -1)
    for label in range(N_CLASSES):
        few[np.flatnonzero(y == label)[:N_LABELED]] = label
    return X, few


def measure(method, n_rows, n_columns):
    """Return the seconds and the memory of one case, in this process."""
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    make, question = estimator(method)
    X, y = table(method, 100, n_columns)
    getattr(make().fit(X, y), question)(X)  # loads what is loaded late
    X, y = table(method, n_rows, n_columns)
    forget_peak()
    before, times = memory("VmRSS"), [time.process_time()]
    model = make().fit(X, y)
    for _ in range(2):
        times.append(time.process_time())
        getattr(model, question)(X)
    times.append(time.process_time())
    found = dict(zip(("fit", "first", "again"), np.diff(times).tolist(), strict=True))
    if hasattr(model, "sample"):
        model.sample(N_DRAWS)
        found["draws"] = time.process_time() - times[-1]
    peak = memory("VmHWM")
    if before is not None and peak is not None:
        found["megabytes"] = (peak - before) / 2**20
    return found


def in_new_process(method, n_rows, n_columns, seconds):
    """Return the figures of one case, or None if it takes longer."""
    command = [sys.executable, __file__, "--one", method, str(n_rows), str(n_columns)]
    try:
        found = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        return None
    return json.loads(found.stdout)


def growth(rows, by, fixed):
    """Return the growth exponent in rows or columns of each method's seconds."""
    exponents, other = {}, "columns" if by == "rows" else "rows"
    for method in METHODS:
        some = [row for row in rows if row["method"] == method and row[other] == fixed]
        if by == "rows":
            some = [row for row in some if row["rows"] >= STARTED]
        if len(some) > 1:
            seconds = [max(row["fit"] + row["first"], 1e-3) for row in some]
            sizes = [row[by] for row in some]
            exponents[method] = np.polyfit(np.log(sizes), np.log(seconds), 1)[0]
    return exponents


def summarise(rows, picture):
    """Print the growth exponents, and draw the seconds of all methods."""
    in_rows, in_columns = growth(rows, "rows", MIDDLE[1]), growth(rows, "columns", 1000)
    print(f"{'growth exponent in':30s}    rows  columns")
    for method in METHODS:
        figures = in_rows.get(method, np.nan), in_columns.get(method, np.nan)
        print(f"{method:30s} {figures[0]:7.2f} {figures[1]:8.2f}")
    if picture:
        draw(rows, picture)


def draw(rows, picture):
    """Draw seconds of fit and first question over rows, a panel a kind of method."""
    import matplotlib.pyplot as plt

    kinds = {
        "densities": DENSITIES,
        "outliers": OUTLIERS,
        "few labels": CLASSIFIERS,
        "binary rows": MACHINES,
    }
    figure, axes = plt.subplots(
        1, len(kinds), figsize=(13, 3.6), sharey=True, layout="constrained"
    )
    for ax, (kind, methods) in zip(axes, kinds.items(), strict=True):
        for method in methods:
            some = [row for row in rows if row["method"] == method]
            some = sorted(
                (row["rows"], row["fit"] + row["first"])
                for row in some
                if row["columns"] == MIDDLE[1]
            )
            if some:
                width = 2.5 if method in OURS else 1
                ax.loglog(*zip(*some, strict=True), "o-", lw=width, label=method)
        ax.set(title=kind, xlabel="rows")
        if ax.lines:
            ax.legend(fontsize=8)
    axes[0].set_ylabel("CPU seconds, fit and first question")
    figure.savefig(picture, dpi=110)


def main():
    options = parser(__doc__)
    options.add_argument("--rows", nargs="+", type=int, default=ROWS)
    options.add_argument("--columns", nargs="+", type=int, default=COLUMNS)
    options.add_argument("--methods", nargs="+", default=METHODS)
    options.add_argument("--seconds", type=float, default=300, help="most of a case")
    options.add_argument("--summary", action="store_true", help="of earlier runs only")
    options.add_argument("--picture", type=Path, help="of seconds over rows")
    options.add_argument("--one", nargs=3, help="method, rows, columns: this process")
    args = options.parse_args()
    if args.one:
        method, *size = args.one
        print(json.dumps(measure(method, *map(int, size))))
        return
    rows = []
    sizes = [(n, MIDDLE[1]) for n in args.rows]
    sizes += [(MIDDLE[0], d) for d in args.columns if d != MIDDLE[1]]
    for method in () if args.summary else args.methods:
        for n_rows, n_columns in sizes:
            found = in_new_process(method, n_rows, n_columns, args.seconds)
            print(method, n_rows, n_columns, found, flush=True)
            if found is not None:
                key = {"method": method, "rows": n_rows, "columns": n_columns}
                rows.append(key | {k: round(v, 4) for k, v in found.items()})
        save(NAME, earlier_rows(NAME, rows, KEY) + rows)
    summarise(earlier_rows(NAME, [], KEY), args.picture)


if __name__ == "__main__":
    main()
