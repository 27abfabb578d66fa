"""
Out-of-distribution detection
=============================

The density is trained on the digits 0 to 4. It scores new digits 0 to 4 (normal) and
all digits 5 to 9 (out of distribution). The example compares the area under the ROC
curve of `score_samples` with those of the distance to the nearest training rows, an
isolation forest and a mixture of Gaussians.
"""

# %%
import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split
from sklearn.neighbors import NearestNeighbors

from skebm import EBMDensityEstimator

X, y = load_digits(return_X_y=True)
normal, outliers = X[y < 5], X[y >= 5]


def distance_score(train, test, n_neighbors):
    """Return minus the distance to the n-th nearest training row."""
    index = NearestNeighbors(n_neighbors=n_neighbors).fit(train)
    return -index.kneighbors(test)[0][:, -1]


def mixture_score(train, test, seed):
    """Return log densities of a mixture whose size held-out rows choose."""
    fit, valid = train_test_split(train, test_size=0.2, random_state=seed)

    def mixture(k, rows):
        return GaussianMixture(k, reg_covar=1e-1, random_state=seed).fit(rows)

    best = max((1, 2, 4, 8, 16, 32), key=lambda k: mixture(k, fit).score(valid))
    return mixture(best, train).score_samples(test)


# %%
for seed in (0,):  # a quarter of the default epochs, to be fast; add seeds if you like
    train, test = train_test_split(normal, test_size=0.3, random_state=seed)
    rows = np.concatenate([test, outliers])
    is_normal = np.arange(len(rows)) < len(test)
    scores = {
        "EBMDensityEstimator": EBMDensityEstimator(max_iter=100, random_state=seed)
        .fit(train)
        .score_samples(rows),
        "5-NN distance": distance_score(train, rows, 5),
        "IsolationForest": IsolationForest(random_state=seed)
        .fit(train)
        .score_samples(rows),
        "GaussianMixture": mixture_score(train, rows, seed),
    }
    print(f"Out of distribution, AUROC, seed {seed}")
    for name, score in scores.items():
        print(f"  {name:20s} {roc_auc_score(is_normal, score):.4f}")
