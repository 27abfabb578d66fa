"""Few labels on a raw data frame: adult with its words, numbers and gaps.

Some of 3500 rows have a label, 50 of each class; a few per cent of the entries of five
columns are missing, in training and test rows alike. JEMClassifier takes the frame as
it is. Logistic regression and a random forest of 300 trees, fitted to the labelled
rows, see it through a `ColumnTransformer`: one-hot categories, of which unknown ones
are ignored, and numbers filled by the mean and standardised, as all rows say. Figures
are of 5000 test rows: area under the ROC curve, error in percent, log loss in nats.

``--data`` names the folder of ``adult.npz``, not part of the project. Rows of earlier
runs are kept in the results, unless this run repeats them.

    python benchmarks/adult_few_labels.py --data DATA --seeds 10
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _adult_frame import adult_task
from _few_labels_methods import LabeledRows, jem
from _report import earlier_rows, parser, save
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

NAME = "adult_few_labels"
KEY = ("labels", "seed", "method")


def encoded(classifier):
    """Return a pipeline from the frame to a classifier of its labelled rows."""
    is_number = make_column_selector(dtype_include="number")
    is_category = make_column_selector(dtype_exclude="number")
    encoder = ColumnTransformer(
        [
            ("categories", OneHotEncoder(handle_unknown="ignore"), is_category),
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), is_number),
        ]
    )
    return make_pipeline(encoder, LabeledRows(classifier))


#: Functions of the seed, by name; each returns a classifier of frames.
METHODS = {
    "JEMClassifier": jem,
    "logistic regression": lambda seed: encoded(LogisticRegression(max_iter=2000)),
    "random forest": lambda seed: encoded(
        RandomForestClassifier(300, random_state=seed)
    ),
}


def measure(args, seed, name):
    """Return the figures of a method on one draw of rows, gaps and labels."""
    task = adult_task(args.data, args.labels, seed, args.rows)
    start = time.process_time()
    model = METHODS[name](seed).fit(task.X, task.y)
    probability = model.predict_proba(task.X_test)[:, 1]
    row = {"labels": args.labels, "seed": seed, "method": name}
    return row | {
        "auc": round(roc_auc_score(task.y_test, probability), 5),
        "error": round(100 * np.mean((probability > 0.5) != task.y_test), 3),
        "log_loss": round(log_loss(task.y_test, probability), 5),
        "cpu_seconds": round(time.process_time() - start, 1),
    }


def main():
    options = parser(__doc__, seeds=10)
    options.add_argument("--data", type=Path, help="folder of tables")
    options.add_argument("--first-seed", type=int, default=0)
    options.add_argument("--labels", type=int, default=50, help="of each class")
    options.add_argument("--rows", type=int, default=3500)
    options.add_argument("--methods", nargs="+", default=list(METHODS))
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    if args.data is None:
        print("adult_few_labels.py: no --data, nothing measured")
        return
    measured = []
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for name in args.methods:
            measured.append(measure(args, seed, name))
            print(measured[-1], flush=True)
            rows = earlier_rows(NAME, measured, KEY) + measured
            rows.sort(key=lambda row: [row[key] for key in KEY])
            save(NAME, rows, n_rows=args.rows)
    table = pd.DataFrame(measured).drop(columns=["labels", "seed"])
    print(table.groupby("method").agg(["mean", "sem"]).round(4).to_string())


if __name__ == "__main__":
    main()
