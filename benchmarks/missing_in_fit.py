"""Missing entries in the training rows: `fit` as it is, or after filling the table.

A quarter of the training entries is missing at random, with at least one observed entry
in each row; test rows are complete, and give a held-out log-likelihood in nats. The
density estimator, with its defaults, is fitted to the table with missing entries, to
the table filled by scikit-learn's `IterativeImputer` (BayesianRidge, 20 rounds; also
with draws from its posterior), to the complete rows alone if there are at least 20, and
to the complete table. For each fit, the result of its reference alone is given too.

``--data`` names a folder as in references.py; the data are not part of the project.

    python benchmarks/missing_in_fit.py --data DATA
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from _report import parser, report
from imputation import MISSING, punch
from references import load_protocol, load_rows
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer

from skebm import EBMDensityEstimator

MIN_ROWS = 20
TABLES = ("keel/phoneme", "keel/magic", "keel/vehicle")


def iterative(holes, sample_posterior):
    imputer = IterativeImputer(
        max_iter=20, random_state=0, sample_posterior=sample_posterior
    )
    return imputer.fit_transform(holes)


METHODS = {
    "fit on the table with gaps": lambda train, holes: holes,
    "IterativeImputer, then fit": lambda train, holes: iterative(holes, False),
    "IterativeImputer by draws, then fit": lambda train, holes: iterative(holes, True),
    "fit on complete rows": lambda train, holes: holes[~np.isnan(holes).any(axis=1)],
    "fit on the table without gaps": lambda train, holes: train,
}


def main():
    options = parser(__doc__, seeds=1)
    options.add_argument("--data", type=Path, help="folder of tables")
    options.add_argument("--tables", nargs="+", default=TABLES)
    options.add_argument("--max-rows", type=int, default=3000)
    arguments = options.parse_args()
    if arguments.data is None:
        print("missing_in_fit.py: no --data, nothing measured")
        return
    torch.set_num_threads(arguments.threads)
    density_table = load_protocol(arguments.data)
    rows = []
    for table in arguments.tables:
        X = load_rows(arguments.data, table)
        for seed in range(arguments.seeds):
            train, test = density_table(X, arguments.max_rows, seed)
            holes = punch(train, np.random.default_rng(seed))
            for name, prepare in METHODS.items():
                started = time.process_time()
                prepared = prepare(train, holes)
                if len(prepared) < MIN_ROWS:
                    continue
                model = EBMDensityEstimator(ood_score="log_density", random_state=seed)
                model.fit(prepared)
                seconds = time.process_time() - started
                log_tilt = -model.energy(test).mean() - model.log_normalizer_
                row = {
                    "table": table,
                    "n_train": len(prepared),
                    "n_test": len(test),
                    "n_features": train.shape[1],
                    "seed": seed,
                    "method": name,
                    "log_likelihood": model.score(test),
                    "reference_alone": model.score(test) - log_tilt,
                    "log_normalizer_se": model.log_normalizer_se_,
                    "best_epoch": model.best_epoch_,
                    "cpu_seconds": seconds,
                }
                rows.append(row)
                print(f"{table} {name} {row['log_likelihood']:.3f}", flush=True)
    report(
        "missing_in_fit",
        rows,
        tables=list(arguments.tables),
        seeds=arguments.seeds,
        max_rows=arguments.max_rows,
        missing=MISSING,
    )


if __name__ == "__main__":
    main()
