"""Out-of-distribution detection on digits: AUROC of densities and distances.

Digits 0 to 4 are shuffled and split 70/30 into training and normal test rows; all
digits 5 to 9 are outliers. All methods use raw pixels. The number of components and the
regularisation of the mixture are chosen on a fifth of the training rows; then it is
refitted on all.

``--classifier`` scores by one fit of JEMClassifier with ten labels per class instead,
and writes ``digits_classifier_out_of_distribution.json``.
"""

import time

import numpy as np
import pandas as pd
import torch
from _report import parser, reference_scores, report
from digits_few_labels import hide_labels
from sklearn.datasets import load_digits
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split
from sklearn.neighbors import NearestNeighbors

from skebm import EBMDensityEstimator, JEMClassifier


def distance(train, rows, n_neighbors):
    """Return minus the distance to the n-th nearest training row."""
    index = NearestNeighbors(n_neighbors=n_neighbors).fit(train)
    return -index.kneighbors(rows)[0][:, -1]


def mixture(train, rows, seed):
    """Return log densities of the mixture that is best on held-out training rows."""
    fit, valid = train_test_split(train, test_size=0.2, random_state=seed)

    def of(size, floor, x):
        return GaussianMixture(size, reg_covar=floor, random_state=seed).fit(x)

    candidates = [(k, floor) for k in (1, 2, 4, 8, 16, 32) for floor in (1e-3, 0.1, 1)]
    best = max(candidates, key=lambda candidate: of(*candidate, fit).score(valid))
    return of(*best, train).score_samples(rows)


def of_density(train, test, seed):
    """Return scores by method, and the seconds of the fit of the density."""
    started = time.perf_counter()
    model = EBMDensityEstimator(random_state=seed).fit(train)
    seconds = time.perf_counter() - started
    forest = IsolationForest(random_state=seed).fit(train)
    return {
        "EBMDensityEstimator": model.score_samples(test),
        "its reference alone": reference_scores(model, test),
        "1-NN distance": distance(train, test, 1),
        "5-NN distance": distance(train, test, 5),
        "IsolationForest": forest.score_samples(test),
        "GaussianMixture": mixture(train, test, seed),
    }, seconds


def of_classifier(train, y_train, test, seed):
    """Return the scores of one classifier, and the seconds of its fit."""
    started = time.perf_counter()
    y_few = hide_labels(y_train, 10, np.random.RandomState(seed))
    model = JEMClassifier(random_state=seed).fit(train, y_few)
    return {
        "JEMClassifier, log density": model.score_samples(test),
        "its energy": -model.energy(test),
        "its largest probability": model.predict_proba(test).max(axis=1),
    }, time.perf_counter() - started


def main():
    options = parser(__doc__, seeds=5)
    options.add_argument("--first-seed", type=int, default=1000)
    options.add_argument("--classifier", action="store_true")
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    X, y = load_digits(return_X_y=True)
    rows = []
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        train, normal, y_train, _ = train_test_split(
            X[y < 5], y[y < 5], test_size=0.3, random_state=seed
        )
        test = np.concatenate([normal, X[y >= 5]])
        is_normal = np.arange(len(test)) < len(normal)
        if args.classifier:
            scores, seconds = of_classifier(train, y_train, test, seed)
        else:
            scores, seconds = of_density(train, test, seed)
        for name, score in scores.items():
            rows.append({"seed": seed, "method": name})
            rows[-1]["auroc"] = roc_auc_score(is_normal, score)
            rows[-1]["seconds"] = seconds if name == next(iter(scores)) else None
        print(pd.DataFrame(rows[-len(scores) :]).to_string(index=False), flush=True)
    table = pd.DataFrame(rows).groupby("method", sort=False)["auroc"]
    print(table.agg(["median", "mean", "min", "max"]).round(4))
    kind = "classifier_" if args.classifier else ""
    report(f"digits_{kind}out_of_distribution", rows)


if __name__ == "__main__":
    main()
