"""Held-out log-likelihood beside that of simple densities."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.neighbors import KernelDensity

Array = NDArray[np.float64]

#: Numbers of components and bandwidths, in standard deviations, that are tried.
COMPONENTS = (1, 2, 3, 5, 8, 12, 20)
BANDWIDTHS = np.geomspace(0.05, 1.5, 12)
#: Most rows that kernels are laid about, and rows that a component must have.
MAX_KERNELS, ROWS_A_COMPONENT = 3000, 10
#: Least variance of a component: on tied values narrower ones have any density.
FLOOR = 1e-3


def peer_log_likelihoods(train: Array, test: Array, seed: int) -> dict[str, float]:
    """Return the mean held-out log densities of simple models, in nats.

    Parameters
    ----------
    train, test : ndarray of shape (n, n_features) and (m, n_features)
        Numbers without gaps.
    seed : int
        Of the mixture's starts.

    Returns
    -------
    log_likelihoods : dict of str to float
        Of "gaussian"; of "gaussian_mixture", with a number of components chosen by
        BIC and a least standard deviation of a thirtieth of the column's; of
        "kernel_density", with a bandwidth chosen by cross-validation. Columns are
        standardised inside; the scores are in the units of the rows.
    """
    location, spread = train.mean(axis=0), train.std(axis=0)
    spread[~(spread > 0)] = 1.0
    z, t = (train - location) / spread, (test - location) / spread
    log_jacobian = float(np.log(spread).sum())
    mixtures = [
        fitted_mixture(z, k, seed)
        for k in COMPONENTS
        if k == 1 or k * ROWS_A_COMPONENT <= len(z)
    ]
    best = min(mixtures, key=lambda mixture: mixture.bic(z))
    some = z[np.random.RandomState(seed).permutation(len(z))[:MAX_KERNELS]]
    found = {
        "gaussian": mixtures[0].score(t),
        "gaussian_mixture": best.score(t),
    }
    if len(some) >= 5:
        search = GridSearchCV(
            KernelDensity(rtol=1e-4),
            {"bandwidth": BANDWIDTHS},
            cv=KFold(5, shuffle=True, random_state=seed),
        )
        found["kernel_density"] = search.fit(some).score(t) / len(t)
    return {name: float(value) - log_jacobian for name, value in found.items()}


def fitted_mixture(z: Array, n_components: int, seed: int) -> GaussianMixture:
    """Return a mixture of Gaussians fitted to rows."""
    mixture = GaussianMixture(n_components, reg_covar=FLOOR, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture.fit(z)
