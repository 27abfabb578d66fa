"""How rows that a mixture was fitted to are scored as if they had been left out.

A mixture alone is fitted to nine tenths of the rows of a distribution. The table gives
the share in percent of 4000 new rows below the 5 % quantile of the log density of all
rows, the rows held out as they are, the others

- as they are,
- left out in closed form,
- by the mixture of the other folds of the reference's own cross-validation,
- by the mean of the last two.

    python benchmarks/left_out.py --sizes 60 --seeds 40
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from _report import parser, report
from thresholds import LEVEL, tables

from skebm.evaluation.outliers._detector import threshold
from skebm.references import GaussianMixtureReference
from skebm.utils import make_generator

FIRST_SEED = 1010  # others than those of thresholds.py


def shares(table, n_rows, seed):
    """Return the share of new rows below the threshold, by the kind of scores."""
    X, new = tables(table, n_rows, FIRST_SEED + seed)
    location, scale = X.mean(axis=0), X.std(axis=0)
    rows, new = (torch.from_numpy((x - location) / scale).float() for x in (X, new))
    held_out, train = rows[: n_rows // 10], rows[n_rows // 10 :]
    mixture = GaussianMixtureReference().fit(
        train, weight=None, generator=make_generator(seed)
    )
    fitted, closed_form = mixture.log_prob(train), mixture.left_out_log_prob(train)
    by_fold = closed_form.double().clone()
    for fold, other in mixture.folds:
        by_fold[fold] = other.log_prob(train[fold]).double()
    kinds = {
        "fitted": fitted,
        "closed_form": closed_form,
        "by_fold": by_fold,
        "mean_of_both": 0.5 * (closed_form + by_fold),
    }
    others, scores = mixture.log_prob(held_out), mixture.log_prob(new).numpy()
    return {
        kind: 100 * np.mean(scores < threshold(torch.cat([v, others]).numpy(), LEVEL))
        for kind, v in kinds.items()
    }


def main():
    options = parser(__doc__, seeds=40)
    names = ("normal4", "heavy10", "skewed", "mixture")
    options.add_argument("--tables", nargs="+", default=names)
    options.add_argument("--sizes", nargs="+", type=int, default=(60,))
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore")
    rows = []
    for table in arguments.tables:
        for n_rows in arguments.sizes:
            found = [shares(table, n_rows, seed) for seed in range(arguments.seeds)]
            means = {kind: np.mean([f[kind] for f in found]) for kind in found[0]}
            rows.append({"table": table, "n_rows": n_rows} | means)
            print(rows[-1], flush=True)
    report("left_out", rows, seeds=arguments.seeds)


if __name__ == "__main__":
    main()
