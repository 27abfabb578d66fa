"""Energy discrepancy on categories: which noise finds their probabilities.

Tables of two columns of twelve categories: ordinal (the second is near the first),
cyclic (it is, around a ring) and nominal (it is a shuffled code of the first). Nats of
the divergence of the true probabilities from those of the model, by enumeration of all
cells, and of the untrained reference.

    python benchmarks/category_noise.py
"""

from __future__ import annotations

import numpy as np
import torch
from _report import parser, report

from skebm import EBMDensityEstimator
from skebm.objectives import EnergyDiscrepancy

SIZE = 12
N_ROWS = 2000
NOISES = ("gaussian", "heat", "absorbing")


def probabilities(kind, rng):
    """Return the probabilities of all cells, (12, 12)."""
    index = np.arange(SIZE)
    gap = np.abs(index[:, None] - index)
    if kind == "cyclic":
        gap = np.minimum(gap, SIZE - gap)
    near = np.exp(-0.5 * (gap / 1.5) ** 2) + 0.02
    first = rng.dirichlet(np.full(SIZE, 5.0))
    table = first[:, None] * near / near.sum(axis=1, keepdims=True)
    return table[:, rng.permutation(SIZE)] if kind == "nominal" else table


def divergence(truth, log_model):
    return float((truth * (np.log(truth) - log_model)).sum())


def main():
    options = parser(__doc__, seeds=3)
    options.add_argument("--steps", type=int, default=100, help="epochs")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    cells = np.stack(np.meshgrid(*[np.arange(SIZE)] * 2, indexing="ij"), axis=-1)
    cells = cells.reshape(-1, 2).astype(float)
    rows = []
    for seed in range(arguments.seeds):
        for kind in ("ordinal", "cyclic", "nominal"):
            rng = np.random.default_rng(seed)
            truth = probabilities(kind, rng)
            drawn = rng.choice(SIZE**2, N_ROWS, p=truth.ravel())
            for noise in NOISES:
                model = EBMDensityEstimator(
                    EnergyDiscrepancy(category_noise=noise),
                    reference="gaussian",
                    categorical_features={0: kind, 1: kind},
                    max_iter=arguments.steps,
                    random_state=seed,
                ).fit(cells[drawn])
                log_model = model.score_samples(cells).reshape(SIZE, SIZE)
                row = {"kind": kind, "noise": noise, "seed": seed}
                row["divergence"] = divergence(truth, log_model)
                bare = log_model.ravel() + model.energy(cells) + model.log_normalizer_
                row["of_reference"] = divergence(truth, bare.reshape(SIZE, SIZE))
                rows.append(row | {"best_epoch": model.best_epoch_})
                print(rows[-1], flush=True)
    report("category_noise", rows, seeds=arguments.seeds, epochs=arguments.steps)


if __name__ == "__main__":
    main()
