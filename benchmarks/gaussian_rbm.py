"""Held-out log densities of GaussianRBM beside one Gaussian and mixtures.

Tables of four made-up distributions chose the defaults (two far blobs, five blobs in
eight columns, sums of exponentials, wine); the others were only looked at afterwards.
``--data`` names a folder with ``keel/*.npz`` for more of these; the data are not part
of the project. Each table has up to 600 training rows (1500 of keel).

- ``gaussian`` and ``mixture``: scikit-learn's, of standardised columns, with 0.001
  added to the variances; the mixture has one covariance and as many components, of 2, 5
  and 10, as training rows under five-fold cross-validation ask for;
- ``tempering``, ``pcd``: GaussianRBM by defaults, and with ``method="pcd"``.

Values on grids have a wider variance floor in GaussianRBM than in the mixtures: there
its Gaussian is lower.

    python benchmarks/gaussian_rbm.py --data DATA
"""

import time
import warnings
from pathlib import Path

import numpy as np
from _report import parser, report
from sklearn.datasets import load_breast_cancer, load_iris, load_wine, make_moons
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV

from skebm import GaussianRBM


def two_blobs(rng, n):
    return np.where(rng.rand(n, 1) < 0.5, -2, 2) + 0.5 * rng.normal(size=(n, 2))


def five_blobs(rng, n):
    centers = np.random.RandomState(3).normal(0, 3, size=(5, 8))
    return centers[rng.randint(5, size=n)] + rng.normal(size=(n, 8))


def exponentials(rng, n):
    mixing = np.array([[1, 0.5, 0], [0, 1, 0.5], [0, 0, 1]])
    return rng.exponential(size=(n, 3)) @ mixing


def one_gaussian(rng, n):
    return rng.normal(size=(n, 5)) @ np.random.RandomState(7).normal(size=(5, 5))


def heavy_tails(rng, n):
    return rng.standard_t(4, size=(n, 3))


def kinds_of_columns(rng, n):
    return np.c_[rng.poisson(3, n), rng.lognormal(size=n), rng.normal(size=n)]


#: Name, rows of training, and whether the table chose the defaults.
DRAWN = {
    two_blobs: (600, True),
    five_blobs: (600, True),
    exponentials: (200, True),
    one_gaussian: (60, False),
    heavy_tails: (200, False),
    kinds_of_columns: (300, False),
}
LOADED = {load_wine: True, load_iris: False, load_breast_cancer: False}
KEEL = ("phoneme", "banana", "vehicle", "segment", "magic")


def tables(seed, data):
    """Yield a name, whether the table chose the defaults, training and test rows."""
    for draw, (n, chose) in DRAWN.items():
        rng = np.random.RandomState(seed)
        yield draw.__name__, chose, draw(rng, n), draw(rng, 4000)
    X = make_moons(4600, noise=0.1, random_state=seed)[0]
    yield "two_moons", False, X[:600], X[600:]
    for load, chose in LOADED.items():
        X = np.random.RandomState(seed).permutation(load().data)
        cut = len(X) * 4 // 5
        yield load.__name__[5:], chose, X[:cut], X[cut:]
    for name in KEEL if data else ():
        X = np.load(Path(data) / "keel" / f"{name}.npz")["X"].astype(float)
        X = np.random.RandomState(seed).permutation(X[:, X.std(axis=0) > 0])
        cut = min(1500, len(X) * 3 // 4)
        yield name, False, X[:cut], X[cut : cut + 3000]


def mixtures(train, test):
    """Return held-out log densities of one Gaussian and of a mixture."""
    mean, scale = train.mean(axis=0), train.std(axis=0)
    x, held_out = (train - mean) / scale, (test - mean) / scale
    search = GridSearchCV(
        GaussianMixture(covariance_type="tied", reg_covar=1e-3, random_state=0),
        {"n_components": [2, 5, 10]},
    )
    one = GaussianMixture(reg_covar=1e-3).fit(x).score(held_out)
    many = search.fit(x).best_estimator_.score(held_out)
    units = np.log(scale).sum()
    return {"gaussian": one - units, "mixture": many - units}


def machine(train, test, **options):
    """Return the held-out log density of a GaussianRBM, and its CPU seconds."""
    started = time.process_time()
    score = GaussianRBM(**options).fit(train).score(test)
    return score, time.process_time() - started


def main():
    options = parser(__doc__, seeds=2)
    options.add_argument("--data", help="folder with keel/*.npz")
    args = options.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    for seed in range(args.seeds):
        for name, chose, train, test in tables(seed, args.data):
            row = {"table": name, "chose": chose, "n": len(train), "seed": seed}
            row |= mixtures(train, test)
            for method in ("tempering", "pcd"):
                score, seconds = machine(train, test, method=method, random_state=seed)
                row |= {method: score, f"{method}_seconds": seconds}
            rows.append(row)
            print(row, flush=True)
    report("gaussian_rbm", rows, seeds=args.seeds)


if __name__ == "__main__":
    main()
