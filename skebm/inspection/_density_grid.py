"""Values of a density along one column or two, the other columns summed out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skebm.evaluation.fidelity._table import ShownTable

Array = NDArray[np.float64]

#: Points of a grid: of one column, and of each of two.
N_LINE, N_MAP = 100, 30
#: Shares of the rows outside of which values may be left out where they are far away.
LOW, HIGH = 0.005, 0.995
#: Width of the margin, and where values are far away, in units of the middle's range.
MARGIN, FAR = 0.1, 3.0


@dataclass(frozen=True, eq=False)
class DensityGrid:
    """A density over values of one column or two.

    Attributes
    ----------
    columns : tuple of int
        The columns.
    names : tuple of str
        Their names.
    values : tuple of ndarray
        The values of each: numbers of even distance, or categories.
    categorical : tuple of bool
        Which of them are categories.
    density : ndarray of shape (n_0,) or (n_1, n_0)
        The density at these values; a probability along categories.
    rows : tuple of ndarray
        The values of the rows that have an entry in each of these columns; categories
        by their places.
    """

    columns: tuple[int, ...]
    names: tuple[str, ...]
    values: tuple[NDArray[Any], ...]
    categorical: tuple[bool, ...]
    density: Array
    rows: tuple[Array, ...]

    def categories(self, k: int) -> NDArray[Any] | None:
        """Return the categories of a column; None of numbers."""
        return self.values[k] if self.categorical[k] else None

    def shares(self) -> Array:
        """Return the share of the rows that have each category of the one column."""
        counts = np.bincount(self.rows[0].astype(int), minlength=len(self.values[0]))
        return np.asarray(counts / max(1, counts.sum()), dtype=np.float64)


def density_grid(
    estimator: Any,
    table: ShownTable,
    columns: list[int],
    at: Mapping[int, Any],
    resolution: int | None = None,
) -> DensityGrid:
    r"""Return the density of one column or two, of all others or given some.

    .. math:: p(x_A | x_B) = p(x_A, x_B) / p(x_B)

    with A the columns and B those of ``at``; the others are missing in the rows that
    the estimator scores, so that it sums them out.

    Parameters
    ----------
    estimator : estimator
        With ``score_samples``; it must take missing entries where the columns and those
        of ``at`` are not all.
    table : ShownTable
        Rows.
    columns : list of int
        One column or two.
    at : mapping of int to value
        Columns that are given.
    resolution : int or None
        Points along a column of numbers.
    """
    n_points = resolution or (N_LINE if len(columns) == 1 else N_MAP)
    values = tuple(grid_values(table, j, n_points) for j in columns)
    mesh = np.meshgrid(*[np.arange(len(v)) for v in values])
    points = {
        j: v[places.ravel()] for j, v, places in zip(columns, values, mesh, strict=True)
    }
    log_density = scores(estimator, table, mesh[0].size, {**at, **points})
    if at:
        log_density = log_density - scores(estimator, table, 1, at)[0]
    categorical = tuple(bool(table.is_categorical[j]) for j in columns)
    rows = np.array(
        [
            table.codes(j, v) if table.is_categorical[j] else table.numbers(j)
            for j, v in zip(columns, values, strict=True)
        ]
    )
    return DensityGrid(
        tuple(columns),
        tuple(table.names[j] for j in columns),
        values,
        categorical,
        np.exp(log_density).reshape(mesh[0].shape),
        tuple(rows[:, ~np.isnan(rows).any(axis=0)]),
    )


def scores(
    estimator: Any, table: ShownTable, n: int, values: Mapping[int, Any]
) -> Array:
    """Return the log density of n rows with given columns, the others missing."""
    rows = table.written(n, values)
    return np.asarray(estimator.score_samples(rows), dtype=np.float64)


def grid_values(table: ShownTable, j: int, n_points: int) -> NDArray[Any]:
    """Return the values at which to show a column: its categories, or a grid."""
    if table.is_categorical[j]:
        return table.categories(j)
    x = table.numbers(j)
    low, high = shown_range(x[np.isfinite(x)])
    return np.linspace(low, high, n_points)


def shown_range(x: Array) -> tuple[float, float]:
    """Return the ends of the axis of a column, with a margin.

    Those of the values; wild ones, which would leave the others no room, are outside.
    """
    if not len(x):
        return -1.0, 1.0
    low, high = np.quantile(x, [LOW, HIGH])
    width = high - low
    if x.min() > low - FAR * width:
        low = x.min()
    if x.max() < high + FAR * width:
        high = x.max()
    margin = MARGIN * (high - low) or max(1.0, abs(low))
    return float(low - margin), float(high + margin)
