"""Boltzmann machines trained without chains, beside CD and PCD.

Two tables: 1000 rows of a machine of six binary columns, whose distribution is known
(the KL divergence from it, by its 64 states), and binarised digits (exact mean
log-likelihood of 297 rows that `fit` has not seen; 16 hidden units).
"""

import itertools
import time

import numpy as np
import torch
from _report import parser, report
from sklearn.datasets import load_digits

from skebm import BernoulliRBM
from skebm.objectives import DISCRETE_LOSSES

METHODS = ("cd", "pcd", *DISCRETE_LOSSES)


def known_machine():
    """Return the states of a machine and their probabilities."""
    W = np.array([[2.0, 2, 2, -2, -2, -2], [2.0, -2, 2, -2, 2, -2]])
    states = np.array(list(itertools.product([0.0, 1.0], repeat=6)))
    log_p = np.logaddexp(0, states @ W.T - 1).sum(1) - states @ W.sum(0) / 3
    return states, np.exp(log_p - np.logaddexp.reduce(log_p))


def main():
    args = parser(__doc__, seeds=3).parse_args()
    torch.set_num_threads(args.threads)
    states, p = known_machine()
    digits = (load_digits().data > 7).astype(np.float64)
    rows = []
    for method, seed in itertools.product(METHODS, range(args.seeds)):
        rng = np.random.RandomState(seed)
        drawn = states[rng.choice(64, size=1000, p=p)]
        model = BernoulliRBM(
            4, method=method, learning_rate=0.3, n_iter=15, random_state=seed
        ).fit(drawn)
        divergence = float(p @ (np.log(p) - model.score_samples(states)))
        order = rng.permutation(len(digits))
        started = time.process_time()
        model = BernoulliRBM(
            16, method=method, learning_rate=0.05, n_iter=10, random_state=seed
        ).fit(digits[order[:1500]])
        seconds = time.process_time() - started
        rows.append(
            {
                "method": method,
                "seed": seed,
                "divergence": divergence,
                "digits": model.score(digits[order[1500:]]),
                "digits_cpu_seconds": seconds,
            }
        )
        print(rows[-1], flush=True)
    report("discrete_losses", rows)


if __name__ == "__main__":
    main()
