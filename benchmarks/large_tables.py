"""Large tables: CPU seconds of `fit` and of the first question, and peak memory.

Each case runs in a process of its own, on one thread. The tables are drawn by
`sklearn.datasets.make_classification`, three classes, and two columns are bent; a
hundred rows have a label. Beside `JEMClassifier` are supervised models fitted to the
labelled rows alone. ``--data`` names a folder with ``adult.npz``, ``keel/magic.npz``,
and ``adbench/11_donors.npz``, which are not part of the project.

Compare CPU seconds, which are the sum over all threads, if other processes run. The
peak of memory is the resident set's during both, less that before `fit`, in units of
the table; a small fit before it loads what is loaded late. X itself is there before.

    python benchmarks/large_tables.py --cases jem:20000x15 density:100000x20
    python benchmarks/large_tables.py --cases jem:adult jem:onehot --data DATA --seeds 2
"""

from __future__ import annotations

import cProfile
import json
import os
import pstats
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from _report import parser, report
from sklearn.datasets import make_classification
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skebm import EBMDensityEstimator, JEMClassifier

CASES = (
    "jem:20000x15",
    "jem:100000x20",
    "jem:1000000x20",
    "density:20000x15",
    "density:100000x20",
    "density:1000000x20",
)
N_LABELED = 100
SMALL = 1000
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def drawn(n_rows, n_columns, seed):
    """Return a table of three classes, and its classes."""
    X, y = make_classification(
        n_rows,
        n_columns,
        n_informative=max(n_columns // 2, 2),
        n_redundant=2,
        n_classes=3,
        n_clusters_per_class=2,
        random_state=seed,
    )
    X[:, 0] = np.exp(X[:, 0] / 2)
    X[:, 1] *= np.sign(X[:, 2])
    return X, y


def table(name, data, seed):
    """Return the rows of a case, their classes, and the number of labels."""
    rng = np.random.default_rng(seed)
    if name[0].isdigit():
        return *drawn(*map(int, name.split("x")), seed), N_LABELED
    if name in ("adult", "onehot", "magic"):
        file = "keel/magic.npz" if name == "magic" else "adult.npz"
        loaded = np.load(Path(data) / file)
        n_rows = 3500 if name == "onehot" else 20_000
        some = rng.permutation(len(loaded["X"]))[:n_rows]
        return loaded["X"][some].astype(float), loaded["y"][some], N_LABELED
    X = np.load(Path(data) / "adbench" / f"{name}.npz")["X"]
    return X, np.zeros(len(X), dtype=int), 0


def labeled(y, n_labels, seed, each_class):
    """Return y with some labels; so many of each class, or of all together."""
    rng = np.random.default_rng(seed + 1)
    order = rng.permutation(len(y))
    if each_class:
        of_class = [order[y[order] == k][: n_labels // 2] for k in np.unique(y)]
        order = np.concatenate(of_class)
    few = np.full(len(y), -1)
    few[order[:n_labels]] = y[order[:n_labels]]
    return few


def memory(name):
    """Return a figure of the process's status in bytes; None where there is none."""
    try:
        with open("/proc/self/status") as status:
            line = next(line for line in status if line.startswith(name))
    except (OSError, StopIteration):
        return None
    return int(line.split()[1]) * 1024


def forget_peak():
    """Let the peak of memory begin anew."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


def seconds_of(function):
    start = time.process_time()
    result = function()
    return time.process_time() - start, result


def supervised(X, y, few):
    """Return the accuracy of supervised models at the rows without a label."""
    known, rest = few >= 0, np.flatnonzero(few < 0)[:100_000]
    models = {
        "linear": make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)),
        "extra_trees": ExtraTreesClassifier(100, random_state=0),
    }
    return {
        f"accuracy_{name}": model.fit(X[known], y[known]).score(X[rest], y[rest])
        for name, model in models.items()
    }


def run_case(case, data, seed, verbose, max_iter):
    """Return the figures of one case."""
    kind, name = case.split(":")
    X, y, n_labels = table(name, data, seed)
    few = labeled(y, n_labels, seed, each_class=name == "onehot")
    is_jem = kind == "jem"
    small = drawn(SMALL, X.shape[1], seed)[0]
    if is_jem:
        JEMClassifier(max_iter=1, stacking=False).fit(small, np.arange(SMALL) % 3)
        options = {"random_state": seed, "verbose": verbose, "max_iter": max_iter}
        model = JEMClassifier(**options)
    else:
        EBMDensityEstimator(max_iter=1).fit(small)
        model = EBMDensityEstimator(random_state=seed, verbose=verbose)
    forget_peak()
    before = memory("VmRSS")
    fit_seconds, _ = seconds_of(lambda: model.fit(X, few) if is_jem else model.fit(X))
    after_fit = memory("VmHWM")
    ask = model.predict if is_jem else model.score_samples
    ask_seconds, answer = seconds_of(lambda: ask(X))
    row = {"case": case, "seed": seed, "rows": X.shape[0], "columns": X.shape[1]}
    row |= {"fit_cpu_seconds": fit_seconds, "ask_cpu_seconds": ask_seconds}
    row |= {"cpu_seconds": fit_seconds + ask_seconds, "epochs": model.n_iter_}
    row["table_megabytes"] = X.nbytes / 1e6
    if before is not None:
        row["fit_peak_over_table"] = (after_fit - before) / X.nbytes
        row["peak_over_table"] = (memory("VmHWM") - before) / X.nbytes
    if is_jem:
        row["accuracy"] = float((answer == y)[few < 0].mean())
        row |= supervised(X, y, few)
    else:
        row["mean_log_density"] = float(answer.mean())
    return row


def child(text):
    case, data, seed, verbose, profiled, max_iter = json.loads(text)
    torch.set_num_threads(1)
    profile = cProfile.Profile()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if profiled:
            profile.enable()
        row = run_case(case, data, seed, verbose, max_iter)
        profile.disable()
    if profiled:
        pstats.Stats(profile).sort_stats("cumulative").print_stats(120)
    print(json.dumps(row))


def main():
    options = parser(__doc__, seeds=1)
    options.add_argument("--data", type=Path)
    options.add_argument("--cases", nargs="+", default=CASES)
    options.add_argument("--verbose", type=int, default=0)
    options.add_argument("--profile", action="store_true", help="print where time goes")
    options.add_argument("--max-iter", default="auto", help="epochs of JEMClassifier")
    options.add_argument("--name", default="large_tables", help="of the report")
    args = options.parse_args()
    max_iter = args.max_iter if args.max_iter == "auto" else int(args.max_iter)
    rows = []
    for case in args.cases:
        for seed in range(args.seeds):
            given = case, str(args.data), seed, args.verbose, args.profile, max_iter
            done = subprocess.run(
                [sys.executable, __file__, "--child", json.dumps(given)],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
                env=os.environ | ONE_THREAD,
            )
            *printed, last = done.stdout.splitlines()
            print("\n".join(printed), flush=True)
            rows.append(json.loads(last))
            print(rows[-1], flush=True)
    report(args.name, rows)


if __name__ == "__main__":
    if "--child" in sys.argv:
        child(sys.argv[2])
    else:
        main()
