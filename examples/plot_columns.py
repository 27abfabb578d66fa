"""
Can a table mix numbers and categories?
=======================================

The season, the rain and the temperature of a day: `skebm.EBMDensityEstimator` takes
the data frame as it is. The season is a category. The rain is zero on most days: this
value is an atom and gets a probability; the other amounts have a density.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from skebm import EBMDensityEstimator

SEASONS = ["spring", "summer", "autumn", "winter"]
DRY = np.array([0.6, 0.8, 0.5, 0.4])


def days(n_days, random_state):
    rng = np.random.RandomState(random_state)
    season = rng.randint(4, size=n_days)
    is_dry = rng.uniform(size=n_days) < DRY[season]
    rain = np.where(is_dry, 0.0, rng.gamma(2, 2, n_days))
    temperature = rng.normal(np.array([10, 20, 11, 2])[season] - 0.5 * rain, 3)
    season = pd.Categorical.from_codes(season, SEASONS, ordered=True)
    return pd.DataFrame({"season": season, "rain": rain, "temperature": temperature})


# %%
X = days(2000, random_state=0)
model = EBMDensityEstimator(reference="gmm", atoms="auto", max_iter=40, random_state=0)
drawn = model.fit(X).sample(2000, random_state=0)
print(drawn.head())

# %%
# Is a warm winter day strange?
warm = pd.DataFrame({"season": SEASONS, "rain": 0.0, "temperature": 20.0})
print(warm.assign(log_p=model.score_samples(warm).round(1)))

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for rows, name, offset in ((X, "rows", -0.2), (drawn, "draws", 0.2)):
    dry = (rows["rain"] == 0).groupby(rows["season"], observed=False).mean()
    left.bar(np.arange(4) + offset, dry, width=0.35, label=name)
    wet = rows[rows["rain"] > 0]
    right.scatter(wet["rain"], wet["temperature"], s=3, label=name)
left.set_xticks(range(4), SEASONS)
left.set(xlabel="season", ylabel="share of dry days")
right.set(xlabel="rain of wet days, mm", ylabel="temperature, °C")
right.legend()
plt.show()
