"""A column that has wild values, as a value that other files of the table read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class WildColumn:
    """A column that has wild values.

    Attributes
    ----------
    low, high : float
        The fences: the values between them are the core.
    mean, spread : float
        Mean and standard deviation of the core.
    share : float
        Of the core's weight in that of all rows.
    sentinels : dict of float to float
        The shares of single values that repeat far away from the others.
    ends : tuple of float
        Least and greatest value of the core.
    reach : tuple of float
        Where wild values stand apart from all others, a wide empty stretch lies about
        these; infinite where they do not.
    strays : tuple of (float, int)
        Values that are surely none of the column's, with the numbers of their rows:
        few, very far from all others, and no sentinels.
    """

    low: float
    high: float
    mean: float
    spread: float
    share: float
    sentinels: dict[float, float]
    ends: tuple[float, float]
    reach: tuple[float, float]
    strays: tuple[tuple[float, int], ...] = ()

    @property
    def span(self) -> float:
        """Range of the core."""
        return self.ends[1] - self.ends[0]

    def holds(self, x: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell which values are in the core."""
        return np.asarray((x >= self.low) & (x <= self.high))
