"""The picture of how far probabilities are frequencies."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from skebm.evaluation import expected_calibration_error
from skebm.evaluation.fidelity._table import estimator_name
from skebm.evaluation.metrics._calibration import reliability_bins
from skebm.inspection._matplotlib import CURVES, one_axes
from skebm.tables import UNLABELED, encode_known


class ReliabilityDisplay:
    """Accuracy against confidence, in bins of equal mass, with the calibration error.

    It is recommended to make it by `from_estimator` or `from_predictions`.

    Parameters
    ----------
    confidence, accuracy : ndarray of shape (n_bins,)
        Mean probability of the most probable class, and the share of rows that are of
        it.
    n_rows : ndarray of int of shape (n_bins,)
        Rows of each bin.
    error : float
        The expected calibration error; see
        `skebm.evaluation.expected_calibration_error`.
    name : str, default="classifier"
        Name in the legend.

    Attributes
    ----------
    ax_ : Axes
        Where it is drawn.
    figure_ : Figure
        Its figure.

    Examples
    --------
    >>> from skebm.inspection import ReliabilityDisplay
    >>> display = ReliabilityDisplay.from_predictions(
    ...     [0, 0, 1, 1], [[0.75, 0.25]] * 4, n_bins=1
    ... )
    >>> display.error, display.accuracy.tolist()
    (0.25, [0.5])
    """

    def __init__(
        self,
        confidence: Any,
        accuracy: Any,
        n_rows: Any,
        error: float,
        name: str = "classifier",
    ) -> None:
        self.confidence = confidence
        self.accuracy = accuracy
        self.n_rows = n_rows
        self.error = error
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike,
        *,
        n_bins: int = 15,
        name: str | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Compare a fitted classifier's probabilities with labels.

        Parameters
        ----------
        estimator : classifier
            Fitted, with ``predict_proba`` and ``classes_``.
        X : array-like of shape (n_samples, n_features)
            Rows that `fit` has not seen.
        y : array-like of shape (n_samples,)
            Their labels; unlabelled rows are left out.
        n_bins : int, default=15
            Number of bins.
        name : str, default=None
            Name in the legend; None takes that of the class.
        ax : Axes, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Of `plot`.

        Returns
        -------
        display : ReliabilityDisplay
        """
        labels = np.asarray(y)
        marker = getattr(estimator, "unlabeled", None)
        index = encode_known(labels, marker, np.asarray(estimator.classes_))
        known = index != UNLABELED  # labels of no class are refused below
        return cls.from_predictions(
            labels[known],
            np.asarray(estimator.predict_proba(X))[known],
            classes=estimator.classes_,
            n_bins=n_bins,
            name=name or estimator_name(estimator),
            ax=ax,
            **kwargs,
        )

    @classmethod
    def from_predictions(
        cls,
        y: ArrayLike,
        probability: ArrayLike,
        *,
        classes: ArrayLike | None = None,
        n_bins: int = 15,
        name: str = "classifier",
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Compare probabilities with labels.

        Parameters
        ----------
        y : array-like of shape (n_samples,)
            Labels.
        probability : array-like of shape (n_samples, n_classes)
            p(y|x).
        classes : array-like of shape (n_classes,), default=None
            Label of each column; None takes 0, 1, ...
        n_bins : int, default=15
            Number of bins.
        name : str, default="classifier"
            Name in the legend.
        ax : Axes, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Of `plot`.

        Returns
        -------
        display : ReliabilityDisplay
        """
        error = expected_calibration_error(y, probability, n_bins, classes=classes)
        bins = reliability_bins(y, probability, n_bins, classes=classes)
        return cls(*bins, error, name).plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> Self:
        """Draw the curve; the area of a dot is the number of its rows.

        Parameters
        ----------
        ax : Axes, default=None
            Where to draw; None makes a figure. Axes that hold another curve take this
            one too.
        **kwargs : dict
            Of matplotlib's ``plot``.

        Returns
        -------
        self : ReliabilityDisplay
        """
        self.ax_ = one_axes(ax, type(self).__name__, (4.6, 4.4))
        self.figure_ = self.ax_.figure
        n_curves = len(self.ax_.get_lines())
        if not n_curves:
            self.ax_.plot([0, 1], [0, 1], color="gray", linestyle=":", label="exact")
            n_curves = 1
        style = {
            "color": CURVES[(n_curves - 1) % len(CURVES)],
            "label": f"{self.name} (calibration error {self.error:.3f})",
        }
        (line,) = self.ax_.plot(self.confidence, self.accuracy, **(style | kwargs))
        sizes = 150 * self.n_rows / self.n_rows.max()
        self.ax_.scatter(
            self.confidence, self.accuracy, s=sizes, color=line.get_color(), alpha=0.6
        )
        low = max(0.0, min(self.confidence.min(), self.accuracy.min()) - 0.05)
        low = min(low, self.ax_.get_xlim()[0] if n_curves > 1 else 1.0)
        self.ax_.set_xlim(low, 1.02)
        self.ax_.set_ylim(low, 1.02)
        self.ax_.set_xlabel("mean confidence")
        self.ax_.set_ylabel("accuracy")
        self.ax_.legend(fontsize="small", loc="lower right")
        return self
