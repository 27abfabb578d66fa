"""Axes to draw in, made by matplotlib where it is installed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Colours of rows, of the model or its draws, and of outliers and events.
ROWS, MODEL, EVENT = "tab:blue", "tab:orange", "tab:red"
#: Letters of categories that fit side by side.
LONG = 18
#: Colours of further curves.
CURVES = ("tab:blue", "tab:orange", "tab:green", "tab:purple", "tab:brown", "tab:pink")


def pyplot(what: str) -> Any:
    """Return matplotlib's pyplot.

    Raises
    ------
    ImportError
        Where matplotlib is not installed, naming ``what`` needs it.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{what} needs matplotlib, which is not installed. Install it with "
            "pip install 'skebm[plot]'."
        ) from error
    return plt


def one_axes(ax: Any, what: str, size: tuple[float, float] = (5.5, 4.0)) -> Any:
    """Return the axes to draw in: new ones of a new figure where ``ax`` is None."""
    if ax is not None:
        return ax
    return pyplot(what).subplots(figsize=size, layout="constrained")[1]


def grid_of_axes(
    ax: Any,
    shape: tuple[int, int],
    what: str,
    size: tuple[float, float],
    **options: Any,
) -> NDArray[Any]:
    """Return axes in rows and columns, of a new figure or in the place of ``ax``.

    Parameters
    ----------
    ax : Axes or None
        Axes of a grid, as ``plt.subplots`` makes them; they are taken apart.
    shape : (int, int)
        Rows and columns.
    what : str
        Who draws, for messages.
    size : (float, float)
        Of the new figure, in inches.
    **options : dict
        Of ``subplots``, such as ``sharex``.
    """
    if ax is None:
        figure = pyplot(what).figure(figsize=size, layout="constrained")
        return np.asarray(figure.subplots(*shape, squeeze=False, **options))
    place = ax.get_subplotspec()
    if place is None:
        raise ValueError(
            f"{what} draws several axes in the place of one: the 'ax' parameter must "
            "be axes of plt.subplots, or None. Got axes that stand freely."
        )
    ax.set_axis_off()
    grid = place.subgridspec(*shape)
    return np.asarray(grid.subplots(squeeze=False, **options))


def name_axis(axis: Any, name: str, categories: NDArray[Any] | None) -> None:
    """Write the name of a column on an axis, and its categories at the ticks."""
    axis.set_label_text(name)
    if categories is not None:
        labels = [str(category) for category in categories]
        axis.set_ticks(range(len(labels)), labels=labels)
        if axis.axis_name == "x" and sum(map(len, labels)) > LONG:
            axis.set_tick_params(labelrotation=30)
            for label in axis.get_ticklabels():
                label.set_ha("right")
