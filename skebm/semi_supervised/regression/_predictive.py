"""Predictive densities p(y|x) of many rows: mixtures of Student's t."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp, stdtr, stdtrit

Array = NDArray[Any]

#: Most steps to a quantile, and the step in least scales that is the last one.
MAX_STEPS, QUANTILE_STEP = 100, 1e-10
#: Densest centres about which the mode is sought, points about each, and rounds of
#: refinement.
N_MODE_CENTERS, N_MODE_POINTS, N_MODE_ROUNDS = 32, 9, 6
#: Densities of parts that are computed at once.
CHUNK_VALUES = 2**20


def log_student(z: Array, degrees: Any) -> Array:
    """Return the log density of Student's t, of scale one."""
    unit = gammaln((degrees + 1) / 2) - gammaln(degrees / 2)
    unit = unit - 0.5 * np.log(np.pi * degrees)
    return unit - (degrees + 1) / 2 * np.log1p(z**2 / degrees)


@dataclass(frozen=True, eq=False)
class PredictiveMixture:
    r"""A mixture of Student's t for each of n rows.

    .. math:: p(y | x_i) = \sum_k w_{ik} \, t_{\nu_{ik}}((y - m_{ik}) / s_{ik}) / s_{ik}

    Attributes
    ----------
    weights : ndarray of shape (n, n_parts)
        w, of sum one in each row.
    locations, scales, degrees : ndarray of shape (n, n_parts)
        m, s and nu; nu is above 2.

    Examples
    --------
    >>> import numpy as np
    >>> one = np.ones((1, 1))
    >>> normal = PredictiveMixture(one, 3 * one, 2 * one, 1e6 * one)
    >>> normal.mean(), normal.quantile(0.5).round(6)
    (array([3.]), array([3.]))
    """

    weights: Array
    locations: Array
    scales: Array
    degrees: Array

    def __len__(self) -> int:
        return len(self.weights)

    def rows(self, which: Any) -> PredictiveMixture:
        """Return the densities of some rows."""
        parts = self.weights, self.locations, self.scales, self.degrees
        return PredictiveMixture(*(part[which] for part in parts))

    def moved(self, location: float, scale: float) -> PredictiveMixture:
        """Return the densities of location + scale * y."""
        return replace(
            self,
            locations=location + scale * self.locations,
            scales=scale * self.scales,
        )

    def mixed(self, weights: Array) -> PredictiveMixture:
        """Return the mixtures of groups of rows that follow each other.

        Parameters
        ----------
        weights : ndarray of shape (n_groups, n_rows_a_group)
            Weights of the rows in their group.
        """
        parts = self.locations, self.scales, self.degrees
        mixed = (self.weights * weights.reshape(-1, 1), *parts)
        return PredictiveMixture(*(part.reshape(len(weights), -1) for part in mixed))

    def log_prob(self, y: Array) -> Array:
        """Return log p(y_i | x_i) in nats; of y (n,) or of several a row, (n, m)."""
        y = np.asarray(y, dtype=float)
        with np.errstate(divide="ignore"):
            log_weights = np.log(self.weights)
        scales = self._for(y, self.scales)
        z = (y[..., None] - self._for(y, self.locations)) / scales
        log_t = log_student(z, self._for(y, self.degrees)) - np.log(scales)
        return logsumexp(log_t + self._for(y, log_weights), axis=-1)

    def cdf(self, y: Array) -> Array:
        """Return the probability of values up to y, of shape (n,)."""
        z = (y[:, None] - self.locations) / self.scales
        return (self.weights * stdtr(self.degrees, z)).sum(axis=1)

    def mean(self) -> Array:
        """Return the means, shape (n,)."""
        return (self.weights * self.locations).sum(axis=1)

    def std(self) -> Array:
        """Return the standard deviations, shape (n,)."""
        variance = self.scales**2 * self.degrees / (self.degrees - 2)
        spread = (self.locations - self.mean()[:, None]) ** 2
        return np.sqrt((self.weights * (variance + spread)).sum(axis=1))

    def quantile(self, probability: float | Array) -> Array:
        """Return the quantiles, shape (n,), of one probability or of one a row."""
        found = np.empty(len(self))
        probability = np.broadcast_to(probability, len(self))
        for one in np.unique(probability):
            rows = probability == one
            found[rows] = self.rows(rows)._quantile(float(one))
        return found

    def _quantile(self, probability: float) -> Array:
        """Return the quantiles by Newton's steps within a bracket."""
        degrees, place = np.unique(self.degrees, return_inverse=True)
        unit = stdtrit(degrees, probability)[place.reshape(self.degrees.shape)]
        of_parts = self.locations + self.scales * unit
        low, high = of_parts.min(axis=1), of_parts.max(axis=1)
        found, step = (low + high) / 2, high - low
        least = QUANTILE_STEP * self.scales.min(axis=1)
        active = np.flatnonzero(step > least)
        for _ in range(MAX_STEPS):
            if not len(active):
                break
            some, y = self.rows(active), found[active]
            excess = some.cdf(y) - probability
            low[active] = np.where(excess < 0, y, low[active])
            high[active] = np.where(excess < 0, high[active], y)
            with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
                newton = y - excess / np.exp(some.log_prob(y))
            # Halve the bracket where Newton's step leaves it or does not get shorter.
            middle = (low[active] + high[active]) / 2
            inside = (low[active] <= newton) & (newton <= high[active])
            shorter = np.abs(newton - y) < np.abs(step[active]) / 2
            new = np.where(inside & shorter, newton, middle)
            found[active], step[active] = new, new - y
            active = active[(np.abs(new - y) > least[active]) & (new != y)]
        return found

    def point(self, name: str) -> Array:
        """Return the "mean", "median" or "mode" of each row."""
        by_name: dict[str, Callable[[], Array]] = {
            "mean": self.mean,
            "median": lambda: self.quantile(0.5),
            "mode": self.mode,
        }
        return by_name[name]()

    def mode(self) -> Array:
        """Return the highest points of the densities, shape (n,).

        They are sought about the densest centres of parts.
        """
        n_parts = self.weights.shape[1]
        n_points = max(n_parts, N_MODE_POINTS * min(n_parts, N_MODE_CENTERS))
        n_rows = max(1, CHUNK_VALUES // (n_parts * n_points))
        starts = range(0, len(self), n_rows)
        chunks = [self.rows(slice(start, start + n_rows)) for start in starts]
        return np.concatenate([chunk._modes() for chunk in chunks] or [np.empty(0)])

    def _modes(self) -> Array:
        """Return the modes of few rows."""
        steps = np.linspace(-1, 1, N_MODE_POINTS)
        centers, scales = self.locations, self.scales
        if centers.shape[1] > N_MODE_CENTERS:
            order = np.argsort(-self.log_prob(centers), axis=1, kind="stable")
            densest = order[:, :N_MODE_CENTERS]
            centers = np.take_along_axis(centers, densest, axis=1)
            scales = np.take_along_axis(scales, densest, axis=1)
        points = centers[:, :, None] + scales[:, :, None] * steps
        best, width = self._best(points.reshape(len(self), -1)), scales.max(axis=1)
        for _ in range(N_MODE_ROUNDS):
            width = 2 * width / (N_MODE_POINTS - 1)
            best = self._best(best[:, None] + width[:, None] * steps)
        return best

    def sample(self, n_samples: int, rng: np.random.RandomState) -> Array:
        """Return draws, shape (n, n_samples)."""
        uniform = rng.uniform(size=(len(self), n_samples, 1))
        cumulated = self.weights.cumsum(axis=1)[:, None]
        part = (cumulated < uniform * cumulated[..., -1:]).sum(axis=2)
        picked = [
            np.take_along_axis(values, part, axis=1)
            for values in (self.locations, self.scales, self.degrees)
        ]
        location, scale, degrees = picked
        return location + scale * rng.standard_t(degrees)

    def _best(self, points: Array) -> Array:
        """Return the densest of some points of each row."""
        place = self.log_prob(points).argmax(axis=1)
        return points[np.arange(len(self)), place]

    @staticmethod
    def _for(y: Array, values: Array) -> Array:
        """Return values of the parts in the shape that y of its shape needs."""
        return values if y.ndim == 1 else values[:, None]
