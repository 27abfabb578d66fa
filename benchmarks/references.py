"""Held-out log density of the reference alone, and of common alternatives.

One Gaussian; scikit-learn's GaussianMixture, its size chosen by BIC or on a validation
fifth; KernelDensity, its bandwidth chosen by five-fold cross-validation; the stacked
mixture of ``reference="gmm"``. No network is trained. All methods use the same prepared
rows, are refitted on all training rows, and add at most the same variance floor.

``--data`` names a folder with ``keel/*.npz``, ``uci/*.npz`` and a module
``protocol.py`` whose ``density_table(X, max_rows, seed)`` returns training and test
rows, standardised. The data are not part of the project.

    python benchmarks/references.py --data DATA --tables keel/phoneme keel/magic
"""

from __future__ import annotations

import importlib.util
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from _report import parser, report
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neighbors import KernelDensity

from skebm.references import GaussianMixtureReference

TABLES = (
    "keel/banana",
    "keel/phoneme",
    "keel/magic",
    "keel/vehicle",
    "keel/texture",
    "uci/letter",
    "uci/satimage",
)
SIZES = (1, 2, 3, 5, 8, 12, 16, 24, 32, 48, 64)
BANDWIDTHS = np.geomspace(0.05, 1.0, 14)
VARIANCE_FLOOR = 1e-3
PATIENCE = 3


def load_protocol(folder):
    """Return the function that prepares a table."""
    spec = importlib.util.spec_from_file_location("protocol", folder / "protocol.py")
    protocol = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(protocol)
    return protocol.density_table


def load_rows(folder, table):
    with np.load(folder / f"{table}.npz") as arrays:
        if "X" in arrays:
            return arrays["X"]
        return np.concatenate([arrays["X_train"], arrays["X_test"]])


def gaussian(train, test, seed):
    del seed
    model = GaussianMixture(1, reg_covar=VARIANCE_FLOOR).fit(train)
    return model.score_samples(test), "1 component"


def mixture(size, rows, seed):
    model = GaussianMixture(size, reg_covar=VARIANCE_FLOOR, random_state=seed)
    return model.fit(rows)


def best_size(score, max_size):
    """Return the size with the highest score; stop after three sizes without gain."""
    scores = {}
    for size in SIZES:
        if size > max_size:
            break
        scores[size] = score(size)
        best = max(scores, key=scores.get)
        if list(scores).index(best) <= len(scores) - 1 - PATIENCE:
            break
    return best


def mixture_by_validation(train, test, seed):
    """Choose the size on a fifth of the rows, and refit on all."""
    fit, valid = train_test_split(train, test_size=0.2, random_state=seed)
    size = best_size(lambda k: mixture(k, fit, seed).score(valid), len(fit) / 4)
    return mixture(size, train, seed).score_samples(test), f"{size} components"


def mixture_by_bic(train, test, seed):
    size = best_size(lambda k: -mixture(k, train, seed).bic(train), len(train) / 4)
    return mixture(size, train, seed).score_samples(test), f"{size} components"


def kernel_density(train, test, seed):
    del seed
    search = GridSearchCV(KernelDensity(), {"bandwidth": BANDWIDTHS}, cv=5)
    search.fit(train)
    bandwidth = search.best_params_["bandwidth"]
    return search.best_estimator_.score_samples(test), f"bandwidth {bandwidth:.2f}"


def stacked_mixture(train, test, seed):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.from_numpy(train).float()
    density = GaussianMixtureReference().fit(rows, weight=None, generator=generator)
    log_density = density.log_prob(torch.from_numpy(test).float()).double().numpy()
    return log_density, f"{len(density.weights)} components"


METHODS = {
    "Gaussian": gaussian,
    "GaussianMixture, BIC": mixture_by_bic,
    "GaussianMixture, validation": mixture_by_validation,
    "KernelDensity": kernel_density,
    "skebm reference": stacked_mixture,
}


def main():
    options = parser(__doc__, seeds=1)
    options.add_argument("--data", type=Path, help="folder of tables")
    options.add_argument("--tables", nargs="+", default=TABLES)
    options.add_argument("--max-rows", type=int, default=6000)
    arguments = options.parse_args()
    if arguments.data is None:
        print("references.py: no --data, nothing measured")
        return
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore", ConvergenceWarning)
    density_table = load_protocol(arguments.data)
    rows = []
    for table in arguments.tables:
        X = load_rows(arguments.data, table)
        for seed in range(arguments.seeds):
            train, test = density_table(X, arguments.max_rows, seed)
            for name, method in METHODS.items():
                started = time.perf_counter()
                scores, choice = method(train, test, seed)
                row = {
                    "table": table,
                    "n_train": len(train),
                    "n_features": train.shape[1],
                    "seed": seed,
                    "method": name,
                    "held_out_nats": float(scores.mean()),
                    "standard_error": float(scores.std() / len(scores) ** 0.5),
                    "choice": choice,
                    "seconds": time.perf_counter() - started,
                }
                rows.append(row)
                print(f"{table} {name} {row['held_out_nats']:.3f}", flush=True)
    report(
        "references",
        rows,
        tables=list(arguments.tables),
        seeds=arguments.seeds,
        max_rows=arguments.max_rows,
        variance_floor=VARIANCE_FLOOR,
    )


if __name__ == "__main__":
    main()
