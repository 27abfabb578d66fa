"""
What does each setting of the classifier do?
============================================

Two moons, four labels a class. Each panel shows the probability of the blue class
with one setting, and the accuracy on the unlabelled rows. In "supervised", the
weights of all unsupervised terms are zero; each other panel adds the settings in its
title.
"""

from functools import partial

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons

from skebm import JEMClassifier
from skebm.networks import MLP

X, y = make_moons(300, noise=0.1, random_state=1)
hidden = np.ones(300, dtype=bool)
for label in (0, 1):
    rows = np.random.RandomState(2).permutation(np.flatnonzero(y == label))
    hidden[rows[:4]] = False

# %%
terms = ("graph_weight", "prediction_entropy_weight", "vat_weight", "balance_weight")
supervised = {"stacking": False, "normalizer": None} | dict.fromkeys(terms, 0)
vat = {"vat_weight": 10, "vat_radius": 0.3}
entropy = {"prediction_entropy_weight": 3}
panels = [{}, entropy, vat | {"vat_radius": 0.05}, vat, vat | {"vat_radius": 2.0}]
panels += [vat | entropy, vat | entropy | {"balance_weight": 10}]
panels += [{"graph_weight": "auto"}, {"graph_weight": "auto"} | vat]
ticks = [np.linspace(X[:, i].min() - 0.5, X[:, i].max() + 0.5, 80) for i in (0, 1)]
points = np.stack(np.meshgrid(*ticks), axis=-1).reshape(-1, 2)
figure, axes = plt.subplots(3, 3, figsize=(9, 8), sharex=True, sharey=True)
for options, axis in zip(panels, axes.ravel(), strict=True):
    model = JEMClassifier(None, partial(MLP, hidden_features=(64, 64)), random_state=0)
    model.set_params(learning_rate=5e-3, max_iter=400, **supervised | options)
    model.fit(X, np.where(hidden, -1, y))
    accuracy = model.score(X[hidden], y[hidden])
    name = "\n".join(f"{key}={value}" for key, value in options.items()) or "supervised"
    print(f"accuracy {accuracy:.3f}: {name.replace(chr(10), ', ')}")
    blue = model.predict_proba(points)[:, 1].reshape(80, 80)
    axis.contourf(*ticks, blue, levels=np.linspace(0, 1, 11), cmap="RdBu", alpha=0.7)
    axis.scatter(*X[hidden].T, s=3, color="0.3")
    axis.scatter(*X[~hidden].T, s=45, c=y[~hidden], cmap="RdBu", edgecolor="k")
    axis.set_title(f"{name}: {accuracy:.2f}", fontsize=9)
    axis.set(xticks=[], yticks=[])
figure.supxlabel("x")
figure.supylabel("y")
figure.tight_layout()
plt.show()
