"""
A table of numbers and categories
=================================

The season, the rain and the temperature of a day: `EBMDensityEstimator` accepts the
data frame as it is. The season is a category. The rain is zero on most days: this value
is an atom and gets a probability; the other amounts have a density.
"""

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from skebm import EBMDensityEstimator

OUTPUT = Path("examples/output")
OUTPUT.mkdir(parents=True, exist_ok=True)
SEASONS = ["spring", "summer", "autumn", "winter"]
DRY = np.array([0.6, 0.8, 0.5, 0.4])


def days(n_days, random_state):
    rng = np.random.RandomState(random_state)
    season = rng.randint(4, size=n_days)
    rain = np.where(
        rng.uniform(size=n_days) < DRY[season], 0.0, rng.gamma(2, 2, n_days)
    )
    temperature = rng.normal(np.array([10, 20, 11, 2])[season] - 0.5 * rain, 3)
    season = pd.Categorical.from_codes(season, SEASONS, ordered=True)
    return pd.DataFrame({"season": season, "rain": rain, "temperature": temperature})


# %%
X, fresh = days(2000, random_state=0), days(1000, random_state=1)
model = EBMDensityEstimator(
    "nce", reference="gmm", atoms="auto", max_iter=40, random_state=0
).fit(X)
print(f"categories: {model.is_categorical_}; held-out nats {model.score(fresh):.3f}")
drawn = model.sample(2000, random_state=0)
print(drawn.head(), drawn.dtypes, sep="\n")

# %%
odd = pd.DataFrame(
    {"season": ["winter", "summer"], "rain": 0.0, "temperature": [20.0, 20.0]}
)
log_p = model.score_samples(odd)
print(
    f"20 degrees on a dry day: {log_p[0]:.1f} nats in winter, {log_p[1]:.1f} in summer"
)

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3))
for rows, name, offset in ((X, "rows", -0.2), (drawn, "samples", 0.2)):
    dry = (rows["rain"] == 0).groupby(rows["season"], observed=False).mean()
    left.bar(np.arange(4) + offset, dry, width=0.35, label=name)
    wet = rows[rows["rain"] > 0]
    right.scatter(wet["rain"], wet["temperature"], s=2, label=name)
left.set_xticks(range(4), SEASONS)
left.set_title("fraction of dry days")
right.set_title("wet days: temperature against rain")
left.legend()
figure.tight_layout()
figure.savefig(OUTPUT / "columns.png", dpi=120)
print(f"saved {OUTPUT / 'columns.png'}")
