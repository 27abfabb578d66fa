"""
Where can a row be, if half of it is known?
===========================================

Two half moons. If only the height of a row is known, the row may lie on either moon.
So do the draws given the height. Their mean, the estimate with the smallest squared
error, may lie on neither. The right panel compares the marginal density of the height
with its histogram.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons

from skebm import EBMDensityEstimator

X, _ = make_moons(2000, noise=0.08, random_state=0)
model = EBMDensityEstimator(max_iter=20, random_state=0).fit(X)

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
left.scatter(*X.T, s=1, color="lightgrey")
for height, color in ((0.9, "tab:red"), (0.25, "tab:blue"), (-0.4, "tab:green")):
    row = np.array([[np.nan, height]])
    draws = model.sample(200, given=row, random_state=0)
    mean = model.impute(row)
    left.scatter(*draws.T, s=6, alpha=0.5, color=color)
    left.scatter(*mean.T, s=120, marker="*", color=color, edgecolor="black")
    print(f"height {height}: mean {mean[0, 0]:.2f}, width {np.ptp(draws[:, 0]):.2f}")
left.set(title="Draws given the height; stars: means", xlabel="x", ylabel="height")

# %%
heights = np.linspace(-0.8, 1.3, 120)
rows = np.column_stack([np.full(120, np.nan), heights])
marginal = np.exp(model.score_samples(rows))
right.hist(X[:, 1], bins=60, density=True, color="lightgrey", label="rows")
right.plot(heights, marginal, color="black", label="model")
right.set(title="Marginal of the height", xlabel="height", ylabel="density")
right.legend()
plt.show()
