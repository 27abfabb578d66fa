"""
What each setting does
======================

Two moons, four labels per class. Each panel shows the probability of the blue class
with one setting, and the accuracy on the unlabelled rows. In "supervised", the weights
of all unsupervised terms are zero; each other panel adds the settings in its title.
"""

# %%
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons

from skebm import JEMClassifier
from skebm.networks import MLP

OUTPUT = Path("examples/output")
OUTPUT.mkdir(parents=True, exist_ok=True)
X, y = make_moons(300, noise=0.1, random_state=1)
y_few = np.full(300, -1)
for label in (0, 1):
    y_few[np.random.RandomState(2).permutation(np.flatnonzero(y == label))[:4]] = label
hidden = y_few < 0

# %%
# The last panel trains the density too: the critic is the logsumexp of the class
# logits, of a network with one head. The settings of VERA as published diverge on this
# table, and `fit` says so; these are the defaults.
SUPERVISED = {
    "objective": None,
    "graph_weight": 0,
    "prediction_entropy_weight": 0,
    "vat_weight": 0,
    "balance_weight": 0,
    "stacking": False,
}
VAT = {"vat_weight": 10, "vat_radius": 0.3}
PANELS = {
    "supervised": {},
    "prediction_entropy_weight=3": {"prediction_entropy_weight": 3},
    "vat_weight=10, vat_radius=0.05": VAT | {"vat_radius": 0.05},
    "vat_weight=10, vat_radius=0.3": VAT,
    "vat_weight=10, vat_radius=2": VAT | {"vat_radius": 2.0},
    "radius 0.3, prediction_entropy_weight=3": VAT | {"prediction_entropy_weight": 3},
    "the same, balance_weight=10": VAT
    | {"prediction_entropy_weight": 3, "balance_weight": 10},
    'graph_weight="auto"': {"graph_weight": "auto"},
    'objective="vera"': {
        "objective": "vera",
        "classification_weight": 30,
        "prediction_entropy_weight": 1,
    },
}
ticks = [np.linspace(X[:, i].min() - 0.5, X[:, i].max() + 0.5, 80) for i in (0, 1)]
points = np.stack(np.meshgrid(*ticks), axis=-1).reshape(-1, 2)
figure, axes = plt.subplots(3, 3, figsize=(9, 7.6), sharex=True, sharey=True)
for (name, options), axis in zip(PANELS.items(), axes.ravel(), strict=True):
    model = JEMClassifier(
        network=partial(MLP, hidden_features=(64, 64)),
        reference="gaussian",
        normalizer=None,
        learning_rate=5e-3,
        max_iter=400,
        random_state=0,
        **(SUPERVISED | options),
    ).fit(X, y_few)
    accuracy = model.score(X[hidden], y[hidden])
    blue = model.predict_proba(points)[:, 1].reshape(80, 80)
    axis.contourf(*ticks, blue, levels=np.linspace(0, 1, 11), cmap="RdBu", alpha=0.7)
    axis.contour(*ticks, blue, levels=[0.5], colors="k", linewidths=1)
    axis.scatter(*X[hidden].T, s=3, color="0.3")
    axis.scatter(*X[~hidden].T, s=45, c=y[~hidden], cmap="RdBu", edgecolor="k")
    axis.set_title(f"{name}: {accuracy:.2f}", fontsize=9)
    axis.set_xticks([])
    axis.set_yticks([])
    print(f"{name:45s} accuracy on the unlabelled rows {accuracy:.3f}")
figure.tight_layout()
figure.savefig(OUTPUT / "semi_supervised_settings.png", dpi=110)
print(f"saved {OUTPUT / 'semi_supervised_settings.png'}")
