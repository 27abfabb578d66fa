"""
Which objective trains the energy?
==================================

Two rings, whose density is known, one Gaussian as reference, and a few of the
objectives of `skebm.objectives`, each for some epochs. What counts is the
distance to the true held-out score: 0 is the truth. Noise-contrastive estimation is
the default; a generator (VERA) needs no close reference; score matching needs neither
noise nor chains; contrastive divergence runs short chains.
"""

import time

import matplotlib.pyplot as plt

from skebm import EBMDensityEstimator
from skebm.datasets import TwoRings

truth = TwoRings()
X, fresh = truth.sample(2000, random_state=0), truth.sample(5000, random_state=1)
best = truth.score_samples(fresh).mean()

# %%
epochs = {"stratified_nce": 60, "sliced_score_matching": 40, "vera": 30, "pcd": 60}
epochs["denoising_score_matching"] = 40
gaps, seconds = {}, {}
for name, max_iter in epochs.items():
    model = EBMDensityEstimator(
        name, reference="gaussian", max_iter=max_iter, random_state=0
    )
    started = time.perf_counter()
    gaps[name] = best - model.fit(X).score(fresh)
    seconds[name] = time.perf_counter() - started
    print(f"{name:22s} {gaps[name]:.3f} nats from the truth, {seconds[name]:.0f} s")

# %%
figure, axis = plt.subplots(figsize=(6.5, 4), layout="constrained")
bars = axis.barh(list(gaps), list(gaps.values()))
axis.bar_label(bars, [f" {second:.0f} s" for second in seconds.values()])
axis.set(xlabel="held-out nats from the truth (0 is best)", ylabel="objective")
axis.margins(x=0.15)
plt.show()
