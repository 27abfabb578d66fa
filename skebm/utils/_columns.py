"""Resolution of columns, estimated from ties among their values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Added to variances of standardised columns, so that no density is infinite.
VARIANCE_FLOOR = 1e-3


#: Widest floor of a column, as a share of the variance of its spread.
WIDEST_FLOOR = 0.2


def column_units(x: Array) -> Array:
    """Return the unit of each column in which the variance floor is measured.

    One for a continuous column. A column on a grid (each value twice or more on
    average) has a floor of two grid steps, at most 0.45 of its spread: rows between its
    grid points, or one step outside, are nothing strange. The spread of a nearly
    constant column is taken from the grid steps of the others. A constant column, whose
    spread is unknown, has a floor of 0.45 of its scale.
    """
    spread = x.std(axis=0)
    step = grid_steps(x)
    grid, constant = step > 0, np.ptp(x, axis=0) == 0
    floor = np.sqrt(VARIANCE_FLOOR) * spread
    if grid.any():
        steps_per_spread = np.median(spread[grid] / step[grid])
        widest = np.minimum(steps_per_spread * step, np.ptp(x, axis=0))
        widest = np.sqrt(WIDEST_FLOOR) * np.maximum(spread, widest)
        floor = np.where(grid, np.maximum(floor, np.minimum(2 * step, widest)), floor)
    floor = np.where(constant, np.sqrt(WIDEST_FLOOR), floor)
    return np.asarray(floor / np.sqrt(VARIANCE_FLOOR))


def grid_steps(x: Array) -> Array:
    """Return the median step between values of columns with ties; 0 for others."""
    step = np.zeros(x.shape[1])
    for j, column in enumerate(x.T):
        values = np.unique(column)
        if 1 < len(values) <= len(column) / 2:
            step[j] = np.median(np.diff(values))
    return step


def dequantization_scale(x: Array) -> Array:
    """Return standard deviations of the noise to add to columns with ties.

    Rows on a grid or on a constant lie on a set of measure zero: without noise the
    density of a trained energy there is unbounded. The noise is the variance floor in
    the column's unit; continuous columns get none.
    """
    tied = (grid_steps(x) > 0) | (np.ptp(x, axis=0) == 0)
    return np.where(tied, np.sqrt(VARIANCE_FLOOR) * column_units(x), 0.0)
