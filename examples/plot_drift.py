"""
Has the table drifted since the model was fitted?
=================================================

`skebm.evaluation.drift_test` compares an old table with a new one: one p-value, and
the columns that moved. `skebm.evaluation.DriftMonitor` watches a stream of batches:
the chance that its p-value ever falls to 0.05 without drift is at most 5 %, however
long one looks. Here the wine of the stream is stronger from the eleventh batch on.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_wine

from skebm.evaluation import DriftMonitor, drift_test

table = load_wine(as_frame=True).data.iloc[:, :6]
wine = table.sample(1200, replace=True, random_state=0, ignore_index=True)
rng = np.random.RandomState(0)
wine += rng.normal(0, 0.1, wine.shape) * table.std().to_numpy()
old, stream = wine[:600], wine[600:].copy()
stream.iloc[300:, 0] += 0.4  # alcohol, in per cent

# %%
report = drift_test(old, stream[300:], n_splits=0, random_state=0)
print(f"p-value {report.p_value:.4f}")
print(report.columns.round(4))

# %%
monitor = DriftMonitor(old, random_state=0)
values = [monitor.update(stream[i : i + 30]) for i in range(0, 600, 30)]
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
left.semilogy(np.arange(1, 21), values, "o-")
left.axhline(0.05, linestyle="--", color="black", label="0.05")
left.axvline(10.5, linestyle=":", color="tab:red", label="drift begins")
left.set(xlabel="batch of 30 rows", ylabel="p-value of the stream")
left.legend()
names = report.columns.index.astype(str)
right.barh(names, report.columns["adjusted_p_value"])
right.axvline(0.05, linestyle="--", color="black")
right.set(xscale="log", xlabel="adjusted p-value", ylabel="column")
plt.show()
