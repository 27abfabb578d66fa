"""The picture of a density, beside the rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import pandas as pd

from skebm.evaluation.fidelity._table import ShownTable
from skebm.inspection._density_grid import DensityGrid, density_grid
from skebm.inspection._matplotlib import (
    MODEL,
    ROWS,
    grid_of_axes,
    name_axis,
    one_axes,
)
from skebm.utils import InvalidParameterError, is_count

#: Most columns of which all pairs are drawn without being named.
MAX_COLUMNS = 4
_LABELS = "unnormalised density", "density"


class DensityDisplay:
    """Density of one column or two beside the rows, or of all pairs of some columns.

    The other columns are summed out (marginal densities), or held at given values
    (slices). It is recommended to make it by `from_estimator`.

    Parameters
    ----------
    grids : dict of tuple of int to DensityGrid
        The densities, by the columns that they are of. One; or, for pairs, those of
        each column and of each pair of them.
    given : str, default=""
        The values that other columns are held at, in words.
    is_normalized : bool, default=True
        Whether these are densities, or such up to a factor.

    Notes
    -----
    Where the estimator gives single values of a column of numbers a probability
    (``atoms="auto"``), that is no part of the curve, which then has the mass of the
    other values.

    Attributes
    ----------
    ax_ : Axes
        Where one density is drawn.
    axes_ : ndarray of Axes of shape (n_columns, n_columns)
        Where pairs are drawn.
    figure_ : Figure
        Their figure.

    See Also
    --------
    SamplesDisplay : Draws beside rows; quicker in many columns.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skebm import EBMDensityEstimator
    >>> from skebm.inspection import DensityDisplay
    >>> X, _ = load_iris(return_X_y=True, as_frame=True)
    >>> model = EBMDensityEstimator(reference="gaussian", max_iter=1).fit(X)
    >>> display = DensityDisplay.from_estimator(
    ...     model, X, "petal width (cm)", resolution=20
    ... )
    >>> display.ax_.get_xlabel()
    'petal width (cm)'
    """

    def __init__(
        self,
        grids: Mapping[tuple[int, ...], DensityGrid],
        *,
        given: str = "",
        is_normalized: bool = True,
    ) -> None:
        self.grids = grids
        self.given = given
        self.is_normalized = is_normalized

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        columns: Any = None,
        *,
        at: Any = None,
        resolution: int | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Compute the density of columns of X, and draw it.

        Parameters
        ----------
        estimator : estimator
            Fitted, with ``score_samples``. It must take missing entries, as
            `skebm.EBMDensityEstimator` does, unless all columns are shown or held.
        X : array-like of shape (n_samples, n_features)
            Rows; they set the ranges.
        columns : name, int or sequence of these, default=None
            One column, two, or more, of which all pairs are drawn. None takes all, of
            at most four.
        at : dict of column to value, default=None
            Values that other columns are held at; the density is then conditional on
            them. None: marginal densities.
        resolution : int, default=None
            Points along a column of numbers; None takes 100, or 30 of each of two
            columns. Where other columns are summed out, a point costs as much as
            hundreds of complete rows.
        ax : Axes, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Of `plot`.

        Returns
        -------
        display : DensityDisplay

        Raises
        ------
        ValueError
            Where a column is unknown, or both shown and held, or held at no value of
            its own.
        """
        if resolution is not None and not is_count(resolution, 2):
            raise InvalidParameterError(
                "The 'resolution' parameter must be an integer, at least 2, or None. "
                f"Got {resolution!r}."
            )
        table = ShownTable.of(X, estimator)
        shown = table.indices(columns, MAX_COLUMNS, "columns")
        held = {table.index(column): value for column, value in dict(at or {}).items()}
        if both := [table.names[j] for j in shown if j in held]:
            raise InvalidParameterError(
                f"The 'at' parameter must hold other columns than those shown. Got "
                f"{', '.join(both)} in both."
            )
        check_held(table, held)
        groups = [tuple(shown)]
        if len(shown) > 2:
            pairs = [(j, k) for a, j in enumerate(shown) for k in shown[a + 1 :]]
            groups = [*((j,) for j in shown), *pairs]
        grids = {
            group: density_grid(estimator, table, list(group), held, resolution)
            for group in groups
        }
        display = cls(
            grids,
            given=", ".join(f"{table.names[j]} = {held[j]}" for j in held),
            is_normalized=getattr(estimator, "log_normalizer_", 0.0) is not None,
        )
        return display.plot(ax=ax, **kwargs)

    def plot(
        self, ax: Any = None, *, max_rows: int = 500, cmap: str = "viridis"
    ) -> Self:
        """Draw the density.

        Parameters
        ----------
        ax : Axes, default=None
            Where to draw; None makes a figure.
        max_rows : int, default=500
            Rows that are drawn as points beside a density of two columns.
        cmap : str, default="viridis"
            Colours of a density of two columns.

        Returns
        -------
        self : DensityDisplay
        """
        what, label = type(self).__name__, _LABELS[self.is_normalized]
        title = f"given {self.given}" if self.given else ""
        if len(self.grids) == 1:
            self.ax_ = one_axes(ax, what)
            self.figure_ = self.ax_.figure
            (grid,) = self.grids.values()
            if len(grid.columns) == 1:
                draw_line(self.ax_, grid, label, with_rows=not self.given)
                self.ax_.legend()
            else:
                drawn = draw_map(self.ax_, grid, max_rows * (not self.given), cmap)
                self.figure_.colorbar(drawn, ax=self.ax_, label=label)
            self.ax_.set_title(title)
            return self
        columns = [group[0] for group in self.grids if len(group) == 1]
        n = len(columns)
        self.axes_ = grid_of_axes(ax, (n, n), what, (2.4 * n, 2.2 * n))
        self.figure_ = self.axes_[0, 0].figure
        for (row, column), axes in np.ndenumerate(self.axes_):
            if row < column:
                axes.set_axis_off()
            elif row == column:
                grid = self.grids[(columns[row],)]
                draw_line(axes, grid, label, with_rows=not self.given)
            else:
                grid = self.grids[columns[column], columns[row]]
                draw_map(axes, grid, max_rows * (not self.given), cmap)
            label_outer(axes, row, column, n)
        self.axes_[0, 0].legend(fontsize="small")
        if title:
            self.axes_[0, min(1, n - 1)].set_title(title, loc="left")
        return self


def check_held(table: ShownTable, held: Mapping[int, Any]) -> None:
    """Raise ValueError where a column is held at a gap or an unknown category.

    To the estimator either is a missing entry, which it sums out.
    """
    for j, value in held.items():
        expected, right = "a value, not a missing one", not pd.isna(value)
        dtype = table.frame.dtypes.iloc[j]
        if isinstance(dtype, pd.CategoricalDtype):
            known = dtype.categories.tolist()
            expected, right = f"one of {known}", value in known
        if not right:
            raise InvalidParameterError(
                f"The 'at' parameter must hold {table.names[j]} at {expected}. Got "
                f"{value!r}."
            )


def draw_line(ax: Any, grid: DensityGrid, label: str, with_rows: bool = True) -> None:
    """Draw the density of one column beside the rows."""
    categories = grid.categories(0)
    if categories is None:
        low, high = grid.values[0][[0, -1]]
        inside = grid.rows[0][(grid.rows[0] >= low) & (grid.rows[0] <= high)]
        if with_rows and len(inside):
            # Rows outside of the axis count, as they do in the density.
            weights = np.full(len(inside), 30 / (high - low) / len(grid.rows[0]))
            bins = np.linspace(low, high, 31)
            ax.hist(inside, bins, weights=weights, color=ROWS, alpha=0.4, label="rows")
        ax.plot(grid.values[0], grid.density, color=MODEL, label="model")
    else:
        places = np.arange(len(categories))
        if with_rows:
            shares = grid.shares()
            ax.bar(places - 0.2, shares, 0.4, color=ROWS, alpha=0.4, label="rows")
        ax.bar(places + 0.2 * with_rows, grid.density, 0.4, color=MODEL, label="model")
        ax.set_ylim(top=1.25 * ax.get_ylim()[1])  # room for the legend
        label = label.replace("density", "probability")
    ax.set_ylabel(label)
    name_axis(ax.xaxis, grid.names[0], categories)


def draw_map(ax: Any, grid: DensityGrid, max_rows: int, cmap: str) -> Any:
    """Draw the density of two columns and rows on it; return the coloured mesh."""
    places = [
        np.arange(len(v)) if is_categorical else v
        for v, is_categorical in zip(grid.values, grid.categorical, strict=True)
    ]
    drawn = ax.pcolormesh(*places, grid.density, cmap=cmap, shading="nearest")
    rng = np.random.RandomState(0)
    chosen = rng.permutation(len(grid.rows[0]))[:max_rows]
    points = []
    for k in range(2):
        spread = 0.25 * grid.categorical[k]
        jitter = rng.uniform(-spread, spread, len(chosen))
        points.append(grid.rows[k][chosen] + jitter)
    if max_rows:
        ax.scatter(*points, s=6, color="white", edgecolor="black", linewidth=0.4)
    for limits, place in zip((ax.set_xlim, ax.set_ylim), places, strict=True):
        half = (place[1] - place[0]) / 2 if len(place) > 1 else 0.5
        limits(place[0] - half, place[-1] + half)
    name_axis(ax.xaxis, grid.names[0], grid.categories(0))
    name_axis(ax.yaxis, grid.names[1], grid.categories(1))
    return drawn


def label_outer(ax: Any, row: int, column: int, n: int) -> None:
    """Keep the names of columns on the outer axes of a grid of pairs alone."""
    if row < n - 1:
        ax.set_xlabel("")
        ax.tick_params(labelbottom=False)
    if column and row != column:
        ax.set_ylabel("")
        ax.tick_params(labelleft=False)
    elif column:
        ax.set_ylabel("")
