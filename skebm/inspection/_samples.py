"""The picture of draws beside rows."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from skebm.evaluation.fidelity._table import ShownTable, all_categories, draw_table
from skebm.evaluation.fidelity._two_sample import auc_of_tables
from skebm.inspection._density import label_outer
from skebm.inspection._density_grid import shown_range
from skebm.inspection._matplotlib import (
    MODEL,
    ROWS,
    grid_of_axes,
    name_axis,
)

#: Columns whose pairs are drawn, where none are named.
N_COLUMNS = 5
N_DRAWS = 1000
MAX_POINTS = 400


class SamplesDisplay:
    """Draws beside rows: pairs of columns, and how well a forest tells them apart.

    It is recommended to make it by `from_estimator` or `from_samples`; images are
    drawn by `ImagesDisplay`.

    Parameters
    ----------
    rows, draws : ShownTable
        Tables of the same columns.
    columns : list of int
        The columns to draw.
    auc : float
        Area under the ROC curve of a classifier of draws and rows, over all columns;
        see `two_sample_auc`.

    Attributes
    ----------
    axes_ : ndarray of Axes of shape (n_columns, n_columns)
        Where pairs are drawn.
    figure_ : Figure
        Their figure.

    See Also
    --------
    ImagesDisplay : Draws that are images.
    DensityDisplay : Densities of columns and of pairs.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skebm import EBMDensityEstimator
    >>> from skebm.inspection import SamplesDisplay
    >>> X = load_iris(as_frame=True).data.iloc[::2, 2:]
    >>> model = EBMDensityEstimator(
    ...     reference="gaussian", normalizer="importance", max_iter=1
    ... ).fit(X)
    >>> display = SamplesDisplay.from_estimator(model, X, random_state=0)
    >>> 0.5 < display.auc < 1  # one Gaussian for three species
    True
    """

    def __init__(
        self, rows: ShownTable, draws: ShownTable, columns: list[int], auc: float
    ) -> None:
        self.rows = rows
        self.draws = draws
        self.columns = columns
        self.auc = auc

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        columns: Any = None,
        *,
        n_samples: int | None = None,
        random_state: int = 0,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw from a fitted estimator, and show the draws beside rows.

        Parameters
        ----------
        estimator : estimator
            Fitted, with ``sample``.
        X : array-like of shape (n_samples, n_features)
            Rows, preferably ones that `fit` has not seen.
        columns : name, int or sequence of these, default=None
            Columns to draw. None takes the first five.
        n_samples : int, default=None
            Number of draws; None takes as many as rows, at most 1000.
        random_state : int, default=0
            Seed of draws and of the classifier.
        ax : Axes, default=None
            In whose place to draw; None makes a figure.
        **kwargs : dict
            Of `plot`.

        Returns
        -------
        display : SamplesDisplay
        """
        table = ShownTable.of(X, estimator)
        n = min(N_DRAWS, len(table)) if n_samples is None else n_samples
        draws = draw_table(estimator, table, n, random_state)
        return cls._of_tables(table, draws, columns, random_state, ax, kwargs)

    @classmethod
    def from_samples(
        cls,
        X: Any,
        draws: Any,
        columns: Any = None,
        *,
        random_state: int = 0,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Show draws, of whatever model, beside rows.

        Parameters
        ----------
        X, draws : array-like of shape (n, n_features) and (m, n_features)
            Rows and draws.
        columns, random_state, ax, **kwargs
            As in `from_estimator`.

        Returns
        -------
        display : SamplesDisplay
        """
        table = ShownTable.of(X)
        like = table.like(draws)
        return cls._of_tables(table, like, columns, random_state, ax, kwargs)

    @classmethod
    def _of_tables(
        cls,
        rows: ShownTable,
        draws: ShownTable,
        columns: Any,
        random_state: int,
        ax: Any,
        options: dict[str, Any],
    ) -> Self:
        if columns is None:
            columns = list(range(min(N_COLUMNS, rows.n_features)))
        chosen = rows.indices(columns, rows.n_features, "columns")
        auc = auc_of_tables(rows, draws, random_state)
        return cls(rows, draws, chosen, auc).plot(ax=ax, **options)

    def plot(self, ax: Any = None, *, max_points: int = MAX_POINTS) -> Self:
        """Draw histograms of columns, and points of pairs.

        The AUC of the classifier is in the corner.

        Parameters
        ----------
        ax : Axes, default=None
            In whose place to draw; None makes a figure.
        max_points : int, default=400
            Rows, and draws, that are drawn as points.

        Returns
        -------
        self : SamplesDisplay
        """
        n = len(self.columns)
        size = (1.2 + 2.0 * n, 1.4 + 1.8 * n)
        self.axes_ = grid_of_axes(ax, (n, n), type(self).__name__, size)
        self.figure_ = self.axes_[0, 0].figure
        values = [self._values(j) for j in self.columns]
        categories = [self._categories(j) for j in self.columns]
        names = [self.rows.names[j] for j in self.columns]
        for (row, column), axes in np.ndenumerate(self.axes_):
            if row < column:
                axes.set_axis_off()
                continue
            if row == column:
                draw_histograms(axes, *values[row], categories[row])
            else:
                draw_points(
                    axes,
                    list(zip(values[column], values[row], strict=True)),
                    (categories[column], categories[row]),
                    max_points,
                )
                name_axis(axes.yaxis, names[row], categories[row])
            name_axis(axes.xaxis, names[column], categories[column])
            label_outer(axes, row, column, n)
        self.axes_[0, 0].set_ylabel("share")
        self.axes_[0, 0].legend(fontsize="small")
        corner = self.axes_[0, -1]
        if n == 1:
            corner.set_title(f"two-sample AUC {self.auc:.2f}")
            return self
        text = f"two-sample\nAUC {self.auc:.2f}\n(0.5: alike)"
        corner.text(0.5, 0.5, text, ha="center", va="center")
        return self

    def _categories(self, j: int) -> NDArray[Any] | None:
        if not self.rows.is_categorical[j]:
            return None
        return all_categories(self.rows, self.draws, j)

    def _values(self, j: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return a column of rows and of draws, with places for categories."""
        categories = self._categories(j)
        if categories is None:
            return self.rows.numbers(j), self.draws.numbers(j)
        return self.rows.codes(j, categories), self.draws.codes(j, categories)


def draw_histograms(
    ax: Any,
    rows: NDArray[np.float64],
    draws: NDArray[np.float64],
    categories: NDArray[Any] | None,
) -> None:
    """Draw how often values of a column are, in rows and in draws."""
    if categories is None:
        bins: Any = np.linspace(*shown_range(rows[np.isfinite(rows)]), 26)
    else:
        bins = np.arange(len(categories) + 1) - 0.5
    for column, color, label in ((rows, ROWS, "rows"), (draws, MODEL, "draws")):
        x = column[~np.isnan(column)]
        shares = np.histogram(x, bins)[0] / max(1, len(x))
        ax.stairs(shares, bins, fill=True, color=color, alpha=0.25)
        ax.stairs(shares, bins, color=color, label=label)


def draw_points(
    ax: Any,
    pairs: list[tuple[NDArray[np.float64], NDArray[np.float64]]],
    categories: tuple[NDArray[Any] | None, NDArray[Any] | None],
    max_points: int,
) -> None:
    """Draw points of rows and of draws, within the range of the rows."""
    rng = np.random.RandomState(0)
    for points, color in zip(pairs, (ROWS, MODEL), strict=True):
        chosen = rng.permutation(len(points[0]))[:max_points]
        spread = [0.3 * (c is not None) for c in categories]
        x, y = (
            p[chosen] + rng.uniform(-s, s, len(chosen))
            for p, s in zip(points, spread, strict=True)
        )
        ax.scatter(x, y, s=5, color=color, alpha=0.5, linewidth=0)
    for limits, of_rows, names in zip(
        (ax.set_xlim, ax.set_ylim), pairs[0], categories, strict=True
    ):
        if names is None:
            limits(*shown_range(of_rows[np.isfinite(of_rows)]))
        else:
            limits(-0.5, len(names) - 0.5)
