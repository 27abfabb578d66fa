"""Test log-likelihood of binary tables: RBMs that tilt trees, trees, and mixtures.

Tables of the density-estimation benchmark (Lowd and Davis, 2010; Van Haaren and Davis,
2012), as files ``<name>.npz`` with X_train, X_valid and X_test. Methods:

- "products": a mixture of 20 products of columns, fitted by EM from several starts;
- "trees": `ChowLiuReference`, their number chosen by a part of the training rows;
- "rbm": `BernoulliRBM` without a reference;
- "rbm on a tree", "rbm on trees": the same as a tilt of one tree, or of as many as
  "trees" has.

Settings of a method (`GRID`) are chosen by the validation rows. For "conservative",
log Z is the forward estimate plus two standard errors or the reverse estimate,
whichever is larger. "circuit" is the best published result of a probabilistic circuit.
Rows of earlier runs for other tables and methods are kept in the JSON.
"""

import json
import time
import warnings
from itertools import product
from pathlib import Path

import numpy as np
import torch
from _report import RESULTS, parser, report
from scipy.special import logsumexp

from skebm import BernoulliRBM
from skebm.evaluation import RBMAnnealing
from skebm.references import ChowLiuReference

#: Mean test log-likelihood of the best circuits, as published.
CIRCUITS = {
    "nltcs": -6.0,
    "plants": -12.5,
    "baudio": -39.6,
    "accidents": -26.6,
    "dna": -81.3,
    "mushrooms": None,
}
SIZES = (1, 2, 4, 8, 16, 32)
#: Epochs of the RBMs: about as many steps on each table.
EPOCHS = {"nltcs": 60, "plants": 60, "baudio": 40, "accidents": 200, "dna": 80}
#: Options that validation rows choose among.
GRID = {
    "n_components": [128, 500],
    "learning_rate": [0.1, 0.3],
    "weight_decay": [0.0, 3e-3],
}
METHODS = ["products", "trees", "rbm", "rbm on a tree", "rbm on trees"]


class MixtureOfBernoullis:
    """A mixture fitted by EM; the prior adds one row of column means per component."""

    def __init__(self, n_components, seed):
        self.n_components, self.seed = n_components, seed

    def fit(self, X, n_iter=200):
        """Run EM, started at random rows."""
        rng = np.random.default_rng(self.seed)
        mean = X.mean(axis=0)
        rows = rng.choice(len(X), self.n_components, replace=False)
        self.p = np.clip(0.5 * X[rows] + 0.5 * mean, 1e-4, 1 - 1e-4)
        self.weight = np.full(self.n_components, 1 / self.n_components)
        for _ in range(n_iter):
            joint = self._joint(X)
            share = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
            n = share.sum(axis=0)
            self.p = (share.T @ X + mean) / (n[:, None] + 1)
            self.p = np.clip(self.p, 1e-4, 1 - 1e-4)
            self.weight = (n + 1) / (n + 1).sum()
        return self

    def score(self, X):
        """Return the mean log-likelihood in nats."""
        return float(logsumexp(self._joint(X), axis=1).mean())

    def _joint(self, X):
        odds = np.log(self.p / (1 - self.p))
        return X @ odds.T + np.log(1 - self.p).sum(axis=1) + np.log(self.weight)


class Trees:
    """A mixture of Chow-Liu trees."""

    def __init__(self, seed):
        self.seed = seed

    def fit(self, X):
        """Choose the number of trees and fit them."""
        self.mixture = ChowLiuReference(SIZES).fit_masses(
            X.astype(int),
            [2] * X.shape[1],
            weight=None,
            generator=torch.Generator().manual_seed(self.seed),
        )
        return self

    def score(self, X):
        """Return the mean log-likelihood in nats."""
        return float(self.mixture.log_prob(torch.from_numpy(X).long()).mean())


def measured(model, parts):
    """Return results of a fitted model; those of an RBM with bounds of log Z."""
    figures = {"valid": model.score(parts[1]), "test": model.score(parts[2])}
    if not isinstance(model, BernoulliRBM):
        return figures | {"conservative": figures["test"]}
    result = model.normalizer_result_
    gap = result.reverse_log_normalizer - result.log_normalizer
    return figures | {
        "conservative": figures["test"] - (result.upper - result.log_normalizer),
        "se": result.standard_error,
        "reverse_gap": float(np.nan_to_num(gap)),  # 0 where log Z is exact
    }


def machines(method, parts, seed, args, n_epochs):
    """Yield the options of each RBM of the grid, and the RBM."""
    reference = None
    if method != "rbm":
        n_trees = 1
        if method == "rbm on trees":
            n_trees = len(Trees(seed).fit(parts[0]).mixture.log_weights)
        reference = ChowLiuReference(n_trees)
    grid = {"n_components": args.components, "learning_rate": args.learning_rates}
    grid["weight_decay"] = args.weight_decays
    for values in product(*grid.values()):
        options = dict(zip(grid, values, strict=True))
        model = BernoulliRBM(
            batch_size=100,
            n_iter=n_epochs,
            n_chains=args.chains,
            reference=reference,
            early_stopping=False,
            normalizer=RBMAnnealing(max_moves=args.max_moves),
            random_state=seed,
            **options,
        )
        yield options | {"epochs": n_epochs}, model.fit(parts[0])


def best(method, parts, seed, args, n_epochs):
    """Return the results of a method, by the best of its settings on validation."""
    if method == "products":
        tried = [({}, MixtureOfBernoullis(20, s).fit(parts[0])) for s in range(3)]
    elif method == "trees":
        tried = [({}, Trees(seed).fit(parts[0]))]
    else:
        tried = machines(method, parts, seed, args, n_epochs)
    rows = []
    for options, model in tried:
        rows.append(options | measured(model, parts))
        print("  ", method, rows[-1], flush=True)
    return max(rows, key=lambda row: row["valid"])


def main():
    options = parser(__doc__, seeds=1)
    options.add_argument("--data", required=True, help="folder of <name>.npz files")
    options.add_argument("--sets", nargs="+", default=list(CIRCUITS))
    options.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    options.add_argument("--epochs", type=int, help="of all tables")
    options.add_argument("--chains", type=int, default=100)
    options.add_argument("--max-moves", type=int, default=1_000_000)
    for name, values in GRID.items():
        plural = {"n_components": "--components"}.get(name, f"--{name}s")
        options.add_argument(
            plural.replace("_", "-"), nargs="+", type=type(values[0]), default=values
        )
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore")
    path = RESULTS / "rbm_debd.json"
    earlier = json.loads(path.read_text())["rows"] if path.exists() else []
    rows = {(r["set"], r["method"], r["seed"]): r for r in earlier if "method" in r}
    for name in args.sets:
        data = np.load(Path(args.data) / f"{name}.npz")
        parts = [
            data[f"X_{part}"].astype(np.float32) for part in ("train", "valid", "test")
        ]
        for method, seed in product(args.methods, range(args.seeds)):
            n_epochs = args.epochs or EPOCHS.get(name, 100)
            started = time.process_time()
            row = {"set": name, "method": method, "seed": seed}
            row |= best(method, parts, seed, args, n_epochs)
            row["circuit"] = CIRCUITS.get(name)
            row["cpu_seconds"] = time.process_time() - started
            rows[name, method, seed] = row
            print(row, flush=True)
            report("rbm_debd", list(rows.values()), batch_size=100, chains=args.chains)


if __name__ == "__main__":
    main()
