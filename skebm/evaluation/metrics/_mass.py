"""The integral of a density: a check that is independent of its log Z."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.utils import check_random_state

Array = NDArray[np.float64]

_MAX_POINTS, _MAX_COMPONENTS, _ROWS_A_COMPONENT = 4000, 32, 50
#: Share and width, in standard deviations, of the wide component.
_WIDE_SHARE, _WIDTH = 0.1, 2.0
_FLOOR = 1e-4


@dataclass(frozen=True)
class ProbabilityMass:
    """The estimated integral of a density.

    Attributes
    ----------
    mass : float
        The integral of the density; 1 where log Z is right, above 1 where Z is too
        small, so that scores flatter the model by log(mass) nats.
    standard_error : float
        Its standard error.
    effective_sample_size : float
        (sum w)^2 / (n sum w^2), a fraction of the draws between 0 and 1.
    """

    mass: float
    standard_error: float
    effective_sample_size: float


def probability_mass(
    model: Any,
    X: ArrayLike,
    *,
    n_samples: int = 50_000,
    random_state: Any = None,
) -> ProbabilityMass:
    r"""Estimate the integral of exp(score_samples) by importance sampling.

    .. math:: \int p(x)\,dx \approx \frac1n \sum_i \frac{p(x_i)}{g(x_i)}, \qquad
        x_i \sim g = 0.9 \, g_1 + 0.1 \, N(m, 4 S)

    The mixture of Gaussians g_1 is fitted to rows of X and to draws of the model
    together, m and S are their mean and covariance. The model is used through
    ``score_samples`` and ``sample`` alone. The estimate is good up to about ten
    columns; for more columns look at the standard error.

    Parameters
    ----------
    model : object
        With ``score_samples`` (a normalised log density, in nats) and ``sample``.
    X : array-like of shape (n, n_features)
        Rows, in the units that the model takes.
    n_samples : int, default=50_000
        Number of draws from g.
    random_state : int, RandomState or None, default=None
        Source of randomness.

    Returns
    -------
    result : ProbabilityMass

    Raises
    ------
    ValueError
        Where X is no table of finite numbers, or a score is NaN.

    References
    ----------
    T. Hesterberg, "Weighted average importance sampling and defensive mixture
    distributions", Technometrics 37 (1995).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.neighbors import KernelDensity
    >>> from skebm.evaluation import probability_mass
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> model = KernelDensity(bandwidth=0.5).fit(X)
    >>> result = probability_mass(model, X, n_samples=2000, random_state=0)
    >>> abs(result.mass - 1) < 4 * result.standard_error < 0.2
    True
    """
    X = np.asarray(X, dtype=np.float64)
    if X.ndim != 2 or not len(X) or not np.isfinite(X).all():
        raise ValueError(
            f"X must hold rows of finite numbers, of shape (n, n_features). Got {X!r}."
        )
    if random_state is None:
        random_state = np.random.RandomState()  # not the global one
    rng = check_random_state(random_state)
    mixture = _Mixture(_points(model, X, rng), rng)
    log_weights = np.empty(n_samples)
    for start in range(0, n_samples, 10_000):
        part = log_weights[start : start + 10_000]
        x, log_density = mixture.draw(len(part))
        part[:] = model.score_samples(x) - log_density
    if np.isnan(log_weights).any():
        raise ValueError(f"score_samples of {type(model).__name__} returns NaN.")
    log_sum, log_squares = logsumexp(log_weights), logsumexp(2 * log_weights)
    mass = float(np.exp(log_sum - math.log(n_samples)))
    fraction = float(np.exp(2 * log_sum - log_squares)) / n_samples if mass else 0.0
    error = mass * math.sqrt(max(1 / fraction - 1, 0) / n_samples) if mass else math.inf
    return ProbabilityMass(mass, error, fraction)


def _points(model: Any, X: Array, rng: np.random.RandomState) -> Array:
    """Return rows and as many draws of the model, shape (m, n_features)."""
    n = min(len(X), _MAX_POINTS // 2)
    drawn = model.sample(_MAX_POINTS // 2, random_state=rng.randint(2**31 - 1))
    drawn = drawn[0] if isinstance(drawn, tuple) else drawn  # a classifier's, with y
    return np.vstack([X[rng.permutation(len(X))[:n]], drawn])


class _Mixture:
    """The proposal g, in the units of X."""

    def __init__(self, points: Array, rng: np.random.RandomState) -> None:
        self.mean, scale = points.mean(0), points.std(0)
        self.scale = np.where(scale > 0, scale, 1.0)
        z = (points - self.mean) / self.scale
        n_components = max(1, min(_MAX_COMPONENTS, len(z) // _ROWS_A_COMPONENT))
        self.narrow = _fitted(z, n_components, rng)
        self.wide = _fitted(z, 1, rng)
        self.wide.covariances_ *= _WIDTH**2
        self.wide.precisions_cholesky_ /= _WIDTH

    def draw(self, n: int) -> tuple[Array, Array]:
        """Return n draws and log g at each."""
        n_wide = round(_WIDE_SHARE * n)
        parts = [(self.narrow, n - n_wide), (self.wide, n_wide)]
        z = np.vstack([mixture.sample(k)[0] for mixture, k in parts if k])
        log_density = np.logaddexp(
            self.narrow.score_samples(z) + math.log1p(-n_wide / n),
            self.wide.score_samples(z) + math.log(max(n_wide / n, 1e-300)),
        )
        return self.mean + self.scale * z, log_density - np.log(self.scale).sum()


def _fitted(z: Array, n_components: int, rng: np.random.RandomState) -> GaussianMixture:
    mixture = GaussianMixture(
        n_components, reg_covar=_FLOOR, max_iter=30, random_state=rng
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture.fit(z)
