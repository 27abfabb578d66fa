"""
Which rows belong to no class I know?
=====================================

The density is trained on the digits 0 to 4. It scores new digits 0 to 4 (normal) and
all digits 5 to 9 (out of distribution), as do an isolation forest and a mixture of
Gaussians.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import IsolationForest
from sklearn.metrics import RocCurveDisplay, roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split

from skebm import EBMDensityEstimator

X, y = load_digits(return_X_y=True)
train, fresh = train_test_split(X[y < 5], test_size=0.3, random_state=0)
new = np.concatenate([fresh, X[y >= 5]])
is_normal = np.arange(len(new)) < len(fresh)

# %%
# A quarter of the default epochs, to be fast.
model = EBMDensityEstimator(max_iter=100, normalizer=None, random_state=0).fit(train)
mixture = GaussianMixture(16, reg_covar=0.1, random_state=0).fit(train)
scores = {
    "EBMDensityEstimator": model.score_samples(new),
    "GaussianMixture": mixture.score_samples(new),
    "IsolationForest": IsolationForest(random_state=0).fit(train).score_samples(new),
}

# %%
figure, axis = plt.subplots(figsize=(5.5, 4), layout="constrained")
for name, score in scores.items():
    print(f"{name:20s} AUROC {roc_auc_score(is_normal, score):.4f}")
    RocCurveDisplay.from_predictions(is_normal, score, name=name, ax=axis)
axis.set(xlabel="share of odd digits let in", ylabel="share of known digits let in")
plt.show()
