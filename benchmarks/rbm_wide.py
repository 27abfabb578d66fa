"""An RBM of a wide table with few rows: votes of two camps on many questions.

The rows are camps on three axes, and each column is nearly determined by them. Held-out
log-likelihoods in nats, of 300 rows of the same distribution:

- ``independent``: independent columns, with one row of each value added;
- ``mixture``: 20 Bernoullis by expectation maximisation, half a row added a value;
- ``last``: `BernoulliRBM` with ``early_stopping=False``;
- ``watched``: the same by default, with its warning where it gives one.

    python benchmarks/rbm_wide.py
"""

import time
import warnings

import numpy as np
import torch
from _report import parser, report

from skebm import BernoulliRBM
from skebm.exceptions import TrainingWarning


def votes(n_rows, n_columns, seed):
    """Return rows of 0 and 1: two camps on three axes."""
    rng = np.random.default_rng(seed)
    camps = rng.normal(size=(n_rows, 3))
    camps[:, 0] = np.sign(camps[:, 0]) * (1.5 + 0.3 * camps[:, 0])
    odds = camps @ (5 * rng.normal(size=(3, n_columns)))
    odds += 1.5 * rng.normal(size=n_columns)
    return (rng.uniform(size=odds.shape) < 1 / (1 + np.exp(-odds))).astype(np.float32)


def log_bernoulli(X, p):
    """Return log probabilities of rows under each row of probabilities p."""
    return X @ np.log(p).T + (1 - X) @ np.log(1 - p).T


def independent(train, test):
    """Return the mean log-likelihood of independent columns."""
    p = (train.sum(axis=0, keepdims=True) + 1) / (len(train) + 2)
    return float(log_bernoulli(test, p).mean())


def mixture(train, test, seed, n_components=20, n_steps=50):
    """Return the mean log-likelihood of a mixture of Bernoullis."""
    rng = np.random.default_rng(seed)
    share = rng.dirichlet(np.ones(n_components), size=len(train))
    for _ in range(n_steps):
        size = share.sum(axis=0)
        p = (share.T @ train + 0.5) / (size[:, None] + 1)
        level = np.log((size + 0.5) / (len(train) + 0.5 * n_components))
        joint = log_bernoulli(train, p) + level
        share = np.exp(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True))
    return float(np.logaddexp.reduce(log_bernoulli(test, p) + level, axis=1).mean())


def machine(train, test, seed, **options):
    """Return the likelihood, its standard error of log Z, seconds and any warning."""
    started = time.process_time()
    model = BernoulliRBM(
        128,
        learning_rate=0.05,
        batch_size=100,
        n_iter=50,
        random_state=seed,
        **options,
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(train)
    told = [str(w.message) for w in caught if w.category is TrainingWarning]
    seconds = time.process_time() - started
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        score = model.score(test)
    return score, model.log_normalizer_se_, seconds, " ".join(told)


def main():
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=1200)
    options.add_argument("--columns", type=int, default=1400)
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    rows = []
    for seed in range(args.seeds):
        X = votes(args.rows + 300, args.columns, seed)
        train, test = X[: args.rows], X[args.rows :]
        row = {"seed": seed, "independent": independent(train, test)}
        row["mixture"] = mixture(train, test, seed)
        for name, stopping in (("last", False), ("watched", "auto")):
            score, error, seconds, told = machine(
                train, test, seed, early_stopping=stopping
            )
            row |= {name: score, f"{name}_se": error, f"{name}_seconds": seconds}
        row["warning"] = told
        rows.append(row)
        print(row, flush=True)
    report("rbm_wide", rows, seeds=args.seeds, shape=(args.rows, args.columns))


if __name__ == "__main__":
    main()
