"""Test log-likelihood of binary tables: `BernoulliRBM` and a mixture of Bernoullis.

Tables of the density-estimation benchmark (Lowd and Davis, 2010; Van Haaren and Davis,
2012), as files ``<name>.npz`` with X_train, X_valid and X_test. The RBM has 128 hidden
units, 50 epochs in batches of 100 and defaults otherwise. For "conservative", log Z is
the forward estimate plus two standard errors or the reverse estimate, whichever is
larger. The mixture has 20 components, fitted by EM from several starts; validation rows
choose among them.
"""

import warnings
from pathlib import Path

import numpy as np
import torch
from _report import parser, report
from scipy.special import logsumexp

from skebm import BernoulliRBM


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


def machine(X, X_valid, X_test, options, seed):
    """Train an RBM; return its results."""
    model = BernoulliRBM(batch_size=100, random_state=seed, **options).fit(X)
    result = model.normalizer_result_
    gap = result.reverse_log_normalizer - result.log_normalizer
    return {
        "valid": model.score(X_valid),
        "test": model.score(X_test),
        "conservative": model.score(X_test) - (result.upper - result.log_normalizer),
        "se": result.standard_error,
        "reverse_gap": float(np.nan_to_num(gap)),  # 0 where log Z is exact
    }


def main():
    options = parser(__doc__, seeds=3)
    options.add_argument("--data", required=True, help="folder of <name>.npz files")
    options.add_argument("--sets", help="names, by commas; all files otherwise")
    options.add_argument("--components", type=int, default=128)
    options.add_argument("--epochs", type=int, default=50)
    options.add_argument("--learning-rates", nargs="+", type=float, default=[0.1, 0.05])
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore")
    folder = Path(args.data)
    names = (
        args.sets.split(",")
        if args.sets
        else sorted(p.stem for p in folder.glob("*.npz"))
    )
    settings = {"n_components": args.components, "n_iter": args.epochs}
    rows = []
    for name in names:
        data = np.load(folder / f"{name}.npz")
        parts = [
            data[f"X_{part}"].astype(np.float32) for part in ("train", "valid", "test")
        ]
        mixtures = [
            MixtureOfBernoullis(20, seed).fit(parts[0]) for seed in range(args.seeds)
        ]
        mixture = max(mixtures, key=lambda m: m.score(parts[1])).score(parts[2])
        for rate in args.learning_rates:
            tried = settings | {"learning_rate": rate}
            runs = [machine(*parts, tried, seed) for seed in range(args.seeds)]
            figures = {key: float(np.median([r[key] for r in runs])) for key in runs[0]}
            row = {"set": name, "learning_rate": rate, "mixture": mixture}
            rows.append(row | figures)
            print(rows[-1], flush=True)
    report("rbm_debd", rows, seeds=args.seeds, batch_size=100, **settings)


if __name__ == "__main__":
    main()
