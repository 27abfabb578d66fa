"""
What if the classes are not as frequent as their labels?
========================================================

Three kinds of wine. Each kind has eight labels, but the unlabelled cellar has few
bottles of the second kind. The labels then tell nothing of the shares, and a
classifier of the labels alone calls out the rare kind too often.
`skebm.JEMClassifier` estimates the shares of the unlabelled rows, with an interval.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_wine

from skebm import JEMClassifier

X, y = load_wine(return_X_y=True)
rng = np.random.RandomState(0)
labeled, cellar = [], []
for kind, n_rows in enumerate((50, 10, 35)):
    rows = rng.permutation(np.flatnonzero(y == kind))
    labeled.extend(rows[:8])
    cellar.extend(rows[8 : 8 + n_rows])
rows = np.array(labeled + cellar)
y_few = np.where(np.arange(len(rows)) < len(labeled), y[rows], -1)

# %%
model = JEMClassifier(max_iter=60, normalizer=None, random_state=0).fit(X[rows], y_few)
true = np.bincount(y[cellar]) / len(cellar)
lower, upper = model.class_shares_interval_.T
print(f"accuracy in the cellar: {model.score(X[cellar], y[cellar]):.3f}")
print("true shares ", true.round(2))
print("estimated   ", model.class_shares_.round(2))

# %%
kinds = np.arange(3)
error = np.abs([model.class_shares_ - lower, upper - model.class_shares_])
figure, axis = plt.subplots(figsize=(6, 3.8), layout="constrained")
axis.bar(kinds - 0.2, true, 0.35, label="cellar", color="lightgrey")
axis.bar(kinds + 0.2, model.class_shares_, 0.35, label="class_shares_")
axis.errorbar(
    kinds + 0.2, model.class_shares_, error, fmt="none", color="black", capsize=4
)
axis.axhline(1 / 3, linestyle=":", color="black", label="labels")
axis.set(xlabel="kind of wine", ylabel="share of bottles", xticks=kinds)
axis.legend()
plt.show()
