"""
What is under the cover?
========================

Half of each digit is covered, or one pixel in three is dead. The density of whole
digits, with a convolutional energy, gives what may be there: a mean to fill in, and
draws, of which each is a whole digit. `sklearn.impute.KNNImputer` gives one answer.
"""

# %%
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.impute import KNNImputer

from skebm import EBMDensityEstimator
from skebm.networks import ConvNet

X, _ = load_digits(return_X_y=True)
train, test = X[:1500], X[1500:1506]
network = partial(ConvNet, hidden_channels=(16, 32), hidden_features=64)
model = EBMDensityEstimator(
    "nce", network, image_shape=(1, 8, 8), max_iter=15, random_state=0
).fit(train)

# %%
covered, dead = test.copy(), test.copy()
covered[:, 32:] = np.nan
dead[np.random.RandomState(0).uniform(size=dead.shape) < 0.33] = np.nan
nearest = KNNImputer(n_neighbors=5).fit(train)
lines = {"digit": test, "covered": covered}
lines |= {"mean of p": model.impute(covered), "5 nearest": nearest.transform(covered)}
drawn = model.sample(2, given=covered, random_state=0)
lines |= {"a draw": drawn[::2], "another": drawn[1::2]}
lines |= {"dead pixels": dead, "cleaned": model.impute(dead)}
for name in ("mean of p", "5 nearest", "cleaned"):
    error = np.sqrt(np.mean((lines[name] - test) ** 2))
    print(f"{name:10s} RMSE {error:.2f}, of pixels from 0 to 16")

# %%
figure, axes = plt.subplots(len(lines), 6, figsize=(5, 7), layout="constrained")
for row, (name, images) in zip(axes, lines.items(), strict=True):
    for axis, image in zip(row, images, strict=True):
        axis.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
        axis.set(xticks=[], yticks=[])
    row[0].set_ylabel(name, rotation=0, ha="right", va="center")
plt.show()
