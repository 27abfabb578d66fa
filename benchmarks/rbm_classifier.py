"""RBMClassifier with few labels, with and without unlabelled rows, and alternatives.

Binary images (over half of the range) of a file with X_train, y_train, X_test, y_test;
10 and 100 random labels per class among the training rows; accuracy on the test rows.
"supervised" is trained on the labelled rows alone, as logistic regression is.

    python benchmarks/rbm_classifier.py --data mnist.npz --threshold 127
"""

import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _report import parser, report
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from skebm import RBMClassifier
from skebm.exceptions import SkebmWarning


def hide_labels(y, n_labels, rng):
    """Return y with all but n_labels of each class replaced by -1."""
    hidden = np.full_like(y, -1)
    for label in np.unique(y):
        rows = rng.choice(np.flatnonzero(y == label), n_labels, replace=False)
        hidden[rows] = label
    return hidden


def images(args, seed):
    """Return binary training and test rows and their classes."""
    if args.data is None:
        X, y = load_digits(return_X_y=True)
        parts = train_test_split(X, y, test_size=0.3, stratify=y, random_state=seed)
        X_train, X_test, y_train, y_test = parts
    else:
        with np.load(args.data) as data:
            X_train, y_train = data["X_train"], data["y_train"]
            X_test, y_test = data["X_test"], data["y_test"]
    threshold = 7 if args.data is None else args.threshold
    binary = ((X > threshold).astype(np.float32) for X in (X_train, X_test))
    return *binary, y_train, y_test


def main():
    options = parser(__doc__)
    options.add_argument("--data", help="an .npz file; without it, digits")
    options.add_argument("--threshold", type=float, default=127)
    options.add_argument("--components", type=int, default=256)
    options.add_argument("--first-seed", type=int, default=100)
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore", SkebmWarning)
    rows = []
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        X, X_test, y, y_test = images(args, seed)
        for n_labels in (10, 100):
            y_few = hide_labels(y, n_labels, np.random.RandomState(seed))
            seen = y_few >= 0
            rbm = {"n_components": args.components, "random_state": seed}
            methods = {
                "semi-supervised": (RBMClassifier(**rbm), X, y_few),
                "supervised": (RBMClassifier(**rbm), X[seen], y_few[seen]),
                "discriminative": (
                    RBMClassifier(objective="discriminative", **rbm),
                    X[seen],
                    y_few[seen],
                ),
                "logistic regression": (
                    LogisticRegression(max_iter=1000),
                    X[seen],
                    y_few[seen],
                ),
            }
            for name, (model, X_few, labels) in methods.items():
                started = time.perf_counter()
                model.fit(X_few, labels)
                seconds = time.perf_counter() - started
                row = {"seed": seed, "labels_a_class": n_labels, "method": name}
                accuracy = model.score(X_test, y_test)
                rows.append(row | {"accuracy": accuracy, "seconds": seconds})
                print(rows[-1], flush=True)
    table = pd.DataFrame(rows).groupby(["labels_a_class", "method"], sort=False)
    print(table["accuracy"].agg(["median", "min", "max"]).round(4))
    name = "digits" if args.data is None else Path(args.data).stem
    report(f"rbm_classifier_{name}", rows, n_components=args.components)


if __name__ == "__main__":
    main()
