"""Seconds per epoch of `BernoulliRBM`, of scikit-learn's, and of a bare torch loop.

On binarised MNIST (pixels above 127), 256 hidden units, persistent contrastive
divergence, without log Z. The bare loop is written by hand: float32 tensors, the five
products of a step, and nothing else. The three alternate in one process, so that other
load on the computer affects all. The time of an epoch is a difference of fits of
different lengths, so that the initial work does not count.
"""

import time
import warnings

import numpy as np
import torch
from _report import parser, report
from sklearn.neural_network import BernoulliRBM as TheirRBM

from skebm import BernoulliRBM

PLAIN = {"momentum": 0.0, "centered": False, "weight_averaging": 0.0}


def bare_loop(X, batch_size, n_epochs, seed):
    """Train by PCD-1 with as little code as possible; return seconds."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.from_numpy(X)
    W = 0.01 * torch.randn(256, x.shape[1], generator=generator)
    b, c, h = torch.zeros(x.shape[1]), torch.zeros(256), torch.zeros(batch_size, 256)
    rate = 0.1 / batch_size
    started = time.perf_counter()
    for _ in range(n_epochs):
        for start in range(0, len(x) - batch_size + 1, batch_size):
            v = x[start : start + batch_size]
            h_data = torch.sigmoid(torch.addmm(c, v, W.T))
            p = torch.sigmoid(torch.addmm(b, h, W))
            v_model = (torch.rand(p.shape, generator=generator) < p).float()
            h_model = torch.sigmoid(torch.addmm(c, v_model, W.T))
            W.addmm_(h_data.T, v, alpha=rate)
            W.addmm_(h_model.T, v_model, alpha=-rate)
            c.add_(h_data.sum(0) - h_model.sum(0), alpha=rate)
            b.add_(v.sum(0) - v_model.sum(0), alpha=rate)
            h = (torch.rand(h_model.shape, generator=generator) < h_model).float()
    return time.perf_counter() - started


def seconds(estimator, X, n_epochs):
    """Return the seconds of `n_epochs` epochs, without the initial work."""
    times = []
    for n_iter in (0, n_epochs):
        started = time.perf_counter()
        estimator.set_params(n_iter=n_iter).fit(X)
        times.append(time.perf_counter() - started)
    return times[1] - times[0]


def main():
    options = parser(__doc__, seeds=3)
    options.add_argument("--data", required=True, help="mnist.npz with X_train")
    options.add_argument("--rows", type=int, default=60_000)
    options.add_argument("--epochs", type=int, default=1)
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore")
    X = (np.load(args.data)["X_train"][: args.rows] > 127).astype(np.float32)
    bare_loop(X[:1000], 100, 1, 0)
    rows = []
    for batch_size in (10, 100):
        shared = {"n_components": 256, "batch_size": batch_size}
        times = {"bare loop": [], "scikit-learn": [], "defaults": [], "plain": []}
        for seed in range(args.seeds):
            ours = BernoulliRBM(**shared, random_state=seed, normalizer=None)
            plain = BernoulliRBM(**shared, random_state=seed, normalizer=None, **PLAIN)
            theirs = TheirRBM(**shared, random_state=seed)
            times["bare loop"].append(bare_loop(X, batch_size, args.epochs, seed))
            times["defaults"].append(seconds(ours, X, args.epochs))
            times["plain"].append(seconds(plain, X, args.epochs))
            times["scikit-learn"].append(seconds(theirs, X, args.epochs))
        for name, values in times.items():
            ratios = np.divide(times["scikit-learn"], values)
            to_bare = np.divide(values, times["bare loop"])
            rows.append(
                {
                    "batch_size": batch_size,
                    "method": name,
                    "seconds_an_epoch": float(np.median(values)) / args.epochs,
                    "times_faster_than_scikit_learn": float(np.median(ratios)),
                    "seconds_to_bare_loop": float(np.median(to_bare)),
                }
            )
    report(
        "rbm_speed",
        rows,
        n_rows=len(X),
        epochs=args.epochs,
        repeats=args.seeds,
        n_components=256,
        limits={"batch 10": 4.0, "batch 100": 2.3, "to bare loop": 1.15},
        plain="as scikit-learn trains: no momentum, centring or averaging",
    )


if __name__ == "__main__":
    main()
