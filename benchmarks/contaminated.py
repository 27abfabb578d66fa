"""Outliers among the rows of `fit`: what the scores lose, and what trimming gains.

ADBench's one-class protocol (see ``ood.py``), at most ROWS normal training rows. A
share of them is outliers of the table, which are then left out of the test.
AUROC in percent by the default score: of a fit to these rows; of a second fit to those
of them that `fit_predict` of the first calls normal, with ``contamination`` the true
share, a twentieth, and "auto"; and of a fit to the normal rows alone.

``--data`` as in ``ood.py``.

    python benchmarks/contaminated.py --data DATA --seeds 1
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _report import parser, report
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


def measure(path, share, seed):
    """Return the AUROC by the way of fitting."""
    train, added, test, is_outlier = contaminated(path, share, seed)
    X = np.random.default_rng(seed).permutation(np.concatenate([train, added]))
    model = EBMDensityEstimator(random_state=seed, **QUICK).fit(X)
    found = {"as they are": auroc(model, test, is_outlier)}
    ways = {"trimmed 0.05": 0.05, "trimmed auto": "auto"}
    if share not in (0.0, 0.05):
        ways["trimmed by the share"] = share
    for way, contamination in ways.items():
        first = EBMDensityEstimator(
            contamination=contamination, random_state=seed, **QUICK
        )
        kept = X[first.fit_predict(X) == 1]
        again = EBMDensityEstimator(random_state=seed, **QUICK).fit(kept)
        found[way] = auroc(again, test, is_outlier)
    return found


def main():
    options = parser(__doc__, seeds=1)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--tables", nargs="+", default=TABLES)
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore")
    rows = []
    for table in arguments.tables:
        path = arguments.data / "adbench" / f"{table}.npz"
        for share in SHARES:
            for seed in range(arguments.seeds):
                found = measure(path, share, seed)
                rows += [
                    {"set": table, "share": share, "seed": seed, "way": w, "auroc": a}
                    for w, a in found.items()
                ]
                rounded = {way: round(value, 1) for way, value in found.items()}
                print(table, share, rounded, flush=True)
        report("contaminated", rows)
    table = pd.DataFrame(rows).pivot_table("auroc", "share", "way")
    print(table.round(2).to_string())


if __name__ == "__main__":
    main()
