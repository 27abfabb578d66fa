"""
Outliers, false alarms and the column to blame
==============================================

Breast tumours, by eight measures of their cells. The density learns from benign ones
alone. Among new benign tumours it then has to find a few malignant ones: by its default
score, with a bound on the share of false alarms, and with the measures that make a
tumour strange.
"""

# %%
# The table
# ---------
# Eight columns of scikit-learn's table. 250 benign rows are to learn from; the other
# benign ones, and 30 malignant ones, are new.
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score

from skebm import EBMDensityEstimator

OUTPUT = Path("examples/output")
OUTPUT.mkdir(parents=True, exist_ok=True)

table, is_benign = load_breast_cancer(return_X_y=True, as_frame=True)
table = table.filter(like="mean ").rename(columns=lambda name: name[5:])
table = table.drop(columns=["perimeter", "area"])  # the radius over again
benign = table[is_benign == 1].sample(frac=1, random_state=0)
malignant = table[is_benign == 0].sample(30, random_state=0)
train, fresh = benign[:250], benign[250:]
new = pd.concat([fresh, malignant])
is_normal = np.arange(len(new)) < len(fresh)

# %%
# The default score
# -----------------
# ``ood_scores`` is a mean of several scores. Which of them count is decided by how well
# each tells rows from the same rows made wrong on purpose; no malignant row is needed.
model = EBMDensityEstimator(max_iter=50, random_state=0).fit(train)
print(pd.DataFrame(model.ood_report_).T.round(2))
scores = model.ood_scores(new)
print(f"AUROC {roc_auc_score(is_normal, scores):.3f}")

# %%
# Threshold, p-values and false alarms
# ------------------------------------
# ``predict`` compares with a threshold that a twentieth of new benign rows miss. Among
# many rows that may be many false alarms; with ``alpha=0.1`` no more than a tenth of
# the alarms is false, on average.
p_values = model.p_values(new)
for name, calls in {
    "predict(X)": model.predict(new),
    "predict(X, alpha=0.1)": model.predict(new, alpha=0.1),
}.items():
    alarms = calls == -1
    n_false, n_found = (alarms & is_normal).sum(), (alarms & ~is_normal).sum()
    print(f"{name:22s} {n_found} of 30 malignant rows found, {n_false} false alarms")

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
kinds = {"benign": is_normal, "malignant": ~is_normal}
colors = {"benign": "tab:blue", "malignant": "tab:orange"}
bins = np.linspace(scores.min(), scores.max(), 40)
for name, rows in kinds.items():
    left.hist(scores[rows], bins, alpha=0.7, color=colors[name], label=name)
left.axvline(model.offset_, color="black", linestyle="--", label="offset_")
left.set_xlabel("ood_scores")
left.set_ylabel("new rows")
left.legend()
order = np.argsort(p_values, kind="stable")
rank = np.arange(1, len(order) + 1)
for name, rows in kinds.items():
    shown = rows[order]
    found = p_values[order][shown]
    right.scatter(rank[shown], found, s=12, color=colors[name], label=name)
right.plot(rank, 0.1 * rank / len(rank), color="black", label="alpha rank / rows")
right.set_xlabel("rank of the p-value")
right.set_ylabel("p-value")
right.set_xlim(0, 80)
right.set_ylim(0, 0.25)
right.legend()
figure.tight_layout()
figure.savefig(OUTPUT / "outliers.png", dpi=120)
print(f"saved {OUTPUT / 'outliers.png'}")

# %%
# Which column
# ------------
# ``explain`` compares each entry with what the other entries of its row lead one to
# expect. Here are the strangest rows, with the entry that is most to blame.
strangest = new.iloc[np.argsort(scores)[:3]]
found = model.explain(strangest)
worst = found.sort_values(["p_value", "tail_probability"]).groupby("row").head(1)
print(*worst["sentence"], sep="\n")

figure, axes = plt.subplots(1, 3, figsize=(11, 4), sharey=True)
for axis, (label, row) in zip(axes, found.groupby("row", sort=False), strict=True):
    row = row.droplevel("row")
    one_in = np.minimum(1 / row["tail_probability"], 1e6)
    color = np.where(row["tail_probability"] < 0.01, "tab:orange", "lightgray")
    axis.barh(row.index, one_in, color=color)
    for name, entry in row.iterrows():
        text = f"{entry['value']:.3g}  ({entry['lower']:.3g} to {entry['upper']:.3g})"
        axis.text(1.3, name, text, va="center", fontsize=8)
    axis.set_xscale("log")
    axis.set_xlim(1, 1e6)
    axis.set_title(f"row {label}: value (expected)")
axes[0].invert_yaxis()
axes[1].set_xlabel("one row in so many has so strange a value, given its others")
figure.tight_layout()
figure.savefig(OUTPUT / "explained.png", dpi=120)
print(f"saved {OUTPUT / 'explained.png'}")
