"""
Some columns given the others
=============================

Two half moons. If only the height of a row is known, the row may lie on either moon. So
do the samples given the height. Their mean, the estimate with the smallest squared
error, may lie on neither. The lower panel compares the marginal density of the height
with its histogram.
"""

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons

from skebm import EBMDensityEstimator

OUTPUT = Path("examples/output")
OUTPUT.mkdir(parents=True, exist_ok=True)

# %%
X, _ = make_moons(2000, noise=0.08, random_state=0)
model = EBMDensityEstimator(max_iter=20, random_state=0).fit(X)

# %%
figure, (above, below) = plt.subplots(2, 1, figsize=(6, 7))
above.scatter(*X.T, s=1, color="lightgrey")
for height, color in ((0.9, "tab:red"), (0.25, "tab:blue"), (-0.4, "tab:green")):
    row = np.array([[np.nan, height]])
    draws = model.sample(200, given=row, random_state=0)
    mean = model.impute(row)
    above.scatter(*draws.T, s=6, alpha=0.5, color=color)
    above.scatter(*mean.T, s=120, marker="*", color=color, edgecolor="black")
    print(f"height {height}: mean {mean[0, 0]:.2f}, width {np.ptp(draws[:, 0]):.2f}")
above.set_title("Samples given the height, and their means")

# %%
heights = np.linspace(-0.8, 1.3, 120)
rows = np.column_stack([np.full(120, np.nan), heights])
marginal = np.exp(model.score_samples(rows))
mass = marginal.sum() * (heights[1] - heights[0])
print(f"total probability of the marginal {mass:.3f}")
below.hist(X[:, 1], bins=60, density=True, color="lightgrey")
below.plot(heights, marginal, color="black")
below.set_title("Marginal density of the height")
figure.tight_layout()
figure.savefig(OUTPUT / "conditionals.png", dpi=120)
print(f"saved {OUTPUT / 'conditionals.png'}")
