"""References of tables that have categories alone: trees beside Gaussian mixtures.

Mean held-out log-likelihood in nats of `EBMDensityEstimator`, with few epochs of NCE,
by reference: "copula", "chow_liu" and "auto", which takes as many trees as held-out
rows ask for. ``_epoch`` is the epoch kept; 0 is the reference alone. Tables: the first
columns of those of the density-estimation benchmark (DEBD), and the categories of
adult as words.
"""

import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _adult_frame import load_frame
from _report import parser, report

from skebm import EBMDensityEstimator

REFERENCES = ["copula", "chow_liu", "auto"]
N_TEST = 1500


def tables(folder, n_columns):
    """Yield names, rows and new rows."""
    for path in sorted((folder / "debd").glob("*.npz")):
        with np.load(path) as file:
            parts = [file[f"X_{part}"][:, :n_columns] for part in ("train", "test")]
        kind = pd.CategoricalDtype([False, True])
        names = [f"x{j}" for j in range(parts[0].shape[1])]
        yield (
            path.stem,
            *(pd.DataFrame(x > 0, columns=names).astype(kind) for x in parts),
        )
    X = load_frame(folder)[0].select_dtypes(["object", "category"])
    X = X.astype("category").sample(frac=1.0, random_state=0)
    yield "adult", X[N_TEST:], X[:N_TEST]


def main():
    options = parser(__doc__, seeds=1)
    options.add_argument("--data", type=Path, required=True, help="folder of tables")
    options.add_argument("--rows", type=int, nargs="+", default=[200, 2000])
    options.add_argument("--columns", type=int, default=20)
    options.add_argument("--epochs", type=int, default=5)
    options.add_argument("--sets", nargs="+")
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore")
    rows = []
    for name, X, new in tables(args.data, args.columns):
        if args.sets and name not in args.sets:
            continue
        for n_rows, seed in [(n, s) for n in args.rows for s in range(args.seeds)]:
            row = {"table": name, "columns": X.shape[1], "rows": n_rows, "seed": seed}
            some = X.sample(min(n_rows, len(X)), random_state=seed)
            started = time.process_time()
            for reference in REFERENCES:
                model = EBMDensityEstimator(
                    "nce", reference=reference, max_iter=args.epochs, random_state=seed
                ).fit(some)
                row[reference] = model.score(new[:N_TEST])
                row[f"{reference}_epoch"] = model.best_epoch_
            rows.append(row | {"cpu_seconds": time.process_time() - started})
            print(rows[-1], flush=True)
    report("category_references", rows, epochs=args.epochs, n_test=N_TEST)


if __name__ == "__main__":
    main()
