"""Outliers on tables of ADBench, one class: AUROC of `decision_function` and others.

The protocol of Livernoche et al. (ICLR 2024): train on the first half of the normal
rows in the order of the file, standardised; test on the other normal rows and all
outliers; AUROC in percent. Nothing is tuned on a table: the default score was chosen on
the development tables, and the others were to confirm it. The published results of 26
methods are compared with those measured here, and the script checks that its nearest
neighbours agree with the published ones to two decimals.

``--data`` names a folder with ``adbench/*.npz`` (arrays X, y) and
``results/dte_adbench_aucroc_semisup_mean.csv``. The data are not part of the project.

``--quick`` trains the density for a few epochs only and omits log Z. The scores
"combined", "mixture_density" and "noise_contrast" depend on neither.

    python benchmarks/ood.py --data DATA
"""

from __future__ import annotations

import csv
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _report import parser, report
from sklearn.ensemble import IsolationForest
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.preprocessing import StandardScaler

from skebm import EBMDensityEstimator
from skebm.evaluation import detection

DEVELOPMENT = {
    "annthyroid": "2_annthyroid",
    "cardio": "6_cardio",
    "fault": "12_fault",
    "landsat": "19_landsat",
    "mammography": "23_mammography",
    "pendigits": "28_pendigits",
    "vowels": "40_vowels",
}
CONFIRMATION = {
    "letter": "20_letter",
    "optdigits": "26_optdigits",
    "satellite": "30_satellite",
    "thyroid": "38_thyroid",
    "Cardiotocography": "7_Cardiotocography",
    "Wilt": "44_Wilt",
}
SIZES = (1, 2, 4, 8, 16, 32)
RANDOM = ("IsolationForest", "GaussianMixture", "EBMDensityEstimator")


def load(path):
    """Return training rows, test rows and whether each of these is an outlier."""
    with np.load(path) as arrays:
        X, y = arrays["X"], arrays["y"]
    normal, outliers = np.flatnonzero(y == 0), np.flatnonzero(y == 1)
    half = round(len(normal) / 2)
    scaler = StandardScaler().fit(X[normal[:half]])
    test = np.concatenate([normal[half:], outliers])
    is_outlier = np.arange(len(test)) >= len(normal) - half
    return scaler.transform(X[normal[:half]]), scaler.transform(X[test]), is_outlier


def neighbors(train, test, seed):
    """Return minus the distance to the fifth nearest training row."""
    del seed
    return -NearestNeighbors(n_neighbors=5).fit(train).kneighbors(test)[0][:, -1]


def local_outlier_factor(train, test, seed):
    del seed
    return LocalOutlierFactor(novelty=True).fit(train).score_samples(test)


def forest(train, test, seed):
    return IsolationForest(random_state=seed).fit(train).score_samples(test)


def mixture(train, test, seed):
    """Return log densities of the mixture that is best on held-out training rows."""
    fit, valid = train_test_split(train, test_size=0.2, random_state=seed)

    def of(size, rows):
        return GaussianMixture(size, reg_covar=1e-3, random_state=seed).fit(rows)

    best = max(SIZES, key=lambda size: of(size, fit).score(valid))
    return of(best, train).score_samples(test)


PEERS = {
    "KNN (5th neighbour)": neighbors,
    "LOF": local_outlier_factor,
    "IsolationForest": forest,
    "GaussianMixture": mixture,
}


def published(data):
    """Return the published AUROC by table, then by method."""
    with (data / "results" / "dte_adbench_aucroc_semisup_mean.csv").open() as file:
        rows = list(csv.DictReader(file))
    name = next(iter(rows[0]))
    return {
        row[name].strip().lower(): {k: float(v) for k, v in row.items() if k != name}
        for row in rows
    }


def of_model(train, test, seed, kinds, quick):
    """Return scores by kind, with one fit per kind, and seconds of fit and scoring."""
    options = {"n_iter_no_change": 1, "normalizer": None} if quick else {}
    found, seconds = {}, {}
    for kind in kinds:
        chosen = {} if kind == "default" else {"ood_score": kind}
        started = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = EBMDensityEstimator(random_state=seed, **options, **chosen)
            found[kind] = model.fit(train).decision_function(test)
        seconds[kind] = time.process_time() - started
    return found, seconds


def measure(name, path, args, known):
    """Return the results of one table."""
    train, test, is_outlier = load(path)
    rows = []

    def add(method, seed, scores, seconds):
        figures = detection(scores[~is_outlier], scores[is_outlier])
        row = {"set": name, "method": method, "seed": seed}
        row |= {"auroc": 100 * figures.auroc, "aupr": 100 * figures.aupr}
        rows.append(row | {"fpr95": 100 * figures.fpr95, "cpu_seconds": seconds})

    for method, score in PEERS.items():
        for seed in range(args.seeds if method in RANDOM else 1):
            started = time.process_time()
            scores = score(train, test, seed)
            add(method, seed, scores, time.process_time() - started)
    off = abs(rows[0]["auroc"] - known["KNN"])
    if off > 0.006:
        raise SystemExit(f"{name}: KNN differs by {off:.3f} from the published result")
    for seed in range(args.seeds):
        found, seconds = of_model(train, test, seed, args.scores, args.quick)
        for kind, scores in found.items():
            add(f"EBMDensityEstimator, {kind}", seed, scores, seconds[kind])
    return rows


def main():
    options = parser(__doc__)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--sets", nargs="+", default=[*DEVELOPMENT, *CONFIRMATION])
    options.add_argument("--scores", nargs="+", default=["default"])
    options.add_argument("--quick", action="store_true")
    options.add_argument("--name", default="ood", help="of the file of results")
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    files, known, rows = DEVELOPMENT | CONFIRMATION, published(args.data), []
    for name in args.sets:
        path = args.data / "adbench" / f"{files[name]}.npz"
        rows += measure(name, path, args, known[name.lower()])
        here = pd.DataFrame(rows)
        here = here[here["set"] == name].groupby("method", sort=False)["auroc"].mean()
        print(name, here.round(2).to_dict(), flush=True)
    table = pd.DataFrame(rows).pivot_table("auroc", "set", "method", sort=False)
    best = pd.DataFrame({name: known[name.lower()] for name in args.sets}).T
    means = best.mean().sort_values(ascending=False)
    for method in ("KNN", "DTE-C", means.index[0]):
        table[f"published {method}"] = best[method]
    table.loc["mean"] = table.mean()
    print(table.round(2).T.to_string())
    report(
        args.name,
        rows,
        quick=args.quick,
        development=list(DEVELOPMENT),
        confirmation=list(CONFIRMATION),
        published_means=means.round(2).to_dict(),
    )


if __name__ == "__main__":
    main()
