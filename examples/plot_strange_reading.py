"""
Is this sensor reading strange, and which channel?
==================================================

A machine with four channels that belong together: the load drives current,
temperature and vibration. One fresh reading has a current that is common by itself,
but not at its load. ``explain`` compares each entry with what the other entries of
its row lead one to expect.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from skebm import EBMDensityEstimator


def readings(n, random_state):
    rng = np.random.RandomState(random_state)
    load = rng.beta(2, 2, n)
    temperature = 40 + 30 * load**2 + rng.normal(0, 1, n)
    table = {"load": load, "current": 2 + 5 * load + rng.normal(0, 0.2, n)}
    table |= {"temperature": temperature, "vibration": rng.gamma(20, 0.01 + load / 50)}
    return pd.DataFrame(table)


X, new = readings(1500, random_state=0), readings(5, random_state=1)
new.loc[1, "current"] += 1.3  # the fault

# %%
model = EBMDensityEstimator(max_iter=30, random_state=0).fit(X)
print(new.assign(p_value=model.p_values(new), call=model.predict(new)).round(3))
strange = int(model.ood_scores(new).argmin())
found = model.explain(new.iloc[[strange]]).droplevel("row")
print(found.loc[found["tail_probability"].idxmin(), "sentence"])

# %%
# Left: each value of the reading is ordinary. Right: not all of them together.
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
left.scatter(X["load"], X["current"], s=3, color="lightgrey", label="training")
left.scatter(*new.loc[[strange], ["load", "current"]].T.to_numpy(), label="reading")
left.set(xlabel="load, share", ylabel="current, A")
left.legend()
right.barh(found.index, 1 / found["tail_probability"].clip(lower=1e-6))
right.set(xscale="log", ylabel="channel", xlabel="one reading in so many is as strange")
plt.show()
