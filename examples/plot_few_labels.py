"""
Ten labels per class
====================

The digits of scikit-learn, with ten labels per class; the other training rows are
unlabelled (y = -1). The example compares `JEMClassifier` with scikit-learn's
semi-supervised methods and a supervised network, on held-out rows. Then it draws
samples of each class.
"""

# %%
# The data: 70 % of the rows for training, with ten labels per class.
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier

from skebm import JEMClassifier

OUTPUT = Path("examples/output")
OUTPUT.mkdir(parents=True, exist_ok=True)
X, y = load_digits(return_X_y=True)


def few_labels(y, n_labels, seed):
    """Return y with all but n_labels of each class replaced by -1."""
    rng = np.random.RandomState(seed)
    hidden = np.full_like(y, -1)
    for label in np.unique(y):
        rows = rng.choice(np.flatnonzero(y == label), n_labels, replace=False)
        hidden[rows] = label
    return hidden


class LabeledRowsOnly(MLPClassifier):
    """A supervised network that ignores unlabelled rows."""

    def fit(self, X, y):
        return super().fit(X[y != -1], y[y != -1])


# %%
# The methods, each with a suitable scaling.
def methods(seed):
    return {
        "JEMClassifier": JEMClassifier(random_state=seed),
        "LabelSpreading": LabelSpreading(kernel="knn", n_neighbors=7),
        "SelfTraining": make_pipeline(
            StandardScaler(),
            SelfTrainingClassifier(LogisticRegression(max_iter=1000)),
        ),
        "supervised MLP": make_pipeline(
            StandardScaler(),
            LabeledRowsOnly((256, 256), max_iter=300, random_state=seed),
        ),
    }


rows = []
for seed in range(3):
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=0.3, stratify=y, random_state=seed
    )
    y_few = few_labels(y_train, 10, seed)
    for name, model in methods(seed).items():
        started = time.perf_counter()
        model.fit(X_train, y_few)
        seconds = time.perf_counter() - started
        accuracy = model.score(X_test, y_test)
        rows.append({"method": name, "accuracy": accuracy, "seconds": seconds})
        if name == "JEMClassifier":
            jem = model

table = pd.DataFrame(rows).groupby("method", sort=False)
print("Digits, 10 labels per class, held-out accuracy over 3 seeds")
summary = table["accuracy"].agg(["median", "min", "max"])
print(summary.assign(seconds=table["seconds"].median()).round(3).to_string())

# %%
# The samples are drawn from the model's density p(x | y).
labels = np.repeat(np.arange(10), 8)
samples, _ = jem.sample(len(labels), y=labels, random_state=0)
figure, axes = plt.subplots(8, 10, figsize=(7, 5.6))
for i, axis in enumerate(axes.T.ravel()):
    axis.imshow(samples[i].reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
    axis.set_axis_off()
figure.suptitle("Samples of JEMClassifier, one class per column")
figure.savefig(OUTPUT / "digits_samples.png", dpi=120)
print(f"saved {OUTPUT / 'digits_samples.png'}")
