"""Wild values in one column of the training rows: what they cost each method.

The first column gets one value a thousand deviations away (``one``), a code 9999
deviations below in some rows (``code``), or values scattered over 100 to 10 000
deviations on both sides (``scattered``). The test rows stay clean. Beside skebm stand
label spreading for the classes, a Gaussian mixture for the density (its size is chosen
by held-out rows) and the local outlier factor for outliers: test rows whose first entry
is moved by eight deviations. They see standardised columns, as their guides advise.

``accuracy`` is that with 20 labels a class, ``nats`` the mean log density of the clean
test rows, in standardised units of the clean training rows, ``auc`` the area under the
curve of outliers. ``d_*`` are differences from the fit to clean rows.

    python benchmarks/wild_values.py --data DATA --tables made keel/phoneme
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from _report import earlier_rows, parser, report
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelSpreading

from skebm import EBMDensityEstimator, JEMClassifier

N_TRAIN, N_TEST, LABELS_A_CLASS = 600, 2000, 20
SIZES = (1, 2, 4, 8, 16, 32)
#: Kinds of wild values, and the share of rows that get them.
KINDS = {
    "clean": 0.0,
    "one": 1 / N_TRAIN,
    "code 1%": 0.01,
    "code 5%": 0.05,
    "scattered 1%": 0.01,
    "scattered 5%": 0.05,
}
KEY = ("table", "seed", "kind")


def load(folder, table, seed):
    """Return training rows, test rows and their classes, training rows standardised."""
    rng = np.random.RandomState(seed)
    if table == "made":
        y = rng.randint(2, size=N_TRAIN + N_TEST)
        X = rng.normal(size=(len(y), 4))
        X[:, 0] += 3 * y
        X[:, 1] += X[:, 0] ** 2 / 4
        X[:, 3] = np.exp(X[:, 3])
    else:
        with np.load(Path(folder) / f"{table}.npz") as arrays:
            X, y = arrays["X"].astype(np.float64), arrays["y"]
        chosen = rng.permutation(len(X))[: N_TRAIN + N_TEST]
        X, y = X[chosen], y[chosen]
    train, test = X[:N_TRAIN], X[N_TRAIN:]
    mean, scale = train.mean(axis=0), train.std(axis=0)
    train, test = (train - mean) / scale, (test - mean) / scale
    return train, test, y[:N_TRAIN], y[N_TRAIN:]


def spoiled(train, kind, seed):
    """Return training rows with wild values in the first column."""
    rng = np.random.RandomState(seed + 100)
    X = train.copy()
    rows = rng.permutation(len(X))[: round(KINDS[kind] * len(X))]
    if kind == "one":
        X[rows, 0] = 1000.0
    elif kind.startswith("code"):
        X[rows, 0] = -9999.0
    else:
        size = 10 ** rng.uniform(2, 4, len(rows))
        X[rows, 0] = rng.choice([-1, 1], len(rows)) * size
    return X


def few_labels(y, seed):
    """Return labels of 20 rows a class, -1 elsewhere."""
    rng = np.random.RandomState(seed + 200)
    few = np.full(len(y), -1)
    for label in np.unique(y):
        rows = rng.permutation(np.flatnonzero(y == label))[:LABELS_A_CLASS]
        few[rows] = label
    return few


def best_mixture(X, seed):
    """Return a mixture after standardisation, of the size of best held-out scores."""
    held_out = np.arange(len(X)) % 10 == 0
    fits = [
        make_pipeline(StandardScaler(), GaussianMixture(k, random_state=seed)).fit(
            X[~held_out]
        )
        for k in SIZES
    ]
    return max(fits, key=lambda fit: fit.score(X[held_out]) - log_scale(fit))


def log_scale(pipeline):
    """Return the log of the unit of a pipeline's scores."""
    return np.log(pipeline[0].scale_).sum()


def measure(X, y, test, truth, seed, max_iter):
    """Return the figures of all methods fitted to some rows."""
    options = {"max_iter": max_iter, "random_state": seed}
    jem = JEMClassifier(**options).fit(X, y)
    spreading = LabelSpreading("knn", n_neighbors=7)
    spreading = make_pipeline(StandardScaler(), spreading).fit(X, y)
    density = EBMDensityEstimator(**options).fit(X)
    mixture = best_mixture(X, seed)
    lof = make_pipeline(StandardScaler(), LocalOutlierFactor(novelty=True)).fit(X)
    moved = test.copy()
    moved[:, 0] += 8 * np.where(np.arange(len(test)) % 2, 1, -1)
    is_normal = np.r_[np.ones(len(test)), np.zeros(len(moved))]
    both = np.r_[test, moved]
    return {
        "accuracy": jem.score(test, truth),
        "accuracy_spreading": spreading.score(test, truth),
        "nats": density.score(test),
        "nats_mixture": mixture.score(test) - log_scale(mixture),
        "auc": roc_auc_score(is_normal, density.ood_scores(both)),
        "auc_mixture": roc_auc_score(is_normal, mixture.score_samples(both)),
        "auc_lof": roc_auc_score(is_normal, lof.score_samples(both)),
    }


def main():
    options = parser(__doc__, seeds=1)
    options.add_argument("--data", help="folder of tables, see references.py")
    options.add_argument("--tables", nargs="+", default=["made"])
    options.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    options.add_argument("--max-iter", type=int, help="epochs of skebm's estimators")
    arguments = options.parse_args()
    max_iter, rows = arguments.max_iter or "auto", []
    for table in arguments.tables:
        for seed in range(arguments.seeds):
            train, test, y, truth = load(arguments.data, table, seed)
            for kind in dict.fromkeys(["clean", *arguments.kinds]):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    X = spoiled(train, kind, seed)
                    labels = few_labels(y, seed)
                    figures = measure(X, labels, test, truth, seed, max_iter)
                if kind == "clean":
                    clean = figures
                lost = {f"d_{k}": figures[k] - clean[k] for k in figures}
                row = {"table": table, "seed": seed, "kind": kind}
                rows.append(row | figures | lost)
                print(rows[-1], flush=True)
    rows += earlier_rows("wild_values", rows, KEY)
    settings = {"n_train": N_TRAIN, "max_iter": max_iter}
    report("wild_values", rows, **settings, labels_a_class=LABELS_A_CLASS)


if __name__ == "__main__":
    main()
