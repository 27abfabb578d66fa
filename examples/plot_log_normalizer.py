"""
How sure is log Z?
==================

A log density is an energy plus log Z, so an error of log Z moves every score. Here
the estimate of one fitted model is repeated with more and more particles. Annealing
forward, from the reference to the model, tends to be too low; annealing backward,
from held-out rows, tends to be too high. Where the two meet, the estimate can be
trusted, and ``trusted`` says so.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_wine

from skebm import EBMDensityEstimator
from skebm.evaluation import AnnealedImportanceSampling

X, _ = load_wine(return_X_y=True)
counts = np.array([60, 200, 600, 2000])
results = []
for n_particles in counts:
    normalizer = AnnealedImportanceSampling(n_particles=int(n_particles))
    model = EBMDensityEstimator(
        "nce", reference="gaussian", normalizer=normalizer, max_iter=60, random_state=0
    ).fit(X)
    result = model.normalizer_result_
    results.append(result)
    print(f"{n_particles:4d} particles: {result.log_normalizer:.2f}", end=" ")
    print(
        f"+- {result.standard_error:.2f}, backward {result.reverse_log_normalizer:.2f}"
    )

# %%
forward = np.array([result.log_normalizer for result in results])
error = np.array([result.standard_error for result in results])
backward = [result.reverse_log_normalizer for result in results]
figure, axis = plt.subplots(figsize=(6, 3.8), layout="constrained")
axis.errorbar(counts, forward, 2 * error, fmt="o-", capsize=4, label="forward, 2 s.e.")
axis.plot(counts, backward, "s--", label="backward")
axis.set(xscale="log", xlabel="particles", ylabel="log Z, nats")
axis.set_xticks(counts, counts)
axis.minorticks_off()
axis.legend()
plt.show()
