"""
Stacked RBMs with logistic regression
=====================================

Two restricted Boltzmann machines (RBMs) in a Pipeline turn the pixels of digits into
features for a linear classifier. The same two layers as one model, `DeepBeliefNetwork`,
draw samples of digits.
"""

# %%
# Digits of 8 x 8 pixels, also shifted by one pixel in four directions: a harder task
# for a linear classifier of pixels.
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from skebm import BernoulliRBM, DeepBeliefNetwork

OUTPUT = Path("examples/output")
OUTPUT.mkdir(parents=True, exist_ok=True)
X, y = load_digits(return_X_y=True)
images = np.pad((X > 7).reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)))
moved = [
    np.roll(images, shift, axis=axis)[:, 1:-1, 1:-1].reshape(-1, 64)
    for shift, axis in ((0, 1), (1, 1), (-1, 1), (1, 2), (-1, 2))
]
X, y = np.concatenate(moved).astype(np.float32), np.tile(y, 5)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=0.3, stratify=y, random_state=0
)

# %%
# No RBM, one RBM, two RBMs. ``normalizer=None`` saves the time for log Z, which
# features do not need.
options = {"batch_size": 50, "n_iter": 20, "normalizer": None, "random_state": 0}
rbms = [BernoulliRBM(100, **options), BernoulliRBM(200, **options)]
logistic = LogisticRegression(max_iter=1000)
for n_layers in (0, 1, 2):
    pipeline = make_pipeline(*map(clone, rbms[:n_layers]), clone(logistic))
    accuracy = pipeline.fit(X_train, y_train).score(X_test, y_test)
    print(f"{n_layers} RBMs before logistic regression: accuracy {accuracy:.3f}")

# %%
# The same two layers as one density. The bound on its log-likelihood is compared with
# the log-likelihood of the first RBM alone. The figure shows samples, and the weights
# of the hidden units of the first layer.
network = DeepBeliefNetwork(rbms, normalizer="auto", random_state=0).fit(X_train)
first = clone(rbms[0]).set_params(normalizer="auto").fit(X_train)
print(f"one RBM: test log-likelihood {first.score(X_test):.2f} nats")
print(f"two layers: at least {network.score(X_test):.2f} nats")

figure, axes = plt.subplots(1, 2, figsize=(8, 4))
panels = {
    "Weights of hidden units": network.rbms_[0].components_[:64],
    "Samples of the network": network.sample(64, random_state=0, n_steps=2000),
}
for axis, (title, rows) in zip(axes, panels.items(), strict=True):
    mosaic = rows.reshape(8, 8, 8, 8).swapaxes(1, 2)
    axis.imshow(np.pad(mosaic, ((0, 0), (0, 1), (0, 0), (0, 1))).reshape(72, 72))
    axis.set_title(title)
    axis.set_axis_off()
plt.set_cmap("gray_r")
figure.tight_layout()
figure.savefig(OUTPUT / "stacked_rbms.png", dpi=120)
print(f"saved {OUTPUT / 'stacked_rbms.png'}")
