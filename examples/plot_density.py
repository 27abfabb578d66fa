"""
What does the density look like?
================================

Eight Gaussians far from the origin, two rings and a checkerboard: the rows, and the
density that `skebm.EBMDensityEstimator` learns from them. The reference is one
Gaussian, so all visible structure comes from the energy. The true densities are
known, so the distance to the best possible held-out score is known, too.
"""

import matplotlib.pyplot as plt
import numpy as np

from skebm import EBMDensityEstimator
from skebm.datasets import Checkerboard, GaussianRing, TwoRings

figure, axes = plt.subplots(2, 3, figsize=(9, 6), layout="constrained")
for (above, below), truth in zip(
    axes.T, (GaussianRing(), TwoRings(), Checkerboard()), strict=True
):
    X = truth.sample(4000, random_state=0)
    fresh = truth.sample(10_000, random_state=1)
    model = EBMDensityEstimator(reference="gaussian", random_state=0).fit(X)
    gap = truth.score_samples(fresh).mean() - model.score(fresh)

    low, high = X.min(axis=0), X.max(axis=0)
    margin = 0.1 * (high - low)
    x, y = np.linspace(low - margin, high + margin, 200).T
    grid = np.stack(np.meshgrid(x, y), axis=-1)
    density = np.exp(model.score_samples(grid.reshape(-1, 2))).reshape(200, 200)
    mass = density.sum() * (x[1] - x[0]) * (y[1] - y[0])
    name = type(truth).__name__
    print(f"{name:14s} gap {gap:.3f} nats, total probability on the grid {mass:.3f}")

    above.scatter(*X.T, s=1, color="black")
    above.set(title=name, xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), xlabel="x")
    below.pcolormesh(x, y, density)
    below.set(title=f"{gap:.3f} nats from the truth", xlabel="x")
axes[0, 0].set_ylabel("rows: y")
axes[1, 0].set_ylabel("density: y")
plt.show()
