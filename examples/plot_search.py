"""
Choosing settings with few labels
=================================

Two moons, twelve labels per class. Successive halving gives each candidate a few
epochs, and the better half twice as many. Each fold is tested on labelled rows only and
trained with all unlabelled rows; the score is the log-likelihood of the held-out
labels.
"""

# %%
# The search is over the radius within which the prediction should not change. The
# epochs are the resource that is doubled: rows as a resource would drop labels.
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import make_moons
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.inspection import DecisionBoundaryDisplay
from sklearn.model_selection import HalvingGridSearchCV

from skebm import JEMClassifier
from skebm.model_selection import SemiSupervisedSplit, ignore_unlabeled

OUTPUT = Path("examples/output")
OUTPUT.mkdir(parents=True, exist_ok=True)
X, y = make_moons(300, noise=0.15, random_state=0)
y_few = np.full(300, -1)
for label in (0, 1):
    known = np.flatnonzero(y == label)[:12]
    y_few[known] = label
hidden = y_few < 0

model = JEMClassifier(
    None,
    "mlp",
    "gaussian",
    normalizer=None,
    graph_weight=0,
    stacking=False,
    learning_rate=1e-2,
    random_state=0,
)
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
)
search.fit(X, y_few)

# %%
columns = ["iter", "param_max_iter", "param_vat_radius", "mean_test_score"]
table = pd.DataFrame(search.cv_results_)[columns]
print(table.to_string(index=False, float_format="%.3f"))
best = search.best_estimator_
accuracy = best.score(X[hidden], y[hidden])
print(f"{search.best_params_}: accuracy {accuracy:.3f} on the unlabelled rows")

# %%
# The result of the search.
figure, axis = plt.subplots(figsize=(5, 3.6))
DecisionBoundaryDisplay.from_estimator(
    best,
    X,
    response_method="predict_proba",
    plot_method="pcolormesh",
    ax=axis,
    cmap="RdBu_r",
    vmin=0,
    vmax=1,
    alpha=0.6,
)
axis.scatter(*X[hidden].T, s=5, color="0.4")
axis.scatter(*X[~hidden].T, s=40, c=y[~hidden], cmap="RdBu_r", edgecolor="k")
axis.set_title(f"radius {best.vat_radius} by successive halving")
figure.savefig(OUTPUT / "search.png", dpi=120)
print(f"saved {OUTPUT / 'search.png'}")
