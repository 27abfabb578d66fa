"""All objectives on known densities, with their defaults, in two columns.

Three Gaussians, two rings, Neal's funnel and a checkerboard, 2000 rows. The gap is the
mean true log density minus the mean `score_samples`, over 20 000 new rows; the
zero-tilt gap is that of the untrained model, one Gaussian (or a uniform box). The goal
is at most a tenth of it on the three Gaussians, and less than half of it on the others.
Rows outside a box count with a log density of -50 nats.

Rows of earlier runs for other objectives, references or seeds are kept in the JSON.
"""

import json
import time
import warnings

import numpy as np
import pandas as pd
import torch
from _report import RESULTS, parser, reference_scores, report

from skebm import EBMDensityEstimator
from skebm.datasets import Checkerboard, Funnel, GaussianRing, TwoRings
from skebm.exceptions import SkebmError, SkebmWarning
from skebm.objectives import OBJECTIVES

OUTSIDE = -50.0
KEY = ["objective", "target", "reference", "seed"]
TARGETS = {
    "three Gaussians": GaussianRing(3, (0.0, 0.0), 2.0, 0.5),
    "two rings": TwoRings(),
    "funnel": Funnel(),
    "checkerboard": Checkerboard(),
}


def mean_score(log_density):
    return float(np.where(np.isneginf(log_density), OUTSIDE, log_density).mean())


def measure(objective, target, reference, seed):
    """Return one row of results."""
    truth = TARGETS[target]
    X = truth.sample(2000, random_state=seed)
    fresh = truth.sample(20_000, random_state=5000 + seed)
    row = dict(zip(KEY, (objective, target, reference, seed), strict=True))
    model = EBMDensityEstimator(
        objective,
        reference=None if reference == "none" else reference,
        random_state=seed,
    )
    started, used = time.perf_counter(), time.process_time()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", SkebmWarning)
            model.fit(X)
    except SkebmError as error:
        return row | {"error": str(error)}
    seconds = {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - used,
    }
    best = truth.score_samples(fresh).mean()
    untrained = reference_scores(model, fresh)
    gap, zero_tilt = (
        best - mean_score(scores) for scores in (model.score_samples(fresh), untrained)
    )
    row |= {"gap": gap, "zero_tilt_gap": zero_tilt, "ratio": gap / zero_tilt}
    row |= {"log_z_se": model.log_normalizer_se_}
    row |= {"n_rollbacks": model.history_["n_rollbacks"][-1]}
    return row | seconds | {"warnings": len(caught)}


def main():
    options = parser(__doc__)
    options.add_argument("--first-seed", type=int, default=100)
    options.add_argument("--objectives", nargs="+", default=density_objectives())
    options.add_argument("--references", nargs="+", default=["gaussian"])
    options.add_argument("--targets", nargs="+", default=list(TARGETS))
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    rows = {}
    path = RESULTS / "objectives.json"
    for objective in args.objectives:
        for reference in args.references:
            for target in args.targets:
                for seed in range(args.first_seed, args.first_seed + args.seeds):
                    row = measure(objective, target, reference, seed)
                    print(row, flush=True)
                    rows[tuple(row[name] for name in KEY)] = row
        earlier = json.loads(path.read_text())["rows"] if path.exists() else []
        kept = {tuple(row[name] for name in KEY): row for row in earlier}
        report("objectives", list((kept | rows).values()), n_rows=2000)
    table = pd.DataFrame(list((kept | rows).values()))
    print(table.pivot_table("ratio", KEY[:3:2], "target", "median").round(3))


def density_objectives():
    """Return the names of the objectives that need neither labels nor a box."""
    return [name for name in OBJECTIVES if name not in {"hdge", "jem"}]


if __name__ == "__main__":
    main()
