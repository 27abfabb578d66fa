"""Digits with ten labels per class: JEMClassifier and scikit-learn's methods.

70 % of the rows are for training, stratified, with ten random labels per class;
held-out accuracy is that of the other 30 %. The other methods are measured on raw and
on standardised columns.

``--objectives`` compares the objectives of the classifier instead, each with its
defaults, and writes ``digits_objectives.json``; "pcd as published" is `PCD.jem`.
"""

import time

import numpy as np
import pandas as pd
import torch
from _report import parser, report
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier
from sklearn.svm import SVC

from skebm import JEMClassifier
from skebm.objectives import PCD


def hide_labels(y, n_labels, rng):
    """Return y with all but n_labels of each class replaced by -1."""
    hidden = np.full_like(y, -1)
    for label in np.unique(y):
        rows = rng.choice(np.flatnonzero(y == label), n_labels, replace=False)
        hidden[rows] = label
    return hidden


def methods(seed):
    """Return each method by name, and whether it accepts unlabelled rows."""
    spreading = LabelSpreading(kernel="knn", n_neighbors=7)
    return {
        "JEMClassifier": (JEMClassifier(random_state=seed), True),
        "LabelSpreading (raw)": (spreading, True),
        "LabelSpreading (standardised)": (
            make_pipeline(
                StandardScaler(), LabelSpreading(kernel="knn", n_neighbors=7)
            ),
            True,
        ),
        "SelfTraining (logistic)": (
            make_pipeline(
                StandardScaler(),
                SelfTrainingClassifier(LogisticRegression(max_iter=1000)),
            ),
            True,
        ),
        "SelfTraining (SVC)": (
            make_pipeline(
                StandardScaler(),
                SelfTrainingClassifier(CalibratedClassifierCV(SVC(), ensemble=False)),
            ),
            True,
        ),
        "supervised MLP": (
            make_pipeline(
                StandardScaler(),
                MLPClassifier((256, 256), max_iter=500, random_state=seed),
            ),
            False,
        ),
    }


def classifiers(seed):
    """Return classifiers by the name of the objective of their density."""
    known = {name: name for name in ("vera", "pcd", "improved_cd", "nce", "hdge")}
    objectives = known | {"pcd as published": PCD.jem(), "none": None}
    return {
        name: (
            JEMClassifier(
                objective,
                reference=None if name == "pcd as published" else "gmm",
                normalizer=None,
                random_state=seed,
            ),
            True,
        )
        for name, objective in objectives.items()
    }


def main():
    options = parser(__doc__, seeds=5)
    options.add_argument("--objectives", action="store_true")
    options.add_argument("--first-seed", type=int, default=1000)
    options.add_argument("--labels", type=int, default=10)
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    X, y = load_digits(return_X_y=True)
    rows = []
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        X_train, X_test, y_train, y_test = train_test_split(
            X, y, test_size=0.3, stratify=y, random_state=seed
        )
        y_few = hide_labels(y_train, args.labels, np.random.RandomState(seed))
        compared = classifiers(seed) if args.objectives else methods(seed)
        for name, (model, takes_all) in compared.items():
            keep = np.full(len(y_few), True) if takes_all else y_few != -1
            started = time.perf_counter()
            model.fit(X_train[keep], y_few[keep])
            seconds = time.perf_counter() - started
            row = {"seed": seed, "method": name, "seconds": seconds}
            rows.append(row | {"accuracy": model.score(X_test, y_test)})
            print(rows[-1], flush=True)
    table = pd.DataFrame(rows).groupby("method", sort=False)
    summary = table["accuracy"].agg(["median", "mean", "min", "max"])
    print(summary.assign(seconds=table["seconds"].median()).round(4))
    name = "digits_objectives" if args.objectives else "digits_few_labels"
    report(name, rows, labels_a_class=args.labels)


if __name__ == "__main__":
    main()
