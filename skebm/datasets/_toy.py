"""Two-dimensional densities with exact sampling and an exact log density."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import norm
from sklearn.utils import check_random_state

RandomState = int | np.random.RandomState | None


class GaussianRing:
    r"""Equally weighted round Gaussians on a circle.

    .. math:: p(x) = \frac{1}{K} \sum_k N(x; m + r (\cos 2\pi k/K, \sin 2\pi k/K),
              \sigma^2 I)

    Parameters
    ----------
    n_modes : int, default=8
        K.
    center : tuple of float, default=(100, -50)
        m; far from the origin by default, as columns of a real table are.
    radius : float, default=30
        r.
    scale : float, default=3
        :math:`\sigma`.

    Examples
    --------
    >>> from skebm.datasets import GaussianRing
    >>> ring = GaussianRing()
    >>> ring.score_samples(ring.sample(5, random_state=0)).shape
    (5,)
    """

    def __init__(
        self,
        n_modes: int = 8,
        center: tuple[float, float] = (100.0, -50.0),
        radius: float = 30.0,
        scale: float = 3.0,
    ) -> None:
        self.n_modes, self.center = n_modes, center
        self.radius, self.scale = radius, scale

    @property
    def means(self) -> NDArray[np.float64]:
        """Centres of the modes, shape (n_modes, 2)."""
        angle = 2 * np.pi * np.arange(self.n_modes) / self.n_modes
        circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        return np.asarray(self.center) + self.radius * circle

    def sample(
        self, n_samples: int, random_state: RandomState = None
    ) -> NDArray[np.float64]:
        """Return draws of shape (n_samples, 2)."""
        rng = check_random_state(random_state)
        mode = rng.randint(self.n_modes, size=n_samples)
        return self.means[mode] + self.scale * rng.normal(size=(n_samples, 2))

    def nearest_mode(self, X: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the index of the nearest mode of each row, shape (n,)."""
        distance = np.linalg.norm(X[:, None] - self.means, axis=2)
        return distance.argmin(axis=1)

    def score_samples(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return log p(x) in nats, shape (n,)."""
        z = (X[:, None] - self.means) / self.scale
        log_kernel = -0.5 * (z**2).sum(axis=2)
        constant = np.log(2 * np.pi * self.scale**2 * self.n_modes)
        return logsumexp(log_kernel, axis=1) - constant


class TwoRings:
    r"""Concentric rings: the radius is a mixture of two normals, the angle uniform.

    .. math:: p(x) = \frac{1}{2 \pi |x|} \frac{1}{2} \sum_k N(|x|; r_k, \sigma^2)

    The normals' mass below zero (none at the defaults) is not accounted for.

    Parameters
    ----------
    radii : tuple of float, default=(1, 2)
        :math:`r_k`.
    scale : float, default=0.1
        :math:`\sigma`.

    Examples
    --------
    >>> from skebm.datasets import TwoRings
    >>> TwoRings().sample(5, random_state=0).shape
    (5, 2)
    """

    def __init__(
        self, radii: tuple[float, float] = (1.0, 2.0), scale: float = 0.1
    ) -> None:
        self.radii, self.scale = radii, scale

    def sample(
        self, n_samples: int, random_state: RandomState = None
    ) -> NDArray[np.float64]:
        """Return draws of shape (n_samples, 2)."""
        rng = check_random_state(random_state)
        ring = np.asarray(self.radii)[rng.randint(2, size=n_samples)]
        radius = ring + self.scale * rng.normal(size=n_samples)
        angle = rng.uniform(0, 2 * np.pi, size=n_samples)
        return radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)

    def score_samples(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return log p(x) in nats, shape (n,)."""
        radius = np.linalg.norm(X, axis=1)
        log_radial = norm.logpdf(radius[:, None], self.radii, self.scale)
        log_marginal = logsumexp(log_radial, axis=1) - np.log(2)
        return log_marginal - np.log(2 * np.pi * radius)


class Checkerboard:
    r"""Uniform density on the dark squares of a four by four board.

    .. math:: p(x) = 1 / 8 \quad \text{on the dark unit squares of } [-2, 2]^2

    Examples
    --------
    >>> from skebm.datasets import Checkerboard
    >>> Checkerboard().score_samples(Checkerboard().sample(2, random_state=0))
    array([-2.07944154, -2.07944154])
    """

    def sample(
        self, n_samples: int, random_state: RandomState = None
    ) -> NDArray[np.float64]:
        """Return draws of shape (n_samples, 2)."""
        rng = check_random_state(random_state)
        column = rng.randint(4, size=n_samples)
        row = 2 * rng.randint(2, size=n_samples) + column % 2
        corner = np.stack([column, row], axis=1) - 2.0
        return corner + rng.uniform(size=(n_samples, 2))

    def score_samples(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return log p(x) in nats, shape (n,); -inf on the light squares."""
        square = np.floor(X).astype(int)
        on_board = (np.abs(X) < 2).all(axis=1)
        dark = on_board & (square.sum(axis=1) % 2 == 0)
        return np.where(dark, -np.log(8.0), -np.inf)


class Funnel:
    r"""Neal's funnel: the first column is the log variance of the second.

    .. math:: p(v, x) = N(v; 0, \sigma^2) \, N(x; 0, e^v)

    Parameters
    ----------
    scale : float, default=3
        :math:`\sigma`.

    References
    ----------
    R. M. Neal, "Slice sampling", Annals of Statistics 31 (2003), section 8.

    Examples
    --------
    >>> from skebm.datasets import Funnel
    >>> Funnel().sample(5, random_state=0).shape
    (5, 2)
    """

    def __init__(self, scale: float = 3.0) -> None:
        self.scale = scale

    def sample(
        self, n_samples: int, random_state: RandomState = None
    ) -> NDArray[np.float64]:
        """Return draws of shape (n_samples, 2)."""
        rng = check_random_state(random_state)
        log_variance = self.scale * rng.normal(size=n_samples)
        x = np.exp(log_variance / 2) * rng.normal(size=n_samples)
        return np.stack([log_variance, x], axis=1)

    def score_samples(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return log p(v, x) in nats, shape (n,)."""
        log_variance, x = X.T
        return norm.logpdf(log_variance, scale=self.scale) + norm.logpdf(
            x, scale=np.exp(log_variance / 2)
        )
