"""How well draws stand in for rows, by `skebm.evaluation.fidelity`, beside peers.

Tables with their class as a category column; adult as in ``columns.py``, its education
as the class. As many draws as training rows of: EBMDensityEstimator by default, and
with ``network="trees"``; a Gaussian mixture by BIC, codes of categories as numbers that
are rounded; interpolation between a row and one of its five nearest ones, as SMOTE
does; a Gaussian copula of the columns' distributions; and independent columns.

``--data`` names a folder as in ``references.py``. Rows of earlier runs are kept in the
results, unless this run repeats their table, method and seed.

    python benchmarks/fidelity.py --data DATA --tables keel/phoneme
"""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _report import earlier_rows, parser, report
from columns import load_adult
from scipy.stats import norm, rankdata
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import NearestNeighbors

from skebm import EBMDensityEstimator
from skebm.evaluation import fidelity
from skebm.exceptions import NormalizerWarning

TABLES = (
    "keel/phoneme",
    "keel/vehicle",
    "keel/magic",
    "keel/segment",
    "keel/banana",
    "uci/letter",
    "uci/satimage",
    "keel/texture",
    "keel/spambase",
    "adult",
)
TARGET = "class"
KEY = ("table", "method", "seed")
COMPONENTS = (1, 2, 4, 8, 16)
N_NEIGHBORS = 5


def load(folder, table, n_rows, seed):
    """Return training rows and as many others, as data frames."""
    if table == "adult":
        train, test = load_adult(folder, round(2.5 * n_rows), seed)
        both = pd.concat([train, test], ignore_index=True)
        both = both.rename(columns={"education": TARGET})
    else:
        with np.load(folder / f"{table}.npz", allow_pickle=True) as arrays:
            names = ("X", "y") if "X" in arrays else ("X_train", "y_train")
            X, y = (arrays[name] for name in names)
        both = pd.DataFrame(X.astype(float)).add_prefix("x")
        both = both.loc[:, both.nunique() > 1]
        both[TARGET] = pd.Categorical(y.astype(str))
    order = np.random.default_rng(seed).permutation(len(both))
    n = min(n_rows, len(both) // 2)
    parts = order[:n], order[n : 2 * n]
    return [both.iloc[part].reset_index(drop=True) for part in parts]


class Codes:
    """A frame as numbers, and back: categories by their codes, rounded."""

    def __init__(self, frame):
        self.frame = frame
        self.is_number = [pd.api.types.is_float_dtype(d) for d in frame.dtypes]
        self.kinds = [
            None if number else pd.Index(frame[name].unique())
            for name, number in zip(frame, self.is_number, strict=True)
        ]

    def encode(self):
        """Return the frame as an array."""
        columns = [
            self.frame[name] if kind is None else kind.get_indexer(self.frame[name])
            for name, kind in zip(self.frame, self.kinds, strict=True)
        ]
        return np.stack([np.asarray(c, dtype=float) for c in columns], axis=1)

    def decode(self, table):
        """Return an array as a frame."""
        columns = {}
        for name, kind, x in zip(self.frame, self.kinds, table.T, strict=True):
            if kind is None:
                columns[name] = x
                continue
            code = np.clip(np.round(x), 0, len(kind) - 1).astype(int)
            columns[name] = pd.Series(kind[code]).astype(self.frame[name].dtype)
        return pd.DataFrame(columns)


def gaussian_mixture(train, rng):
    codes = Codes(train)
    X = codes.encode()
    unit = X.std(axis=0)
    models = [
        GaussianMixture(k, reg_covar=1e-3, random_state=0).fit(X / unit)
        for k in COMPONENTS
        if 10 * k <= len(X)
    ]
    best = min(models, key=lambda model: model.bic(X / unit))
    return codes.decode(best.set_params(random_state=0).sample(len(X))[0] * unit)


def interpolation(train, rng):
    """Numbers between a row and a near one, of its class; categories of one of both."""
    codes = Codes(train)
    X = codes.encode()
    unit, drawn = X.std(axis=0), np.empty_like(X)
    y = train[TARGET].astype(str).to_numpy()
    for label in np.unique(y):
        own = np.flatnonzero(y == label)
        near = NearestNeighbors(n_neighbors=min(N_NEIGHBORS + 1, len(own)))
        found = near.fit(X[own] / unit).kneighbors(X[own] / unit)[1]
        other = own[
            found[np.arange(len(own)), rng.integers(found.shape[1], size=len(own))]
        ]
        place = rng.uniform(size=(len(own), 1))
        place = np.where(codes.is_number, place, place > 0.5)
        drawn[own] = X[own] + place * (X[other] - X[own])
    return codes.decode(drawn)


def copula(train, rng):
    codes = Codes(train)
    X = codes.encode()
    spread = X + 1e-6 * rng.uniform(size=X.shape) * X.std(axis=0)
    scores = norm.ppf(rankdata(spread, axis=0) / (len(X) + 1))
    drawn = rng.multivariate_normal(np.zeros(X.shape[1]), np.corrcoef(scores.T), len(X))
    ordered = np.sort(X, axis=0)
    shares = norm.cdf(drawn)
    columns = [
        np.interp(share * (len(X) - 1), np.arange(len(X)), column)
        for share, column in zip(shares.T, ordered.T, strict=True)
    ]
    return codes.decode(np.stack(columns, axis=1))


def independent(train, rng):
    columns = {
        name: train[name].to_numpy()[rng.permutation(len(train))] for name in train
    }
    return pd.DataFrame(columns).astype(train.dtypes)


def ours(**options):
    def draw(train, rng):
        model = EBMDensityEstimator(
            normalizer="importance", random_state=0, **options
        ).fit(train)
        return model.sample(len(train), random_state=0)

    return draw


METHODS = {
    "default net": ours(),
    "trees": ours(network="trees"),
    "Gaussian mixture": gaussian_mixture,
    "interpolation": interpolation,
    "copula": copula,
    "independent": independent,
}


def main():
    options = parser(__doc__, seeds=1)
    options.add_argument("--data", type=Path, help="folder of tables")
    options.add_argument("--tables", nargs="+", default=TABLES)
    options.add_argument("--methods", nargs="+", default=list(METHODS))
    options.add_argument("--max-rows", type=int, default=1500)
    arguments = options.parse_args()
    if arguments.data is None:
        print("fidelity.py: no --data, nothing measured")
        return
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore", NormalizerWarning)
    rows = []
    for seed in range(arguments.seeds):
        for table in arguments.tables:
            train, test = load(arguments.data, table, arguments.max_rows, seed)
            for name in arguments.methods:
                started = time.process_time()
                draws = METHODS[name](train, np.random.default_rng(seed))
                seconds = time.process_time() - started
                found = fidelity(train, test, draws, target=TARGET, random_state=seed)
                row = {"table": table, "method": name, "seed": seed}
                row |= {"n_train": len(train), "n_features": train.shape[1]}
                row |= {
                    key: getattr(found, key)
                    for key in (
                        "global_utility",
                        "local_utility",
                        "two_sample_auc",
                        "nearer",
                        "share_of_copies",
                    )
                }
                rows.append(row | {"cpu_seconds": seconds})
                print(rows[-1], flush=True)
    rows = earlier_rows("fidelity", rows, KEY) + rows
    report("fidelity", rows, seeds=arguments.seeds, max_rows=arguments.max_rows)


if __name__ == "__main__":
    main()
