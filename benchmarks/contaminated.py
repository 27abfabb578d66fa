"""Outliers among the rows of `fit`: what the default score loses, what trimming gains.

ADBench's one-class protocol (see ``ood.py``), at most ROWS normal training rows. A
share of them is outliers of the table, which are then left out of the test.
AUROC in percent by the default score: of a fit to these rows; of one with
``trim_fraction`` the true share, or a twentieth where there are none; with ``--refits``
of a second fit to those rows that `fit_predict` of a first one calls normal, with
``contamination="auto"``. "outliers found" is the percentage of the outliers that
was trimmed, and no AUROC. The fit to the share 0 as it is is the clean one. Rows of
earlier runs are kept in the results, unless this run repeats them.

``--data`` as in ``ood.py``; tables are names of files in its folders.

    python benchmarks/contaminated.py --data DATA --seeds 1
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _report import earlier_rows, parser, report
from ood import load

from skebm import EBMDensityEstimator
from skebm.evaluation import detection

TABLES = (
    "40_vowels",
    "6_cardio",
    "44_Wilt",
    "38_thyroid",
    "23_mammography",
    "28_pendigits",
    "2_annthyroid",
)
SHARES = (0.0, 0.01, 0.05, 0.1)
ROWS = 600
QUICK = {"max_iter": 1, "normalizer": None, "reference": "gmm"}


def contaminated(path, share, seed):
    """Return normal rows, outliers among them, test rows, and which are outliers."""
    rng = np.random.default_rng(seed)
    train, test, is_outlier = load(path)
    train = train[rng.permutation(len(train))[:ROWS]]
    outliers = np.flatnonzero(is_outlier)
    n_added = min(round(share * len(train) / (1 - share)), len(outliers) // 2)
    added = rng.choice(outliers, n_added, replace=False)
    kept = np.setdiff1d(np.arange(len(test)), added)
    return train, test[added], test[kept], is_outlier[kept]


def auroc(model, test, is_outlier):
    scores = model.ood_scores(test)
    return 100 * detection(scores[~is_outlier], scores[is_outlier]).auroc


def measure(path, share, seed, refits):
    """Return the AUROC by the way of fitting, and the share of the outliers found."""
    train, added, test, is_outlier = contaminated(path, share, seed)
    order = np.random.default_rng(seed).permutation(len(train) + len(added))
    X = np.concatenate([train, added])[order]
    options = {"random_state": seed, **QUICK}
    model = EBMDensityEstimator(**options).fit(X)
    found = {"as they are": auroc(model, test, is_outlier)}
    trim = len(added) / len(X) or 0.05
    model = EBMDensityEstimator(trim_fraction=trim, **options).fit(X)
    found["trim_fraction"] = auroc(model, test, is_outlier)
    if len(added):
        found["outliers found"] = 100 * model.is_trimmed_[order >= len(train)].mean()
    if refits:
        first = EBMDensityEstimator(contamination="auto", **options)
        again = EBMDensityEstimator(**options).fit(X[first.fit_predict(X) == 1])
        found["fitted twice"] = auroc(again, test, is_outlier)
    return found


def main():
    options = parser(__doc__, seeds=1)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--tables", nargs="+", default=TABLES)
    options.add_argument("--refits", action="store_true", help="also fit twice")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore")
    rows = []
    for table in arguments.tables:
        (path,) = arguments.data.glob(f"*/{table}.npz")
        for share in SHARES:
            for seed in range(arguments.seeds):
                found = measure(path, share, seed, arguments.refits)
                rows += [
                    {"set": table, "share": share, "seed": seed, "way": w, "auroc": a}
                    for w, a in found.items()
                ]
                rounded = {way: round(value, 1) for way, value in found.items()}
                print(table, share, rounded, flush=True)
        key = ("set", "share", "seed", "way")
        report("contaminated", [*earlier_rows("contaminated", rows, key), *rows])
    table = pd.DataFrame(rows).pivot_table("auroc", "share", "way")
    print(table.round(2).to_string())


if __name__ == "__main__":
    main()
