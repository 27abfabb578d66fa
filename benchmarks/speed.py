"""Seconds of a fit and of its first question, by default settings.

Each case runs in a process of its own, on one thread: CPU seconds of `fit`, of the
question after it, and of importing skebm (which no case includes).

    python benchmarks/speed.py
    python benchmarks/speed.py --cases "density: iris" "classifier: digits"
"""

from __future__ import annotations

import subprocess
import sys
import time
import warnings

import numpy as np
from _report import earlier_rows, parser, report
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, make_moons

NAME = "speed"
TABLES = {
    "iris": lambda: load_iris(return_X_y=True),
    "breast cancer": lambda: load_breast_cancer(return_X_y=True),
    "two moons, 3000 rows": lambda: make_moons(3000, noise=0.1, random_state=0),
    "digits": lambda: load_digits(return_X_y=True),
    "normal, 900 x 21": lambda: (correlated(900, 21), None),
}
CASES = [
    ("density", "iris"),
    ("density", "breast cancer"),
    ("density", "two moons, 3000 rows"),
    ("density", "digits"),
    ("outliers", "breast cancer"),
    ("outliers", "normal, 900 x 21"),
    ("classifier", "iris"),
    ("classifier", "breast cancer"),
    ("classifier", "digits"),
]
N_LABELS = 10


def correlated(n_rows, n_columns):
    """Return rows of a normal distribution with correlated columns."""
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(n_columns, n_columns))
    return rng.normal(size=(n_rows, n_columns)) @ mix


def few_labels(y):
    """Return y with ten labels of each class."""
    rng, few = np.random.default_rng(0), np.full(len(y), -1)
    for label in np.unique(y):
        rows = rng.choice(np.flatnonzero(y == label), N_LABELS, replace=False)
        few[rows] = label
    return few


def measure(kind, table):
    """Return the seconds of one case, in this process."""
    import torch

    from skebm import EBMDensityEstimator, JEMClassifier

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    X, y = TABLES[table]()
    started = time.process_time()
    if kind == "classifier":
        model = JEMClassifier(random_state=0).fit(X, few_labels(y))
        ask = model.predict
    else:
        model = EBMDensityEstimator(random_state=0).fit(X)
        ask = model.score if kind == "density" else model.predict
    fitted = time.process_time()
    ask(X)
    asked = time.process_time()
    return {"fit": fitted - started, "first_question": asked - fitted}


def importing():
    """Return the CPU seconds of importing skebm in a new process."""
    code = "import time; import skebm; print(time.process_time())"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return float(found.stdout)


def in_new_process(kind, table):
    """Return the seconds of one case, in a process of its own."""
    command = [sys.executable, __file__, "--one", kind, table]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    fit, question = map(float, found.stdout.split())
    return {"fit": fit, "first_question": question}


def main():
    options = parser(__doc__)
    options.add_argument("--cases", nargs="+", help='such as "density: iris"')
    options.add_argument("--one", nargs=2, help="kind and table, in this process")
    args = options.parse_args()
    if args.one:
        seconds = measure(*args.one)
        print(seconds["fit"], seconds["first_question"])
        return
    rows = [{"case": "import", "fit": importing(), "first_question": 0.0}]
    for kind, table in CASES:
        case = f"{kind}: {table}"
        if args.cases and case not in args.cases:
            continue
        rows.append({"case": case} | in_new_process(kind, table))
        report(NAME, earlier_rows(NAME, rows, ("case",)) + rows)


if __name__ == "__main__":
    main()
