"""Stability of an objective over random configurations.

Every objective gets the same configurations: learning rate log-uniform from 1e-4 to
1e-2, width of the energy's two hidden layers, rows per step. All have one seed, so they
hold out the same rows. Each trains a fixed number of steps; the held-out log-likelihood
(nats) of the averaged weights is computed once per epoch. A configuration

- holds, if training ends with finite values and the last epoch is within 0.3 nats of
  the best epoch of the same run: nothing learnt was lost;
- ends well, if it ends with finite values and the last epoch is within 0.3 nats of the
  best that the objective reached in any configuration.

``n_rollbacks`` counts the divergences that the guard detected. Configurations of
earlier runs for other objectives and data are kept in the JSON.
"""

import json
import time
import warnings
from functools import partial

import numpy as np
import torch
from _report import RESULTS, parser, report
from sklearn.datasets import load_breast_cancer

from skebm import EBMDensityEstimator
from skebm.datasets import GaussianRing
from skebm.exceptions import SkebmError
from skebm.networks import MLP

TRUTH = GaussianRing(3, (0.0, 0.0), 2.0, 0.5)
DATA = {
    "three gaussians": lambda: TRUTH.sample(2000, random_state=0),
    "breast cancer": lambda: load_breast_cancer(return_X_y=True)[0],
}
TOLERANCE = 0.3  # nats


def draw_configurations(n_configurations):
    """Return keyword arguments of the estimator; the first do not depend on n."""
    rng = np.random.RandomState(0)
    return [
        {
            "learning_rate": float(10 ** rng.uniform(-4, -2)),
            "width": int(rng.choice([32, 64, 128, 256])),
            "batch_size": int(rng.choice([25, 50, 100, 200, 400])),
        }
        for _ in range(n_configurations)
    ]


def train(objective, X, n_steps, width, batch_size, **options):
    """Return the results of one run."""
    rows_a_step = min(batch_size, round(0.9 * len(X)))
    max_iter = max(2, round(n_steps * rows_a_step / (0.9 * len(X))))
    model = EBMDensityEstimator(
        objective,
        network=partial(MLP, hidden_features=(width, width), embedding="waves"),
        reference="gaussian",
        normalizer=None,
        batch_size=batch_size,
        max_iter=max_iter,
        n_iter_no_change=max_iter,
        random_state=0,
        **options,
    )
    started = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(X)
    except SkebmError as error:
        return {"last": np.nan, "best": np.nan, "problem": str(error)[:200]}
    held_out = np.asarray(model.history_["validation_log_likelihood"], dtype=float)
    return {
        "last": held_out[-1],
        "best": np.nanmax(held_out),
        "n_rollbacks": model.history_["n_rollbacks"][-1],
        "seconds": time.perf_counter() - started,
    }


def judge(rows):
    """Add the results that need all configurations of an objective."""
    best = np.nanmax([row["best"] for row in rows])
    for row in rows:
        row["holds"] = bool(row["last"] >= row["best"] - TOLERANCE)
        row["ends_well"] = bool(row["last"] >= best - TOLERANCE)
    return {
        "objective": rows[0]["objective"],
        "data": rows[0]["data"],
        "n_configurations": len(rows),
        "hold": sum(row["holds"] for row in rows),
        "end_well": sum(row["ends_well"] for row in rows),
        "without_rollback": sum(row.get("n_rollbacks") == 0 for row in rows),
        "best": best,
        "worst": np.nanmin([row["last"] for row in rows]),
    }


def earlier(done):
    """Return the configurations of earlier runs that this run does not repeat."""
    path = RESULTS / "stability.json"
    if not path.exists():
        return []
    runs = json.loads(path.read_text())["settings"]["runs"]
    return [run for run in runs if (run["objective"], run["data"]) not in done]


def main():
    options = parser(__doc__)
    options.add_argument("--objectives", nargs="+", default=["vera"])
    options.add_argument("--data", nargs="+", default=["three gaussians"], choices=DATA)
    options.add_argument("--configurations", type=int, default=20)
    options.add_argument("--steps", type=int, default=1500)
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    done = {(name, data) for name in args.objectives for data in args.data}
    runs = earlier(done)
    for objective in args.objectives:
        for data in args.data:
            X = DATA[data]()
            for number, options in enumerate(draw_configurations(args.configurations)):
                named = {"objective": objective, "data": data, "number": number}
                figures = train(objective, X, args.steps, **options)
                runs.append(named | options | figures | {"n_steps": args.steps})
                print(runs[-1], flush=True)
    keys = dict.fromkeys((run["objective"], run["data"]) for run in runs)
    groups = [
        [run for run in runs if (run["objective"], run["data"]) == key] for key in keys
    ]
    report("stability", [judge(group) for group in groups], runs=runs)


if __name__ == "__main__":
    main()
