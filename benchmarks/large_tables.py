"""Large tables: seconds of `fit`, rows scored per second, peak memory.

Compare CPU seconds, which are the sum over all threads, if other processes run. The
peak is that of the process so far.

``--data`` names a folder with ``adbench/11_donors.npz`` (619326 x 10) and
``adbench/16_http.npz`` (567498 x 3). The data are not part of the project. Without it,
a table of 600 000 rows is drawn from a mixture in ten columns.

    python benchmarks/large_tables.py --data DATA
"""

from __future__ import annotations

import resource
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from _report import parser, report

from skebm import EBMDensityEstimator

TABLES = ("adbench/11_donors", "adbench/16_http")


def drawn(n_rows=600_000, n_features=10):
    rng = np.random.default_rng(0)
    centre = rng.normal(size=(8, n_features))[rng.integers(8, size=n_rows)]
    return centre + 0.3 * rng.normal(size=(n_rows, n_features))


def peak_gigabytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def timed(function, X):
    """Return wall seconds and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    function(X)
    return time.perf_counter() - wall, time.process_time() - cpu


def main():
    options = parser(__doc__, seeds=1)
    options.add_argument("--data", type=Path)
    options.add_argument("--tables", nargs="+", default=TABLES)
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    tables = args.tables if args.data else ["drawn"]
    rows = []
    for name in tables:
        X = np.load(args.data / f"{name}.npz")["X"] if args.data else drawn()
        model = EBMDensityEstimator(random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wall, cpu = timed(model.fit, X)
        row = {"table": name, "rows": X.shape[0], "columns": X.shape[1]}
        row |= {"fit_seconds": wall, "fit_cpu_seconds": cpu, "epochs": model.n_iter_}
        for method in ("score_samples", "decision_function"):
            wall, cpu = timed(getattr(model, method), X)
            row[f"{method}_rows_a_second"] = len(X) / wall
            row[f"{method}_rows_a_cpu_second"] = len(X) / cpu
        row["table_gigabytes"] = X.nbytes / 2**30
        row["peak_gigabytes"] = peak_gigabytes()
        rows.append(row)
        print(row, flush=True)
    report("large_tables", rows)


if __name__ == "__main__":
    main()
