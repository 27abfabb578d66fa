"""The picture of which column makes a row strange."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skebm.inspection._matplotlib import EVENT, one_axes

#: Rows, one of which is as strange: from the least that is worth a colour to the most.
STRANGE, MOST = 100.0, 1e6
#: What is written on the axis; rarer entries end there, too.
TICKS = [1, 100, 10_000, MOST], ["1", "100", "10,000", "1,000,000\nor more"]


class ExplanationDisplay:
    """Which entries of rows are strange, given the other ones of their row.

    One row has a bar for each column; more rows make a map. It is recommended to make
    it by `from_estimator` or `from_explanation`.

    Parameters
    ----------
    explanation : DataFrame
        As ``explain`` of an estimator returns it.

    Attributes
    ----------
    one_in : DataFrame of shape (n_rows, n_columns)
        One row in so many has so strange an entry: 1 / "tail_probability", at most
        1e6; 1 where an entry is missing.
    ax_ : Axes
        Where it is drawn.
    figure_ : Figure
        Its figure.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skebm import EBMDensityEstimator
    >>> from skebm.inspection import ExplanationDisplay
    >>> X, _ = load_iris(return_X_y=True, as_frame=True)
    >>> model = EBMDensityEstimator(reference="gaussian", max_iter=1).fit(X)
    >>> strange = X[:1].assign(**{"petal length (cm)": 5.0})
    >>> display = ExplanationDisplay.from_estimator(model, strange)
    >>> display.one_in.iloc[0].idxmax()
    'petal length (cm)'
    """

    def __init__(self, explanation: pd.DataFrame) -> None:
        self.explanation = explanation
        self.one_in = one_in_so_many(explanation)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        calibration: Any = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Explain rows by a fitted estimator, and draw what it says.

        Parameters
        ----------
        estimator : estimator
            Fitted, with ``explain``.
        X : array-like of shape (n_samples, n_features)
            Rows; a few.
        calibration : array-like of shape (n, n_features), default=None
            Normal rows, as ``explain`` takes them.
        ax : Axes, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Of `plot`.

        Returns
        -------
        display : ExplanationDisplay
        """
        found = estimator.explain(X, calibration=calibration)
        return cls.from_explanation(found, ax=ax, **kwargs)

    @classmethod
    def from_explanation(
        cls, explanation: pd.DataFrame, *, ax: Any = None, **kwargs: Any
    ) -> Self:
        """Draw an explanation.

        Parameters
        ----------
        explanation : DataFrame
            As ``explain`` of an estimator returns it, or some rows of it.
        ax : Axes, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Of `plot`.

        Returns
        -------
        display : ExplanationDisplay
        """
        return cls(explanation).plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, *, cmap: str = "Oranges") -> Self:
        """Draw bars for one row, or a map for more.

        Parameters
        ----------
        ax : Axes, default=None
            Where to draw; None makes a figure.
        cmap : str, default="Oranges"
            Colours of a map.

        Returns
        -------
        self : ExplanationDisplay
        """
        n_rows, n_columns = self.one_in.shape
        if n_rows == 1:
            size = (6.5, 1.4 + 0.32 * n_columns)
            self.ax_ = one_axes(ax, type(self).__name__, size)
            self._draw_bars(self.ax_)
        else:
            size = (2.5 + 0.5 * n_columns, 2.0 + 0.3 * n_rows)
            self.ax_ = one_axes(ax, type(self).__name__, size)
            self._draw_map(self.ax_, cmap)
        self.figure_ = self.ax_.figure
        return self

    def _draw_bars(self, ax: Any) -> None:
        values = self.one_in.to_numpy()[0]
        names = [str(column) for column in self.one_in.columns]
        colors = np.where(values > STRANGE, EVENT, "lightgray").tolist()
        ax.barh(names, values, color=colors, alpha=0.6)
        for k, entry in enumerate(self.explanation.itertuples()):
            ax.text(1.2, k, entry_text(entry), va="center", fontsize="small")
        ax.set_xscale("log")
        ax.set_xlim(1, MOST)
        ax.set_xticks(*TICKS)
        ax.minorticks_off()
        ax.invert_yaxis()
        ax.set_xlabel("one row in so many has so strange an entry, given the others")
        ax.set_title(f"row {self.one_in.index[0]}: value (expected given the others)")

    def _draw_map(self, ax: Any, cmap: str) -> None:
        levels = np.log10(self.one_in.to_numpy())
        drawn = ax.imshow(levels, cmap=cmap, vmin=0, vmax=np.log10(MOST), aspect="auto")
        names = [str(column) for column in self.one_in.columns]
        ax.set_xticks(range(len(names)), labels=names, rotation=45, ha="right")
        rows = [str(label) for label in self.one_in.index]
        ax.set_yticks(range(len(rows)), labels=rows)
        ax.set_ylabel("row")
        bar = ax.figure.colorbar(drawn, ax=ax, label="one row in so many is so strange")
        bar.set_ticks(np.log10(TICKS[0]), labels=TICKS[1])


def one_in_so_many(explanation: pd.DataFrame) -> pd.DataFrame:
    """Return 1 / "tail_probability" of each entry, a line for each row."""
    tail = explanation["tail_probability"].to_numpy(dtype=float)
    columns = explanation.index.get_level_values("column")
    names = columns[: number_of_columns(columns)]
    n_columns = len(names)
    labels = explanation.index.get_level_values("row")[::n_columns]
    values: NDArray[np.float64] = np.clip(1 / np.maximum(tail, 1e-300), 1.0, MOST)
    values = np.where(np.isnan(tail), 1.0, values).reshape(-1, n_columns)
    return pd.DataFrame(values, index=labels, columns=names)


def number_of_columns(columns: pd.Index) -> int:
    """Return after how many entries the columns begin anew."""
    again = np.flatnonzero(np.asarray(columns == columns[0]))
    return int(again[1]) if len(again) > 1 else len(columns)


def entry_text(entry: Any) -> str:
    """Return the value of an entry and what was expected, in words."""
    if pd.isna(entry.value):
        return "missing"
    value = shown(entry.value)
    if pd.isna(entry.lower):
        return f"{value}  ({shown(entry.expected)})"
    return f"{value}  ({shown(entry.lower)} to {shown(entry.upper)})"


def shown(value: Any) -> str:
    """Return a value in three digits, or a category as it is."""
    is_number = isinstance(value, float | np.floating)
    return f"{value:.3g}" if is_number else str(value)
