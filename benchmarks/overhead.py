"""Seconds per epoch of `fit`, as a ratio to a bare loop of the same VERA step.

The bare loop below is written by hand: the same networks, reference, batch size,
optimiser and steps, without trainer, guard, history, schedule or weight average. The
two alternate in one process, so that other load on the computer affects both. A fit of
one epoch is subtracted, to remove the time for scaling, reference and networks.
"""

import time

import numpy as np
import torch
from _report import parser, report

from skebm import EBMDensityEstimator
from skebm.networks import NETWORKS, EnergyModel
from skebm.objectives import VERA, Batch
from skebm.references import GaussianReference


def bare_loop(X, n_epochs, batch_size, seed):
    """Train by VERA with as little code as possible; return seconds of the epochs."""
    torch.manual_seed(seed)
    rng = torch.Generator().manual_seed(seed)
    x = torch.tensor((X - X.mean(axis=0)) / X.std(axis=0)).float()
    reference = GaussianReference().fit(x, weight=None, generator=rng)
    objective = VERA()
    model = EnergyModel(NETWORKS["wave_mlp"](x.shape[1], 1), reference)
    state = objective.init(model, reference, rng)
    optimizers = {
        name: torch.optim.AdamW(
            group.parameters,
            lr=1e-3 * group.rate,
            betas=group.betas,
            weight_decay=0.0,
            fused=True,
        )
        for name, group in objective.parameter_groups(model, state).items()
    }
    started = time.perf_counter()
    for _ in range(n_epochs):
        order = torch.randperm(len(x), generator=rng)
        for step in range(len(x) // batch_size):
            rows = order[step * batch_size : (step + 1) * batch_size]
            for loss in objective.step(model, Batch(x[rows]), state, rng):
                optimizers[loss.group].zero_grad()
                loss.value.backward(
                    inputs=optimizers[loss.group].param_groups[0]["params"]
                )
                optimizers[loss.group].step()
        objective.end_epoch(model, state, rng)
    return time.perf_counter() - started


def fit(X, n_epochs, batch_size, seed):
    """Return the seconds of the epochs by the measurement of `fit`."""
    model = EBMDensityEstimator(
        "vera",
        "wave_mlp",
        reference="gaussian",
        normalizer=None,
        early_stopping=False,
        max_iter=n_epochs,
        batch_size=batch_size,
        random_state=seed,
    )
    started = time.perf_counter()
    model.fit(X)
    return time.perf_counter() - started


def main():
    options = parser(__doc__, seeds=7)
    options.add_argument("--epochs", type=int, default=10)
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    rows = []
    for n_rows, n_columns in ((4000, 2), (4000, 20)):
        X = np.random.default_rng(0).normal(size=(n_rows, n_columns))
        fit(X, 1, 100, 0)
        bare_loop(X, 1, 100, 0)
        ratios, ours = [], []
        for seed in range(args.seeds):
            bare = bare_loop(X, args.epochs, 100, seed)
            setup = fit(X, 1, 100, seed)
            full = fit(X, args.epochs + 1, 100, seed)
            ours.append((full - setup) / args.epochs)
            ratios.append((full - setup) / bare)
        rows.append(
            {
                "rows": n_rows,
                "columns": n_columns,
                "median_ratio": float(np.median(ratios)),
                "min_ratio": min(ratios),
                "max_ratio": max(ratios),
                "seconds_an_epoch": float(np.median(ours)),
            }
        )
    report("overhead", rows, epochs=args.epochs, repeats=args.seeds, limit=1.1)


if __name__ == "__main__":
    main()
