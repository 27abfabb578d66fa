"""MNIST, all 60 000 training rows, few labels per class: error by training time.

JEMClassifier has its defaults, and other values of ``max_iter`` if ``--epochs`` gives
them; all pixels have one scale; the error in percent is on the 10 000 test rows. log Z
is not estimated, because p(y|x) does not need it.

    python benchmarks/mnist_few_labels.py --data DATA --epochs auto 40 --seeds 1
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from _few_labels_tables import make_task
from _report import earlier_rows, parser, report

from skebm import JEMClassifier

NAME = "mnist_few_labels"
N_ROWS = 60_000


def measure(task, max_iter, seed):
    """Return the error, the training time and `role_weights_` of one fit."""
    mean, deviation = task.X.mean(), task.X.std()
    model = JEMClassifier(normalizer=None, max_iter=max_iter, random_state=seed)
    wall, cpu = time.perf_counter(), time.process_time()
    model.fit((task.X - mean) / deviation, task.y)
    figures = {
        "epochs": model.n_iter_,
        "steps": model.n_iter_ * (len(task.X) // model.batch_size),
        "seconds": round(time.perf_counter() - wall),
        "cpu_seconds": round(time.process_time() - cpu),
    }
    wrong = model.predict((task.X_test - mean) / deviation) != task.y_test
    figures["error"] = 100 * np.mean(wrong)
    return figures | {name: round(w, 3) for name, w in model.role_weights_.items()}


def main():
    options = parser(__doc__, seeds=1)
    options.add_argument("--data", type=Path, help="folder of tables")
    options.add_argument("--epochs", nargs="+", default=["auto"])
    options.add_argument("--labels", type=int, default=10)
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    if args.data is None:
        print("mnist_few_labels.py: no --data, nothing measured")
        return
    rows = []
    for seed in range(args.seeds):
        task = make_task(args.data, "mnist", args.labels, seed, N_ROWS)
        for epochs in args.epochs:
            max_iter = epochs if epochs == "auto" else int(epochs)
            row = {"seed": seed, "labels": args.labels, "budget": epochs}
            rows.append(row | measure(task, max_iter, seed))
            key = ("seed", "labels", "budget")
            report(NAME, earlier_rows(NAME, rows, key) + rows)


if __name__ == "__main__":
    main()
