"""All objectives on models with exact likelihood.

A normalised network has exact scores whatever trained it. So the held-out
log-likelihood of an objective can be compared with that of exact maximum likelihood and
that of the untrained network, with the same rows, seed, number of steps and rates:

- mixture of ten Gaussians on three Gaussians in two columns, 2000 rows;
- PPCA of five components on rows from one in twenty columns, 2000 rows;
- NICE on dequantised digits, 64 columns;
- with --mnist FILE (an npz of X_train and X_test, 0 to 255): NICE on MNIST, dequantised
  over 1/256, clipped by 0.001, logits; four couplings of five layers of 1000 units,
  batches of 128, 100 epochs. Columns with ties get the estimator's noise in training.
  --mnist-rows and --mnist-hidden make it smaller.

The reference, one Gaussian, is only the starting point of chains, generators and noise.
There is no early stopping: the result is that of the last state. `share` is the
progress from the untrained network to maximum likelihood, as a fraction. A method that
fails gives a row with its error.

Rows of earlier runs for other objectives, models or seeds are kept in the JSON.
"""

import json
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _report import RESULTS, parser, report
from scipy.special import logit
from scipy.stats import multivariate_normal
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from skebm import EBMDensityEstimator
from skebm.datasets import GaussianRing
from skebm.networks import NICE, PPCA, MixtureOfGaussians
from skebm.objectives import OBJECTIVES

KEY = ["model", "objective", "seed"]


def three_gaussians(seed):
    """Return training rows, test rows and the true mean log density of the latter."""
    truth = GaussianRing(3, (0.0, 0.0), 2.0, 0.5)
    X, fresh = truth.sample(2000, seed), truth.sample(10_000, 5000 + seed)
    return X, fresh, {"truth": truth.score_samples(fresh).mean()}


def principal_components(seed):
    """Return rows of a PPCA model as above; also scikit-learn's closed-form fit."""
    rng = np.random.RandomState(seed)
    weight = rng.normal(size=(20, 5))
    # Columns of one variance: noise stays isotropic when they are standardised.
    weight *= 2 / np.linalg.norm(weight, axis=1, keepdims=True)
    truth = multivariate_normal(None, weight @ weight.T + 0.25 * np.eye(20))
    X, fresh = (truth.rvs(n, random_state=rng) for n in (2000, 10_000))
    scale = X.std(axis=0)
    closed_form = PCA(5).fit(X / scale).score(fresh / scale) - np.log(scale).sum()
    return X, fresh, {"truth": truth.logpdf(fresh).mean(), "closed_form": closed_form}


def digits(seed):
    """Return dequantised digits."""
    rng = np.random.RandomState(seed)
    X = load_digits().data
    return *train_test_split(X + rng.uniform(size=X.shape), random_state=seed), {}


def mnist(path, n_rows, seed):
    """Return logits of dequantised pixels."""
    rng = np.random.RandomState(seed)

    def prepare(X):
        X = X.reshape(len(X), -1) / 255 + (rng.uniform(size=(len(X), 784)) - 0.5) / 256
        return logit(np.clip(X, 1e-3, 1 - 1e-3))

    with np.load(path) as file:
        return prepare(file["X_train"][:n_rows]), prepare(file["X_test"]), {}


#: Data, network and options, the same for all objectives.
CASES = {
    "mixture": (
        three_gaussians,
        MixtureOfGaussians,
        {"max_iter": 60, "learning_rate": 1e-2},
    ),
    "ppca": (
        principal_components,
        partial(PPCA, n_components=5),
        {"max_iter": 60, "learning_rate": 1e-2},
    ),
    "nice": (
        digits,
        partial(NICE, hidden_features=(128, 128)),
        {"max_iter": 30, "learning_rate": 5e-3},
    ),
}
MNIST_OPTIONS = {"max_iter": 100, "batch_size": 128, "learning_rate": 1e-3}


def fit(case, objective, seed, **options):
    """Return the held-out log-likelihood, and further results of the fit."""
    load, network, defaults = case
    train, test, _ = load(seed)
    model = EBMDensityEstimator(
        objective,
        network,
        reference="gaussian",
        early_stopping=False,
        random_state=seed,
        **(defaults | options),
    )
    started, used = time.perf_counter(), time.process_time()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(train)
    return model.score(test), {
        "rollbacks": model.history_["n_rollbacks"][-1],
        "warnings": len(caught),
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - used,
    }


def measure(name, case, objective, seed, baseline):
    """Return one row of results; an error is a row too."""
    row = dict(zip(KEY, (name, objective, seed), strict=True)) | baseline
    try:
        score, figures = fit(case, objective, seed)
    except Exception as error:  # any error is a result, which the table shows
        return row | {"error": f"{type(error).__name__}: {error}"}
    best, first = baseline["maximum_likelihood"], baseline["untrained"]
    share = (score - first) / (best - first)
    return row | {"log_likelihood": score, "share": share} | figures


def main():
    options = parser(__doc__, seeds=1)
    options.add_argument("--first-seed", type=int, default=100)
    options.add_argument("--objectives", nargs="+", default=density_objectives())
    options.add_argument("--models", nargs="+", default=list(CASES), choices=CASES)
    options.add_argument("--mnist", type=Path, help="npz file; that case only")
    options.add_argument("--mnist-epochs", type=int, default=100)
    options.add_argument("--mnist-rows", type=int, default=60_000)
    options.add_argument("--mnist-hidden", type=int, nargs="+", default=[1000] * 5)
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    cases = {name: CASES[name] for name in args.models}
    report_name = "tractable"
    if args.mnist is not None:
        epochs = {"max_iter": args.mnist_epochs}
        load = partial(mnist, args.mnist, args.mnist_rows)
        network = partial(NICE, hidden_features=tuple(args.mnist_hidden))
        cases = {"nice on mnist": (load, network, MNIST_OPTIONS | epochs)}
        report_name = "tractable_mnist"
    path = RESULTS / f"{report_name}.json"
    earlier = json.loads(path.read_text())["rows"] if path.exists() else []
    rows = {tuple(row[key] for key in KEY): row for row in earlier}
    for name, case in cases.items():
        for seed in range(args.first_seed, args.first_seed + args.seeds):
            baseline = baseline_of(case, seed)
            for objective in args.objectives:
                row = measure(name, case, objective, seed, baseline)
                print(row, flush=True)
                rows[tuple(row[key] for key in KEY)] = row
    sizes = {}
    if args.mnist is not None:
        sizes = {"mnist_rows": args.mnist_rows, "hidden": args.mnist_hidden}
    report(report_name, list(rows.values()), **sizes)
    table = pd.DataFrame(list(rows.values())).reindex(columns=[*KEY, "share"])
    print(table.pivot_table("share", "objective", "model", "median").round(3))


def baseline_of(case, seed):
    """Return the results of the truth, no training and exact maximum likelihood."""
    untrained, _ = fit(case, "mle", seed, max_iter=1, learning_rate=1e-12)
    best, _ = fit(case, "mle", seed)
    truth = case[0](seed)[2]
    return truth | {"untrained": untrained, "maximum_likelihood": best}


def density_objectives():
    """Return the names of the objectives that need neither labels nor a box."""
    return [name for name in OBJECTIVES if name not in {"hdge", "jem"}]


if __name__ == "__main__":
    main()
