"""
How are settings chosen with few labels?
========================================

Two moons, twelve labels a class. Successive halving gives each candidate a few
epochs, and the better half twice as many. The epochs are the resource that is
doubled: rows as a resource would drop labels. The score is the log-likelihood of the
held-out labels.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.inspection import DecisionBoundaryDisplay
from sklearn.model_selection import HalvingGridSearchCV

from skebm import JEMClassifier
from skebm.model_selection import SemiSupervisedSplit, ignore_unlabeled

X, y = make_moons(300, noise=0.15, random_state=0)
hidden = np.ones(300, dtype=bool)
for label in (0, 1):
    hidden[np.flatnonzero(y == label)[:12]] = False
y_few = np.where(hidden, -1, y)

# %%
options = {"normalizer": None, "graph_weight": 0, "stacking": False}
model = JEMClassifier(None, "mlp", learning_rate=1e-2, random_state=0, **options)
search = HalvingGridSearchCV(
    model,
    {"vat_radius": [0.1, 0.4, 1.5, 5.0]},
    resource="max_iter",
    min_resources=20,
    max_resources=80,
    factor=2,
    cv=SemiSupervisedSplit(3, shuffle=True, random_state=0),
    scoring=ignore_unlabeled("neg_log_loss"),
    random_state=0,
).fit(X, y_few)
best = search.best_estimator_
print(f"{search.best_params_}: accuracy {best.score(X[hidden], y[hidden]):.3f}")

# %%
figure, axis = plt.subplots(figsize=(6, 3.8), layout="constrained")
display = DecisionBoundaryDisplay.from_estimator(
    best, X, response_method="predict_proba", ax=axis, cmap="RdBu_r", alpha=0.6
)
axis.scatter(*X[hidden].T, s=5, color="0.4")
axis.scatter(*X[~hidden].T, s=40, c=y[~hidden], cmap="RdBu_r", edgecolor="k")
axis.set(title=f"vat_radius={best.vat_radius} by halving", xlabel="x", ylabel="y")
figure.colorbar(display.surface_, label="probability of the red class")
plt.show()
