"""Tables of 50 to 200 rows: EBMDensityEstimator and one Gaussian.

Rows of real tables are prepared as in ``density.py``, some training rows are drawn, and
all rows are standardised by these alone: no method knows the units of further rows.
Then the held-out log density of all test rows is compared with that of one Gaussian:
with the rows' covariance plus the variance floor, and with the covariance shrunk by
Ledoit and Wolf. ``gain`` is that of EBMDensityEstimator minus the better of the two,
with the standard error of the mean difference per row; log Z is conservative, as in
``density.py``.

``--data`` names a folder as in ``references.py``; the data are not part of the project.
Rows of earlier runs are kept in the results, unless this run repeats them.

    python benchmarks/tiny_tables.py --data DATA --tables keel/phoneme --sizes 50
"""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import numpy as np
import torch
from _report import earlier_rows, parser, reference_scores, report
from density import DEVELOPMENT, KEPT_BACK, load_table
from references import VARIANCE_FLOOR, load_protocol
from scipy.stats import multivariate_normal
from sklearn.covariance import empirical_covariance, ledoit_wolf

from skebm import EBMDensityEstimator

SIZES = (50, 100, 200)
KEY = ("table", "n_train", "seed")


def gaussian_scores(train, test, covariance):
    floor = VARIANCE_FLOOR * np.eye(train.shape[1])
    return multivariate_normal(train.mean(axis=0), covariance + floor).logpdf(test)


def measure(train, test, seed):
    """Return the results of one table."""
    peers = {
        "gaussian": gaussian_scores(train, test, empirical_covariance(train)),
        "ledoit_wolf": gaussian_scores(train, test, ledoit_wolf(train)[0]),
    }
    started = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = EBMDensityEstimator(random_state=seed).fit(train)
    seconds = time.process_time() - started
    result = model.normalizer_result_
    bare = reference_scores(model, test).mean()
    scores = model.score_samples(test) - (result.upper - result.log_normalizer)
    figures = {name: values.mean() for name, values in peers.items()}
    gain = scores - max(peers.values(), key=np.mean)
    return figures | {
        "held_out_nats": scores.mean(),
        "gain": gain.mean(),
        "gain_se": gain.std() / len(gain) ** 0.5,
        "best_epoch": model.best_epoch_,  # 0: fell back to the reference
        "trusted": result.trusted,
        "reference_nats": bare,
        "cpu_seconds": seconds,
    }


def main():
    options = parser(__doc__, seeds=2)
    options.add_argument("--data", type=Path, help="folder of tables")
    options.add_argument("--tables", nargs="+", default=DEVELOPMENT + KEPT_BACK)
    options.add_argument("--sizes", nargs="+", type=int, default=SIZES)
    options.add_argument("--max-rows", type=int, default=6000)
    arguments = options.parse_args()
    if arguments.data is None:
        print("tiny_tables.py: no --data, nothing measured")
        return
    torch.set_num_threads(arguments.threads)
    density_table = load_protocol(arguments.data)
    rows = []
    for table in arguments.tables:
        X = load_table(arguments.data, table)
        for seed in range(arguments.seeds):
            train, test = density_table(X, arguments.max_rows, seed)
            for size in arguments.sizes:
                row = {"table": table, "n_train": size, "n_features": train.shape[1]}
                few = train[:size]
                mean, scale = few.mean(axis=0), few.std(axis=0)
                tables = (few - mean) / scale, (test - mean) / scale
                rows.append(row | {"seed": seed} | measure(*tables, seed))
                print(rows[-1], flush=True)
    rows = earlier_rows("tiny_tables", rows, KEY) + rows
    rows.sort(key=lambda row: [row[column] for column in KEY])
    report("tiny_tables", rows, variance_floor=VARIANCE_FLOOR)


if __name__ == "__main__":
    main()
