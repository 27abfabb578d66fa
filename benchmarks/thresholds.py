"""Thresholds and p-values: the share of new rows that is called out.

An estimator is fitted to n rows of a distribution, with ``contamination=0.05``; of 4000
new rows of the same distribution `predict` should call 5 % outliers, whatever n. The
table gives the mean share in percent and its standard deviation over seeds, for each
outlier score; the mean share by 10 % of the rows held out alone, as a linear quantile
(the rule of earlier versions); the share of rows whose p-value is at most 0.05 and
at most 0.5; and where the distribution is known, the share of new rows whose true
density is below the 5 % quantile of that of the rows, which is luck alone.

The distributions of DEVELOPMENT were used to choose the method, those of KEPT_BACK not:
a ring, a mixture of categories with numbers, and rows of a real table, scikit-learn's
breast cancer, of which the new rows are those left. ``binary20`` is for `BernoulliRBM`.

Rows of earlier runs are kept in the results, unless this run repeats them. ``--quick``
fits one epoch, which keeps the training short; then little but the reference is left.

    python benchmarks/thresholds.py --quick --tables normal4 --sizes 45 60 --seeds 12
"""

from __future__ import annotations

import time
import warnings

import numpy as np
import pandas as pd
import torch
from _report import earlier_rows, parser, report
from scipy import stats
from sklearn.datasets import load_breast_cancer

from skebm import BernoulliRBM, EBMDensityEstimator, GaussianRBM
from skebm.evaluation.outliers._detector import threshold

N_NEW = 4000
LEVEL = 0.05
DEVELOPMENT = ("normal2", "normal4", "skewed", "mixture", "heavy10")
KEPT_BACK = ("ring", "mixed", "breast_cancer")
BINARY = "binary20"
SCORES = ("log_density", "typicality", "gradient_norm", "auto")
KEY = ("estimator", "table", "n_rows", "score", "quick")


def draw(table, n_rows, rng):
    """Return rows of a distribution."""
    normal = rng.standard_normal
    if table.startswith("normal"):
        return normal((n_rows, int(table[6:])))
    if table == "skewed":
        return np.exp(0.8 * normal((n_rows, 3)))
    if table == "mixture":
        return 0.5 * normal((n_rows, 2)) + rng.choice([-2, 2], size=(n_rows, 1))
    if table == "heavy10":
        mix = np.linalg.cholesky(0.5 * np.eye(10) + 0.5)
        return rng.standard_t(4, size=(n_rows, 10)) @ mix.T
    if table == "ring":
        angle = rng.uniform(0, 2 * np.pi, n_rows)
        circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        return circle * (1 + 0.1 * normal((n_rows, 1)))
    if table == "mixed":
        kind = rng.choice(3, size=n_rows, p=[0.5, 0.3, 0.2])
        word = pd.Categorical.from_codes(kind, ["a", "b", "c"])
        return pd.DataFrame({"word": word, "x": kind + normal(n_rows)})
    if table == BINARY:
        shares = np.random.default_rng(77).uniform(0.1, 0.9, size=(3, 20))
        return (rng.uniform(size=(n_rows, 20)) < shares[rng.choice(3, n_rows)]) * 1.0
    raise ValueError(f"no table {table!r}")


def log_truth(table, X):
    """Return the log density of a distribution up to a constant; None if not given."""
    if table.startswith("normal"):
        return -(X**2).sum(axis=1)
    if table == "skewed":
        logs = np.log(X)
        return -(0.5 * (logs / 0.8) ** 2 + logs).sum(axis=1)
    if table == "heavy10":
        mix = np.linalg.cholesky(0.5 * np.eye(10) + 0.5)
        return stats.t.logpdf(np.linalg.solve(mix, X.T), 4).sum(axis=0)
    if table == "ring":
        radius = np.linalg.norm(X, axis=1)
        return stats.norm.logpdf((radius - 1) / 0.1) - np.log(radius)
    return None


def share_by_truth(table, X, new):
    """Return the share of new rows below the quantile, were the density known."""
    truth = log_truth(table, X)
    if truth is None:
        return {}
    return {"by_truth": np.mean(log_truth(table, new) < threshold(truth, LEVEL))}


def tables(name, n_rows, seed):
    """Return rows to fit to and new ones."""
    rng = np.random.default_rng(seed)
    if name == "breast_cancer":
        X = rng.permutation(load_breast_cancer().data[:, :10])
        return X[:n_rows], X[n_rows:]
    return draw(name, n_rows, rng), draw(name, N_NEW, rng)


def fitted(estimator, X, seed, quick):
    """Return the fitted estimator and CPU seconds."""
    options = {"contamination": LEVEL, "random_state": seed}
    started = time.process_time()
    if estimator == "ebm":
        if quick:
            options |= {"max_iter": 1, "normalizer": "importance"}
        model = EBMDensityEstimator(**options)
    else:
        kind = {"bernoulli_rbm": BernoulliRBM, "gaussian_rbm": GaussianRBM}[estimator]
        model = kind(normalizer=None, **options)  # log Z changes no share
    model.fit(X)
    return model, time.process_time() - started


def measure(estimator, table, n_rows, seed, quick):
    """Yield the shares called out, by the name of the score."""
    X, new = tables(table, n_rows, seed)
    model, fit_seconds = fitted(estimator, X, seed, quick)
    started = time.process_time()
    _ = model.offset_
    seconds = {
        "fit_seconds": fit_seconds,
        "calibration_seconds": time.process_time() - started,
    }
    if estimator != "ebm":
        share = np.mean(model.predict(new) == -1)
        yield "log_density", {"share": share, **seconds}
        return
    by_truth = share_by_truth(table, X, new)
    for score in SCORES:
        model.set_params(ood_score=score)
        p = model.p_values(new)
        share = np.mean(model.predict(new) == -1)
        tenth = model.ood_scores(new[: max(1, n_rows // 10)])
        by_tenth = np.mean(model.ood_scores(new) < np.quantile(tenth, LEVEL))
        levels = {f"p_to_{level}": np.mean(p <= level) for level in (0.05, 0.5)}
        shares = {"share": share, "by_a_tenth": by_tenth} | by_truth
        yield score, shares | levels | seconds


def summarize(results):
    """Return means over seeds in percent, and the deviation of the share."""
    frame = pd.DataFrame(results)
    is_time = frame.columns.str.endswith("seconds")
    scale = np.where(is_time, 1, 100)
    means = dict(zip(frame.columns, frame.mean().to_numpy() * scale, strict=True))
    return {"sd": 100 * frame["share"].std(), **means}


def main():
    options = parser(__doc__, seeds=6)
    options.add_argument("--tables", nargs="+", default=DEVELOPMENT + KEPT_BACK)
    options.add_argument("--sizes", nargs="+", type=int, default=(45, 60, 300, 1000))
    options.add_argument("--quick", action="store_true", help="one epoch")
    options.add_argument(
        "--estimator",
        default="ebm",
        choices=["ebm", "bernoulli_rbm", "gaussian_rbm"],
    )
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore")
    rows = []
    for table in arguments.tables:
        for n_rows in arguments.sizes:
            if table == "breast_cancer" and n_rows > 300:
                continue
            found = {}
            for seed in range(arguments.seeds):
                given = arguments.estimator, table, n_rows, seed, arguments.quick
                for score, result in measure(*given):
                    found.setdefault(score, []).append(result)
            for score, results in found.items():
                about = arguments.estimator, table, n_rows, score, arguments.quick
                row = dict(zip(KEY, about, strict=True))
                row |= {"seeds": arguments.seeds} | summarize(results)
                rows.append(row)
                print(row, flush=True)
    rows = earlier_rows("thresholds", rows, KEY) + rows
    rows.sort(key=lambda row: [str(row[column]) for column in KEY])
    report("thresholds", rows, level=LEVEL)


if __name__ == "__main__":
    main()
