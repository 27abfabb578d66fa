"""
Customers who like A and like B
===============================

Two attributes are learnt apart: the age and spending of customers who like A, and those
of customers who like B. Their product, divided by the density of all customers, is that
of customers who like both. No model has seen who likes both.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

from skebm import EBMDensityEstimator
from skebm.composition import ProductOfExperts

# %%
rng = np.random.RandomState(0)
X = rng.normal([45, 60], [12, 20], size=(6000, 2))  # age, spending
likes_a = rng.uniform(size=6000) < 1 / (1 + np.exp((X[:, 0] - 40) / 3))
likes_b = rng.uniform(size=6000) < np.exp(-(((X[:, 1] - 85) / 12) ** 2))
options = {"reference": "gaussian", "max_iter": 25, "random_state": 0}
a, b, everyone = (
    EBMDensityEstimator(**options).fit(rows) for rows in (X[likes_a], X[likes_b], X)
)
both = ProductOfExperts([a, b, everyone], weights=[1, 1, -1], random_state=0)
truth = X[likes_a & likes_b]
print(
    f"{len(truth)} like both: {both.score(truth):.2f} nats, {a.score(truth):.2f} by A"
)

# %%
drawn = both.sample(len(truth), random_state=0)
parts = {"like A": X[likes_a], "like B": X[likes_b], "like both": truth}
figure, axes = plt.subplots(1, 4, figsize=(12, 3), sharex=True, sharey=True)
for axis, (name, rows) in zip(axes, [*parts.items(), ("product", drawn)], strict=True):
    axis.scatter(*rows.T, s=2)
    axis.set(title=name, xlabel="age")
axes[0].set_ylabel("spending")
figure.tight_layout()
plt.show()
