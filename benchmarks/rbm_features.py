"""Features of an RBM for logistic regression, and its likelihood beside them.

scikit-learn's example "Restricted Boltzmann Machine features for digit classification",
with the import changed and nothing else: the digits and their shifts by a pixel in four
directions, float32, 100 hidden units, learning rate 0.06, 10 epochs, logistic
regression with C=6000 by Newton steps. The example's tol=1 was made for a sum of
losses; of their mean, which newer versions take, it is 1 over the number of rows (with
1 the regression does not begin, and is right for a tenth of the rows). Two regressions
beside it: lbfgs, which ends after 100 iterations by default, or after 1000. The
likelihood is of held-out rows drawn from their grey values. With ``--usps file.npz``
(X_train, y_train, X_test, y_test, grey values from -1 to 1), the same with 5 epochs and
C=100 on that table.
"""

import warnings

import numpy as np
import torch
from _report import parser, report
from scipy.ndimage import convolve
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import BernoulliRBM as TheirRBM
from sklearn.preprocessing import minmax_scale

from skebm import BernoulliRBM

MACHINES = {
    "sklearn": TheirRBM,
    "skebm": BernoulliRBM,
    "skebm, not centred": lambda n, **options: BernoulliRBM(
        n, centered=False, **options
    ),
}


def regressions(n_rows):
    """Return options of the logistic regression, by the name of its accuracy."""
    return {
        "example": {"solver": "newton-cg", "tol": 1 / n_rows},
        "lbfgs_100": {},
        "lbfgs_1000": {"max_iter": 1000},
    }


def nudged_digits():
    """Return the digits, shifted by a pixel in four directions, split as there."""
    X, y = load_digits(return_X_y=True)
    shifts = np.zeros((4, 3, 3))
    shifts[[0, 1, 2, 3], [0, 1, 1, 2], [1, 0, 2, 1]] = 1
    shifted = [
        np.stack([convolve(x, shift, mode="constant") for x in X.reshape(-1, 8, 8)])
        for shift in shifts
    ]
    X = np.concatenate([X, *(part.reshape(len(X), -1) for part in shifted)])
    X = minmax_scale(X.astype(np.float32))
    return train_test_split(X, np.tile(y, 5), test_size=0.2, random_state=0)


def usps(path):
    """Return the digits of envelopes, with grey values from 0 to 1."""
    data = np.load(path)
    rows = [(data[f"X_{part}"] + 1) / 2 for part in ("train", "test")]
    return [*rows, data["y_train"], data["y_test"]]


def compare(name, tables, seeds, C, **options):
    """Return one row a machine: medians over seeds, and the example's accuracies."""
    X, X_test, y, y_test = tables
    drawn = np.random.default_rng(0).uniform(size=X_test.shape) < X_test
    rows = []
    for machine, make in MACHINES.items():
        runs = []
        for seed in range(seeds):
            model = make(100, learning_rate=0.06, random_state=seed, **options).fit(X)
            features, features_test = model.transform(X), model.transform(X_test)
            accuracies = [
                LogisticRegression(C=C, **regression)
                .fit(features, y)
                .score(features_test, y_test)
                for regression in regressions(len(X)).values()
            ]
            has_likelihood = hasattr(model, "log_normalizer_")
            level = model.score(drawn[:1000]) if has_likelihood else np.nan
            runs.append([*accuracies, level, features.mean()])
            print(name, machine, seed, np.round(runs[-1], 4), flush=True)
        median = np.median(runs, axis=0)
        names = *regressions(len(X)), "log_likelihood", "mean_activation"
        figures = dict(zip(names, median.tolist(), strict=True))
        figures["example_by_seed"] = [run[0] for run in runs]
        rows.append({"table": name, "machine": machine, **figures})
    return rows


def main():
    options = parser(__doc__)
    options.add_argument("--usps", help="file of the second table")
    args = options.parse_args()
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore")
    rows = compare("nudged digits", nudged_digits(), args.seeds, 6000, n_iter=10)
    if args.usps:
        rows += compare("usps", usps(args.usps), args.seeds, 100, n_iter=5)
    report("rbm_features", rows, seeds=args.seeds)


if __name__ == "__main__":
    main()
