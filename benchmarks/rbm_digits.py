"""Exact log-likelihood on binarised digits, of skebm's and scikit-learn's BernoulliRBM.

Pixels above 7, 10 hidden units (log Z by enumeration), learning rate 0.05, 60 epochs.
1790 rows give only full batches of 10; with one or seven more rows the last batch is
smaller. The rows are fitted as one table, and as a stream: `partial_fit` on chunks of
10, 100 and 1000 rows.
"""

import warnings

import numpy as np
import torch
from _report import parser, report
from sklearn.datasets import load_digits
from sklearn.neural_network import BernoulliRBM as TheirRBM

from skebm import BernoulliRBM
from skebm.evaluation import enumerated_log_normalizer
from skebm.networks import RBM

EPOCHS = 60


def mean_log_likelihood(model, X):
    """Return the exact mean log-likelihood of either library's RBM, in nats."""
    arrays = model.components_, model.intercept_hidden_, model.intercept_visible_
    rbm = RBM(*(torch.tensor(np.array(a, dtype=np.float64)) for a in arrays))
    log_z = enumerated_log_normalizer(rbm).log_normalizer
    return float(-rbm(torch.tensor(X)).mean()) - log_z


def train(model, X, chunk):
    """Fit to all rows at once, or to chunks of them in turn."""
    if chunk == "whole":
        return model.set_params(n_iter=EPOCHS).fit(X)
    for _ in range(EPOCHS):
        for start in range(0, len(X), chunk):
            model.partial_fit(X[start : start + chunk])
    return model


def main():
    args = parser(__doc__, seeds=5).parse_args()
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore")
    digits = (load_digits().data > 7).astype(np.float64)
    rows = []
    for n_rows in (1790, 1791, 1797):
        X = digits[:n_rows]
        for chunk in ("whole", 10, 100, 1000):
            row = {"rows": n_rows, "chunk": chunk}
            for name, face in (("skebm", BernoulliRBM), ("sklearn", TheirRBM)):
                scores = []
                for seed in range(args.seeds):
                    model = face(10, learning_rate=0.05, random_state=seed)
                    scores.append(mean_log_likelihood(train(model, X, chunk), X))
                row |= {
                    name: float(np.median(scores)),
                    f"{name}_min": min(scores),
                    f"{name}_max": max(scores),
                }
            rows.append(row)
            print(row, flush=True)
    report("rbm_digits", rows, epochs=EPOCHS, seeds=args.seeds, limit=-19.9)


if __name__ == "__main__":
    main()
