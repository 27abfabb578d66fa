"""The picture of a training."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, Self

from skebm.inspection._history import TrainingRecord, in_words
from skebm.inspection._matplotlib import EVENT, MODEL, ROWS, grid_of_axes
from skebm.utils import InvalidParameterError


class TrainingDisplay:
    """Losses, energies and held-out scores by epoch, and the epoch that was kept.

    It is recommended to make it by `from_estimator`.

    Parameters
    ----------
    record : TrainingRecord
        What training has recorded: ``figures``, ``best_epoch``, ``rollbacks``.

    Attributes
    ----------
    axes_ : ndarray of Axes
        One for each figure.
    figure_ : Figure
        Theirs.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skebm import EBMDensityEstimator
    >>> from skebm.inspection import TrainingDisplay
    >>> X, _ = load_iris(return_X_y=True)
    >>> model = EBMDensityEstimator(reference="gaussian", max_iter=3).fit(X)
    >>> display = TrainingDisplay.from_estimator(model)
    >>> [ax.get_ylabel() for ax in display.axes_]
    ['held-out log likelihood', 'energy loss']
    """

    def __init__(self, record: TrainingRecord) -> None:
        self.record = record

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        names: Sequence[str] | None = None,
        ax: Any = None,
    ) -> Self:
        """Draw what a fitted estimator's ``history_`` tells of its training.

        Parameters
        ----------
        estimator : estimator
            Fitted, with ``history_``.
        names : sequence of str, default=None
            Figures of ``history_`` to draw. None takes held-out scores, losses and
            energies.
        ax : Axes, default=None
            In whose place to draw; None makes a figure.

        Returns
        -------
        display : TrainingDisplay

        Raises
        ------
        TypeError
            Where the estimator has no ``history_``.
        """
        return cls(TrainingRecord.of(estimator)).plot(ax=ax, names=names)

    def plot(self, ax: Any = None, *, names: Sequence[str] | None = None) -> Self:
        """Draw a panel for each figure.

        The epoch is kept whose held-out log-likelihood is best after the standard error
        of its gain over the reference is taken off; the faint curve shows that.
        A dashed line marks the epoch whose state was kept, red ones the epochs after
        which the guard went back to an earlier state.

        Parameters
        ----------
        ax : Axes, default=None
            In whose place to draw; None makes a figure.
        names : sequence of str, default=None
            As in `from_estimator`.

        Returns
        -------
        self : TrainingDisplay

        Raises
        ------
        ValueError
            Where a name is no figure of ``history_``.
        """
        record = self.record
        if names is None:
            names = [*record.held_out, *record.losses, *record.energies]
        if not names or (unknown := [n for n in names if n not in record.figures]):
            got = "no names" if not names else ", ".join(map(repr, unknown))
            raise InvalidParameterError(
                "The 'names' parameter must hold names of history_, "
                f"{', '.join(sorted(record.figures))}. Got {got}."
            )
        n = len(names)
        grid = grid_of_axes(
            ax, (n, 1), type(self).__name__, (6.0, 1.2 + 1.7 * n), sharex=True
        )
        self.axes_ = grid[:, 0]
        self.figure_ = self.axes_[0].figure
        for axes, name in zip(self.axes_, names, strict=True):
            color = MODEL if name in record.held_out else ROWS
            is_compared = name == "validation_log_likelihood"
            is_compared = is_compared and record.compared is not None
            label = "mean over rows" if is_compared else None
            figure = record.figures[name]
            axes.plot(record.epochs, figure, color=color, marker=".", label=label)
            axes.set_ylabel(in_words(name))
            if is_compared:
                axes.plot(
                    record.epochs,
                    record.compared,
                    color=color,
                    alpha=0.5,
                    linestyle="--",
                    label="less a standard error",
                )
            self._mark(axes)
        self.axes_[-1].set_xlabel("epoch")
        self.axes_[-1].xaxis.get_major_locator().set_params(integer=True)
        self.axes_[0].set_title("\n".join(textwrap.wrap(record.verdict(), 60)))
        if record.best_epoch is not None or record.rollbacks:
            self.axes_[0].legend(fontsize="small")
        return self

    def _mark(self, axes: Any) -> None:
        """Draw lines at the kept epoch and where the guard went back."""
        if self.record.best_epoch is not None:
            axes.axvline(
                self.record.best_epoch, color="black", linestyle="--", label="kept"
            )
        for i, epoch in enumerate(self.record.rollbacks):
            label = "back to an earlier state" if i == 0 else None
            axes.axvline(epoch, color=EVENT, linestyle=":", label=label)
