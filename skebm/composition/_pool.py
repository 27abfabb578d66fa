"""Rows drawn from the parts of a composition, weighed as draws of the whole."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor

from skebm.composition._parts import Parts, draws_of, joined
from skebm.evaluation import (
    AbstractNormalizer,
    LogNormalizer,
    annealed_samples,
)
from skebm.evaluation.normalizers._log_weights import summarize
from skebm.references import GaussianMixtureDensity
from skebm.utils import make_generator

Array = NDArray[Any]
#: From a table to the energies of its rows.
TableEnergy = Callable[[Any], Array]

#: Least number of rows that are drawn from the parts, and particles of annealing.
N_DRAWS, MIN_PARTICLES = 4000, 512
#: Components of the mixture that is tilted, and the least variance of each.
N_COMPONENTS, LEAST_VARIANCE = 6, 1e-4


@dataclass(frozen=True, eq=False)
class Pool:
    r"""Rows of an even mixture m of some densities, with their importance weights.

    .. math:: w(x) = e^{-E(x)} / m(x), \qquad Z = E_m[w]

    Attributes
    ----------
    table : table of n rows
        The rows.
    log_weights : ndarray of shape (n,)
        log w.
    """

    table: Any
    log_weights: NDArray[np.float64]

    @classmethod
    def draw(
        cls, energy: TableEnergy, densities: Sequence[Any], n: int, seed: int
    ) -> Pool:
        """Draw about n rows, as many from each density.

        Raises
        ------
        ValueError
            Where the whole has no density at any of them, or an infinite one.
        """
        share = -(-n // len(densities))
        table = joined(
            [draws_of(density, share, seed + k) for k, density in enumerate(densities)]
        )
        log_probs = [density.score_samples(table) for density in densities]
        log_mixture = logsumexp(log_probs, axis=0) - np.log(len(densities))
        pool = cls(table, -energy(table) - log_mixture)
        is_endless = pool.log_weights == np.inf
        if is_endless.any():
            raise ValueError(
                f"The product is infinite: at {is_endless.sum()} of {len(table)} rows "
                "that the parts drew, one of negative weight has no density, and the "
                "others have one."
            )
        if not np.isfinite(pool.log_weights).any():
            raise ValueError(
                f"The densities have nothing in common: of {len(log_mixture)} rows "
                "that they drew, none has a density in all of them."
            )
        return pool

    @property
    def estimate(self) -> LogNormalizer:
        """The estimate of log Z by importance sampling."""
        return summarize(torch.from_numpy(self.log_weights), "ImportanceSampling")

    def weights(self) -> NDArray[np.float64]:
        """Return the weights with a sum of one."""
        return np.exp(self.log_weights - logsumexp(self.log_weights))


def gaussian_mixture(z: Array, seed: int) -> GaussianMixtureDensity:
    """Return a mixture of a few Gaussians, fitted to standardised rows."""
    n = min(N_COMPONENTS, len(z))
    mixture = GaussianMixture(n, reg_covar=LEAST_VARIANCE, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # any mixture will do
        fitted = mixture.fit(z)
    arrays = fitted.weights_, fitted.means_, np.linalg.cholesky(fitted.covariances_)
    return GaussianMixtureDensity(*(torch.from_numpy(a).float() for a in arrays))


class Annealing:
    """A density of numbers, reached by annealing from a mixture of Gaussians.

    Parameters
    ----------
    energy : callable
        From a table to E of its rows.
    parts : Parts
        Makes tables of numbers.
    pool : Pool
        Rows that the mixture is fitted to: as drawn, and as weighed.
    seed : int
        Of the fit of the mixture.
    """

    def __init__(
        self, energy: TableEnergy, parts: Parts, pool: Pool, seed: int
    ) -> None:
        x = np.asarray(pool.table, dtype=np.float64)
        self.mean, self.scale = x.mean(axis=0), x.std(axis=0)
        self.scale[self.scale == 0] = 1.0
        self.is_whole = (x == np.round(x)).all(axis=0)
        self.dtypes = getattr(pool.table, "dtypes", None)
        z = (x - self.mean) / self.scale
        rng = np.random.RandomState(seed)
        z = np.concatenate([z, z[rng.choice(len(z), len(z), p=pool.weights())]])
        self.reference = gaussian_mixture(z, seed)
        self.energy_of_table, self.parts = energy, parts

    def energy(self, z: Tensor) -> Tensor:
        """Return the energy that tilts the mixture; its slope is the mixture's alone.

        Samplers that ask for slopes then walk at random at the end, and stay exact.
        """
        x = z.detach().double().numpy() * self.scale + self.mean
        density = np.log(self.scale).sum() - self.energy_of_table(self.parts.table(x))
        return self.reference.log_prob(z) - torch.from_numpy(density).to(z)

    def estimate(self, normalizer: AbstractNormalizer, seed: int) -> LogNormalizer:
        """Return log Z."""
        generator = make_generator(seed, torch.device("cpu"))
        return normalizer.estimate(self.energy, self.reference, generator=generator)

    def sample(self, n_samples: int, seed: int) -> Any:
        """Return a table of draws, whole numbers in columns where parts have these."""
        z = annealed_samples(
            self.energy,
            self.reference,
            n_samples,
            generator=make_generator(seed, torch.device("cpu")),
            min_particles=MIN_PARTICLES,
        )
        x = z.double().numpy() * self.scale + self.mean
        x[:, self.is_whole] = np.round(x[:, self.is_whole])
        table = self.parts.table(x)
        return table if self.dtypes is None else table.astype(dict(self.dtypes))
