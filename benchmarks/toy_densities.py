"""Distance of fitted densities to known ones, in two columns.

For each density, reference and seed: the gap (mean true log density minus mean
`score_samples`, over 20 000 new rows), the same for the bare reference (zero tilt), the
integral of exp(score_samples) on a fine grid, the smallest and largest fraction of 4000
samples in a mode, and the seconds of the fit. Rows of earlier runs are kept in the
results, unless this run repeats them.
"""

import time

import numpy as np
import torch
from _report import earlier_rows, parser, reference_scores, report

from skebm import EBMDensityEstimator
from skebm.datasets import Checkerboard, GaussianRing, TwoRings

REFERENCES = ("gaussian", "default")
KEY = ("toy", "reference", "seed")


def grid_mass(model, X, n=1000):
    """Integrate the density on a grid, over the range of the rows widened by half."""
    low, high = X.min(axis=0), X.max(axis=0)
    margin = 0.25 * (high - low)
    x, y = np.linspace(low - margin, high + margin, n).T
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    density = np.exp(model.score_samples(grid))
    return density.sum() * (x[1] - x[0]) * (y[1] - y[0])


def main():
    options = parser(__doc__)
    options.add_argument("--references", nargs="+", default=REFERENCES)
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    rows = []
    for truth in (GaussianRing(), TwoRings(), Checkerboard()):
        for reference in args.references:
            chosen = {} if reference == "default" else {"reference": reference}
            for seed in range(args.seeds):
                X = truth.sample(4000, random_state=seed)
                fresh = truth.sample(20_000, random_state=1000 + seed)
                started = time.perf_counter()
                model = EBMDensityEstimator(random_state=seed, **chosen).fit(X)
                seconds = time.perf_counter() - started
                best = truth.score_samples(fresh).mean()
                row = {
                    "toy": type(truth).__name__,
                    "reference": reference,
                    "seed": seed,
                    "gap": best - model.score(fresh),
                    "zero_tilt_gap": best
                    - float(reference_scores(model, fresh).mean()),
                    "grid_mass": grid_mass(model, X),
                    "seconds": seconds,
                }
                if isinstance(truth, GaussianRing):
                    samples = model.sample(4000, random_state=seed)
                    share = np.bincount(truth.nearest_mode(samples), minlength=8) / 4000
                    row["least_mode"], row["largest_mode"] = share.min(), share.max()
                rows.append(row)
                print(row, flush=True)
    rows = earlier_rows("toy_densities", rows, KEY) + rows
    rows.sort(key=lambda row: [row[column] for column in KEY])
    report("toy_densities", rows, n_rows=4000)


if __name__ == "__main__":
    main()
