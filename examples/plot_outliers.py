"""
Which rows are outliers, and how many of the alarms are false?
==============================================================

Breast tumours, by eight measures of their cells. The density learns from benign ones
alone. Among new benign tumours it then has to find thirty malignant ones. ``predict``
compares with a threshold that a twentieth of new benign rows miss. Among many rows
that may be many false alarms; with ``alpha=0.1`` no more than a tenth of the alarms
is false, on average.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer

from skebm import EBMDensityEstimator

table, is_benign = load_breast_cancer(return_X_y=True, as_frame=True)
table = table.filter(like="mean ").drop(columns=["mean perimeter", "mean area"])
benign = table[is_benign == 1].sample(frac=1, random_state=0)
train, fresh = benign[:250], benign[250:]
new = pd.concat([fresh, table[is_benign == 0].sample(30, random_state=0)])
is_normal = np.arange(len(new)) < len(fresh)

# %%
model = EBMDensityEstimator(max_iter=50, random_state=0).fit(train)
calls = {"predict(X)": model.predict(new)}
calls["predict(X, alpha=0.1)"] = model.predict(new, alpha=0.1)
for name, call in calls.items():
    n_false, n_found = (call[rows] == -1 for rows in (is_normal, ~is_normal))
    print(f"{name:22s} {n_found.sum()} of 30 found, {n_false.sum()} false alarms")

# %%
# Higher scores are more normal; small p-values are outliers.
scores, p_values = model.ood_scores(new), model.p_values(new)
rank = p_values.argsort(kind="stable").argsort() + 1
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
bins = np.linspace(scores.min(), scores.max(), 40)
for name, rows in {"benign": is_normal, "malignant": ~is_normal}.items():
    left.hist(scores[rows], bins, alpha=0.7, label=name)
    right.scatter(rank[rows], p_values[rows], s=12, label=name)
left.axvline(model.offset_, color="black", linestyle="--", label="threshold")
left.set(xlabel="ood_scores", ylabel="new rows")
line = np.array([1, len(new)])
right.plot(line, 0.1 * line / len(new), color="black", label="alpha rank / rows")
right.set(xlabel="rank", ylabel="p-value", xlim=(0, 80), ylim=(0, 0.25))
left.legend()
right.legend()
plt.show()
