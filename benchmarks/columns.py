"""Held-out log-likelihood of a table of categories and numbers: adult.

Eight categorical columns, two booleans and three numbers (age, hours per week, the log
of the sampling weight; with uniform noise as wide as their resolution; standardised).
Scores are densities of the numbers times probabilities of the categories.
EBMDensityEstimator and its untrained reference are compared with independent columns
and with latent classes, a mixture whose components are independent categories and a
Gaussian, fitted by EM.

``--data`` names the folder of ``adult.npz``, with X (six numbers, then one-hot columns)
and ``feature_names``.

    python benchmarks/columns.py --data DATA
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _report import parser, report
from scipy.special import logsumexp
from sklearn.mixture import GaussianMixture

from skebm import EBMDensityEstimator

NUMBERS = ["age", "fnlwgt", "hours-per-week"]
N_CLASSES = (16, 64)
N_STEPS = 60


def load_adult(folder, n_rows, seed):
    """Return training and test rows as data frames, 4 : 1."""
    with np.load(folder / "adult.npz", allow_pickle=True) as arrays:
        table, names = arrays["X"], [str(name) for name in arrays["feature_names"]]
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(table[rng.permutation(len(table))[:n_rows]], columns=names)
    numbers = table[NUMBERS] + rng.uniform(-0.5, 0.5, (len(table), len(NUMBERS)))
    numbers = numbers.astype(float).assign(fnlwgt=lambda rows: np.log(rows["fnlwgt"]))
    cut = int(0.8 * len(table))
    numbers = (numbers - numbers[:cut].mean()) / numbers[:cut].std(ddof=0)
    one_hot = table[[name for name in names if "_" in name]]
    X = pd.from_dummies(one_hot.astype(bool), sep="_").astype("category")
    X = pd.concat([numbers, table[["capital-gain", "capital-loss"]] > 0, X], axis=1)
    return X[:cut], X[cut:].reset_index(drop=True)


def split(train, test):
    """Return category indices, numbers of categories, and numerical columns."""
    categories = train.drop(columns=NUMBERS).astype("category")
    codes = [categories.apply(lambda column: column.cat.codes).to_numpy()]
    columns = [
        pd.Categorical(test[name], categories=categories[name].cat.categories).codes
        for name in categories
    ]
    codes.append(np.stack(columns, axis=1))
    sizes = [len(categories[name].cat.categories) for name in categories]
    return codes, sizes, [part[NUMBERS].to_numpy() for part in (train, test)]


def independent(train, test):
    codes, sizes, numbers = split(train, test)
    score = 0.0
    for j, size in enumerate(sizes):
        count = np.bincount(codes[0][:, j], minlength=size) + 0.5
        score = score + np.log(count / count.sum())[codes[1][:, j]]
    for x, y in zip(numbers[0].T, numbers[1].T, strict=True):
        model = GaussianMixture(8, random_state=0).fit(x[:, None])
        score = score + model.score_samples(y[:, None])
    return score


def latent_classes(n_classes, train, test, seed):
    """EM; each class has a tenth of a row a category, spread as in all rows."""
    codes, sizes, numbers = split(train, test)
    share = np.random.default_rng(seed).dirichlet(np.full(n_classes, 0.3), len(train))
    for _ in range(N_STEPS):
        weights = share.sum(axis=0) + 1
        tables = []
        for j, size in enumerate(sizes):
            counts = [np.bincount(codes[0][:, j], k, size) for k in share.T]
            everywhere = np.bincount(codes[0][:, j], minlength=size) / len(train)
            counts = np.stack(counts) + 0.1 * size * everywhere + 1e-3
            tables.append(np.log(counts / counts.sum(axis=1, keepdims=True)))
        gaussians = [gaussian(numbers[0], k) for k in share.T]
        fitted = np.log(weights / weights.sum()), tables, gaussians
        joint = log_joint(*fitted, codes[0], numbers[0])
        share = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
    return logsumexp(log_joint(*fitted, codes[1], numbers[1]), axis=1)


def gaussian(x, weight):
    mean = np.average(x, axis=0, weights=weight + 1e-12)
    covariance = np.cov(x.T, aweights=weight + 1e-12, bias=True)
    return mean, np.linalg.cholesky(covariance + 1e-3 * np.eye(x.shape[1]))


def log_joint(log_weights, tables, gaussians, codes, x):
    joint = log_weights + sum(
        table[:, column].T for table, column in zip(tables, codes.T, strict=True)
    )
    for k, (mean, factor) in enumerate(gaussians):
        white = np.linalg.solve(factor, (x - mean).T)
        joint[:, k] -= 0.5 * (white**2).sum(axis=0) + np.log(np.diag(factor)).sum()
    return joint - 0.5 * x.shape[1] * np.log(2 * np.pi)


def energy_based(train, test, seed):
    """Return scores of the model and of its untrained reference."""
    model = EBMDensityEstimator("nce", reference="gmm", random_state=seed).fit(train)
    scores = model.score_samples(test)
    return scores, scores + model.energy(test) + model.log_normalizer_


def main():
    options = parser(__doc__, seeds=1)
    options.add_argument("--data", type=Path, help="folder of adult.npz")
    options.add_argument("--rows", type=int, default=25_000)
    arguments = options.parse_args()
    if arguments.data is None:
        print("columns.py: no --data, nothing measured")
        return
    torch.set_num_threads(arguments.threads)
    rows = []

    def record(seed, method, scores, seconds):
        error = float(scores.std() / len(scores) ** 0.5)
        row = {"seed": seed, "method": method, "held_out_nats": float(scores.mean())}
        rows.append(row | {"standard_error": error, "cpu_seconds": seconds})
        print(f"{method}: {row['held_out_nats']:.3f}", flush=True)

    for seed in range(arguments.seeds):
        train, test = load_adult(arguments.data, arguments.rows, seed)
        started = time.process_time()
        scores = independent(train, test)
        record(seed, "independent columns", scores, time.process_time() - started)
        for k in N_CLASSES:
            started = time.process_time()
            scores = latent_classes(k, train, test, seed)
            seconds = time.process_time() - started
            record(seed, f"{k} latent classes", scores, seconds)
        started = time.process_time()
        scores, reference = energy_based(train, test, seed)
        seconds = time.process_time() - started
        record(seed, "EBMDensityEstimator", scores, seconds)
        record(seed, "its reference", reference, 0.0)
    report("columns", rows, seeds=arguments.seeds, n_rows=arguments.rows)


if __name__ == "__main__":
    main()
