"""
A density seen from four sides
==============================

Does a density fit the rows, what do its draws look like, has training gone well, and
does it tell outliers? Four pictures of `skebm.inspection`, of Italian wines. The model
learns from the wines of two cultivars; those of the third are new to it.
"""

# %%
# Five measures of 90 wines of two cultivars. The 40 others of these, and the 48 wines
# of the third cultivar, are to be told apart.
from pathlib import Path

import matplotlib.pyplot as plt
from sklearn.datasets import load_wine

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

wines, cultivar = load_wine(return_X_y=True, as_frame=True)
wines = wines[["alcohol", "color_intensity", "proline", "flavanoids", "hue"]]
known = wines[cultivar < 2].sample(frac=1, random_state=0)
train, test, third = known[:90], known[90:], wines[cultivar == 2]
model = EBMDensityEstimator(random_state=0).fit(train)

# %%
# The density of two columns is that of the whole table with the others summed out.
# Of the training that epoch is kept which is best on held-out rows after a standard
# error is taken off: with nine held-out rows, a gain must be large to count.
figure, axes = plt.subplots(2, 2, figsize=(11, 8.5), layout="constrained")
two = ["alcohol", "color_intensity"]
DensityDisplay.from_estimator(model, train, two, resolution=20, ax=axes[0, 0])
SamplesDisplay.from_estimator(model, test, two, n_samples=200, ax=axes[0, 1])
TrainingDisplay.from_estimator(model, ax=axes[1, 0])
OODScoreDisplay.from_estimator(
    model, test, third, names=("held out", "third cultivar"), ax=axes[1, 1]
)
figure.savefig(OUTPUT / "inspection.png", dpi=90)
print(f"saved {OUTPUT / 'inspection.png'}")

# %%
# A report holds these pictures and more, in one page that needs no network.
found = report(model, train, test)
print(found)
print(f"saved {found.to_html(OUTPUT / 'report.html')}")
