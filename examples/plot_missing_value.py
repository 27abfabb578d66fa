"""
What would this missing value be?
=================================

One measure of a diabetes patient's blood, the low-density lipoproteins, is gone; the
other nine entries are there. The density of complete records gives the whole
distribution of the missing one: a mean to fill in, an interval, and draws for multiple
imputation. `sklearn.impute.IterativeImputer` gives one number.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer

from skebm import EBMDensityEstimator

X = load_diabetes(as_frame=True, scaled=False).data.astype(float)
X = X.rename(columns={"s1": "cholesterol", "s2": "LDL", "s3": "HDL"})
train, test = X[:350], X[350:]
model = EBMDensityEstimator(max_iter=50, random_state=0).fit(train)

# %%
# One column of all test rows is hidden, and filled.
holes = test.assign(LDL=np.nan)
filled = model.impute(holes)["LDL"]
others = IterativeImputer(random_state=0).set_output(transform="pandas").fit(train)
for name, values in {
    "mean of p": filled,
    "IterativeImputer": others.transform(holes)["LDL"],
}.items():
    error = np.sqrt(np.mean((values - test["LDL"]) ** 2))
    print(
        f"{name:17s} RMSE {error:.2f}, of a column with deviation {X['LDL'].std():.2f}"
    )

# %%
# The first four rows, in full.
draws = model.sample(500, given=holes[:4], random_state=0)["LDL"].to_numpy()
figure, axis = plt.subplots(figsize=(7, 3.8), layout="constrained")
axis.violinplot(draws.reshape(4, 500).T, range(4), orientation="horizontal", widths=0.8)
axis.scatter(filled[:4], range(4), color="tab:blue", label="mean of p")
axis.scatter(test["LDL"][:4], range(4), color="black", marker="x", label="true value")
axis.set(xlabel="low-density lipoproteins, mg/dl", ylabel="patient", yticks=range(4))
axis.legend()
plt.show()
