"""
How far do forty numbers go as labels?
======================================

An experiment has ten settings; its outcome is known for forty of 450 runs, and NaN for
the others. `skebm.JEMRegressor` predicts a whole distribution, so each prediction has
an interval that holds nine of ten new outcomes.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_friedman1
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import train_test_split

from skebm import JEMRegressor

X, y = make_friedman1(600, noise=1.0, random_state=0)
X_train, X_test, y_train, y_test = train_test_split(X, y, shuffle=False)
y_few = np.where(np.arange(len(y_train)) < 40, y_train, np.nan)

# %%
model = JEMRegressor(reference="gaussian", max_iter=5, random_state=0)
model.fit(X_train, y_few)
forest = RandomForestRegressor(random_state=0).fit(X_train[:40], y_train[:40])
print(
    f"R2: {model.score(X_test, y_test):.2f}, forest {forest.score(X_test, y_test):.2f}"
)
lower, upper = model.predict_interval(X_test, level=0.9).T
inside = (lower <= y_test) & (y_test <= upper)
print(f"intervals of level 0.9 hold {inside.mean():.2f} of the new outcomes")

# %%
predicted = model.predict(X_test)
order = predicted.argsort()
figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
rank = np.arange(len(order))
axis.fill_between(rank, lower[order], upper[order], alpha=0.3, label="90 % interval")
axis.plot(rank, predicted[order], label="prediction")
axis.scatter(rank, y_test[order], s=10, color="black", label="held-out outcome")
axis.set(xlabel="new runs, by prediction", ylabel="outcome")
axis.legend()
plt.show()
