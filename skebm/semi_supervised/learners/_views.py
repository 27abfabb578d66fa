"""Features as simple learners take them, by the moments and ranks of all rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Array = NDArray[np.float64]

#: Normal scores end here, in standard deviations.
SCORE_RANGE = 3.0
#: Knots of the map of a column to normal scores.
MAX_KNOTS = 500


@dataclass(frozen=True, eq=False)
class Views:
    """Features as learners take them, by the moments and ranks of all rows.

    Attributes
    ----------
    location, scale : ndarray of shape (n_features,)
        Means and standard deviations.
    low, high : ndarray of shape (n_features,)
        Least and greatest values: beyond, predictions stay as they are there.
    knots : list of ndarray
        For each column, values among which ranks are interpolated.
    scores : list of ndarray
        Their normal scores.
    """

    location: Array
    scale: Array
    low: Array
    high: Array
    knots: list[Array]
    scores: list[Array]

    @classmethod
    def fit(cls, x: Array) -> Views:
        """Learn moments and ranks from the rows x, labelled or not."""
        scale = x.std(axis=0)
        scale[scale <= 1e-12 * np.abs(x).max(axis=0, initial=1.0)] = 1.0
        knots, scores = [], []
        for column in x.T:
            values, counts = np.unique(column, return_counts=True)
            below = np.cumsum(counts) - counts / 2
            normal = ndtri(below / len(column))
            if len(values) > MAX_KNOTS:
                some = np.linspace(0, len(values) - 1, MAX_KNOTS).astype(int)
                values, normal = values[some], normal[some]
            deviation = np.std(np.interp(column, values, normal)) or 1.0
            knots.append(values)
            scores.append(normal / deviation)
        bounds = x.min(axis=0), x.max(axis=0)
        return cls(x.mean(axis=0), scale, *bounds, knots, scores)

    def see(self, x: Array) -> dict[str, Array]:
        """Return rows as standardised "numbers" and as normal "scores"."""
        numbers = (x.clip(self.low, self.high) - self.location) / self.scale
        columns = zip(x.T, self.knots, self.scores, strict=True)
        scores = np.stack([np.interp(*column) for column in columns], axis=1)
        return {
            "numbers": numbers,
            "scores": scores.clip(-SCORE_RANGE, SCORE_RANGE),
        }

    def to_arrays(self) -> dict[str, Any]:
        """Return the views as arrays."""
        return {
            "location": self.location,
            "scale": self.scale,
            "low": self.low,
            "high": self.high,
            "knots": self.knots,
            "scores": self.scores,
        }
