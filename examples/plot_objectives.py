"""
Which objective trains the energy?
==================================

Two rings, whose density is known, one Gaussian as reference, and a few of the
objectives of `skebm.objectives`, each for about the same time. What counts is the
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
epochs = {"stratified_nce": 60, "nce": 60, "vera": 20, "denoising_score_matching": 40}
epochs |= {"sliced_score_matching": 40, "pcd": 15}
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
axis.scatter(list(seconds.values()), list(gaps.values()))
for name in gaps:
    axis.annotate(f" {name}", (seconds[name], gaps[name]), va="bottom")
axis.set(xlabel="seconds of fit", ylabel="held-out nats from the truth (0 is best)")
axis.set(xlim=(0, 1.5 * max(seconds.values())), ylim=(0, None))
plt.show()
