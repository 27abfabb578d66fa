"""
What do the features of an RBM buy?
===================================

Binary digits, 20 labels a class, and all other rows without labels. The hidden units
of a `skebm.BernoulliRBM` that has seen all rows are features for logistic regression.
They are compared with the pixels themselves, for a growing number of labels.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from skebm import BernoulliRBM

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X > 7, y, test_size=0.4, stratify=y, random_state=0
)
rbm = BernoulliRBM(128, batch_size=20, n_iter=60, normalizer=None, random_state=0)
rbm.fit(X_train)

# %%
counts = [20, 50, 100, 200, 500, 1000]
figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
for name, read in {"pixels": np.asarray, "RBM features": rbm.transform}.items():
    accuracy = []
    for n_labels in counts:
        classifier = LogisticRegression(max_iter=2000)
        classifier.fit(read(X_train[:n_labels]), y_train[:n_labels])
        accuracy.append(classifier.score(read(X_test), y_test))
    print(name, dict(zip(counts, np.round(accuracy, 3), strict=True)))
    axes[0].plot(counts, accuracy, "o-", label=name)
axes[0].set(xscale="log", xlabel="labels", ylabel="held-out accuracy")
axes[0].set_xticks(counts, counts)
axes[0].minorticks_off()
axes[0].legend()

# %%
panels = {"Weights of hidden units": rbm.components_[:64]}
panels["Draws"] = rbm.sample(64, random_state=0)
for axis, (title, rows) in zip(axes[1:], panels.items(), strict=True):
    mosaic = np.pad(rows.reshape(8, 8, 8, 8), ((0, 0), (0, 0), (0, 1), (0, 1)))
    axis.imshow(mosaic.swapaxes(1, 2).reshape(72, 72), cmap="gray_r")
    axis.set(title=title, xticks=[], yticks=[])
plt.show()
