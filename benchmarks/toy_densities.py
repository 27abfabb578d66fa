"""Distance of fitted densities to known ones, in two columns.

For each toy, reference and seed: the gap (mean true log density less mean
`score_samples`, over 20 000 fresh rows), the same for the bare reference (zero tilt),
the mass of exp(score_samples) on a fine grid, the least and largest share of 4000
samples in a mode, and the seconds of the fit.
"""

import time

import numpy as np
import torch
from _report import parser, report

from skebm import EBMDensityEstimator
from skebm.datasets import Checkerboard, GaussianRing, TwoRings


def grid_mass(model, X, n=1000):
    """Integrate the density on a grid over the rows' range, half as wide again."""
    low, high = X.min(axis=0), X.max(axis=0)
    margin = 0.25 * (high - low)
    x, y = np.linspace(low - margin, high + margin, n).T
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    density = np.exp(model.score_samples(grid))
    return density.sum() * (x[1] - x[0]) * (y[1] - y[0])


def zero_tilt(model, X):
    """Return the mean log density of the reference alone."""
    scaler = model._standardizer
    rows = torch.from_numpy(scaler.transform(X))
    return float(model.reference_.log_prob(rows).mean()) + scaler.log_jacobian


def main():
    args = parser(__doc__).parse_args()
    torch.set_num_threads(args.threads)
    rows = []
    for truth in (GaussianRing(), TwoRings(), Checkerboard()):
        for options in ({"reference": "gaussian"}, {}):
            for seed in range(args.seeds):
                X = truth.sample(4000, random_state=seed)
                fresh = truth.sample(20_000, random_state=1000 + seed)
                started = time.perf_counter()
                model = EBMDensityEstimator(random_state=seed, **options).fit(X)
                seconds = time.perf_counter() - started
                best = truth.score_samples(fresh).mean()
                row = {
                    "toy": type(truth).__name__,
                    "reference": options.get("reference", "default"),
                    "seed": seed,
                    "gap": best - model.score(fresh),
                    "zero_tilt_gap": best - zero_tilt(model, fresh),
                    "grid_mass": grid_mass(model, X),
                    "seconds": seconds,
                }
                if isinstance(truth, GaussianRing):
                    samples = model.sample(4000, random_state=seed)
                    share = np.bincount(truth.nearest_mode(samples), minlength=8) / 4000
                    row["least_mode"], row["largest_mode"] = share.min(), share.max()
                rows.append(row)
                print(row, flush=True)
    report("toy_densities", rows, n_rows=4000)


if __name__ == "__main__":
    main()
