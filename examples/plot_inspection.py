"""
A density seen from four sides
==============================

Does a density fit the rows, what do its draws look like, has training gone well, and does
it tell outliers? Four pictures of `skebm.inspection`, of the flowers of two species of iris;
the third species is new to the model.
"""

# %%
# Measures of petals and sepals, of 80 flowers of setosa and versicolor. 20 other ones and
# the 50 virginica are to be told apart.
from pathlib import Path

import matplotlib.pyplot as plt
from sklearn.datasets import load_iris

from skebm import EBMDensityEstimator
from skebm.inspection import (
    DensityDisplay,
    OODScoreDisplay,
    SamplesDisplay,
    TrainingDisplay,
    report,
)

OUTPUT = Path("examples/output")
OUTPUT.mkdir(parents=True, exist_ok=True)

flowers, species = load_iris(return_X_y=True, as_frame=True)
known = flowers[species < 2].sample(frac=1, random_state=0)
train, test, virginica = known[:80], known[80:], flowers[species == 2]
model = EBMDensityEstimator(random_state=0).fit(train)

# %%
# The density of two columns is that of the whole table with the others summed out.
# The title of the training names the epoch that was kept.
figure, axes = plt.subplots(2, 2, figsize=(11, 8.5), layout="constrained")
petal = ["petal length (cm)", "petal width (cm)"]
DensityDisplay.from_estimator(model, train, petal, resolution=25, ax=axes[0, 0])
SamplesDisplay.from_estimator(model, test, petal, n_samples=200, ax=axes[0, 1])
TrainingDisplay.from_estimator(model, ax=axes[1, 0])
OODScoreDisplay.from_estimator(
    model, test, virginica, names=("held out", "virginica"), ax=axes[1, 1]
)
figure.savefig(OUTPUT / "inspection.png", dpi=90)
print(f"saved {OUTPUT / 'inspection.png'}")

# %%
# A report holds these pictures and more, in one page that needs no network.
found = report(model, train, test)
print(found)
print(f"saved {found.to_html(OUTPUT / 'report.html')}")
