"""
Draw customers like these who are 30
====================================

A table of customers: a plan, an age, a number of visits and what they spent. Draws of
the density given ``age=30`` are new customers of that age, of every plan, with whole
visits and no negative amounts. They are compared with the real customers between 28
and 32.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from skebm import EBMDensityEstimator

rng = np.random.RandomState(0)
age = rng.gamma(9, 4.5, 3000).clip(18, 90).round()
is_premium = rng.uniform(size=3000) < 1 / (1 + np.exp((45 - age) / 8))
visits = rng.poisson(np.where(is_premium, 9, 4) + 60 / age)
spent = visits * rng.lognormal(np.where(is_premium, 3.0, 2.4), 0.4)
plan = np.where(is_premium, "premium", "basic")
X = pd.DataFrame({"plan": plan, "age": age, "visits": visits, "spent": spent.round(2)})

# %%
model = EBMDensityEstimator(max_iter=30, random_state=0).fit(X)
drawn = model.sample(1000, given={"age": 30}, random_state=0)
print(drawn.head())
alike = X[X["age"].between(28, 32)]
table = {"draws, 30": drawn, "real, 28 to 32": alike, "all": X}
for name, rows in table.items():
    premium = (rows["plan"] == "premium").mean()
    print(
        f"{name:15s} premium {premium:.2f}, median spent {rows['spent'].median():.0f}"
    )

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for axis, column, bins in zip(
    axes, ("visits", "spent"), (np.arange(22), np.linspace(0, 350, 30)), strict=True
):
    for name, rows in table.items():
        axis.hist(rows[column], bins, density=True, histtype="step", label=name)
    axis.set(xlabel=column, ylabel="density of customers")
axes[1].legend()
plt.show()
