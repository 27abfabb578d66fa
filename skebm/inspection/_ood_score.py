"""The picture of outlier scores."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from skebm.evaluation import detection
from skebm.evaluation.metrics._detection import checked_scores
from skebm.inspection._density_grid import shown_range
from skebm.inspection._matplotlib import MODEL, ROWS, one_axes


class OODScoreDisplay:
    """Histograms of outlier scores, with the threshold.

    It is recommended to make it by `from_estimator` or `from_predictions`.

    Parameters
    ----------
    normal : ndarray of shape (n,)
        Scores of normal rows; higher is more normal.
    outliers : ndarray of shape (m,) or None, default=None
        Scores of outliers.
    threshold : float or None, default=None
        Rows below it are called outliers.
    detection : skebm.evaluation.Detection or None, default=None
        AUROC, average precision and FPR95; None without outliers.
    names : (str, str), default=("normal", "outliers")
        What the rows are.

    Attributes
    ----------
    ax_ : Axes
        Where it is drawn.
    figure_ : Figure
        Its figure.

    Examples
    --------
    >>> from skebm.inspection import OODScoreDisplay
    >>> display = OODScoreDisplay.from_predictions([3.0, 2.0, 1.0], [0.0, 1.5])
    >>> display.detection.auroc
    0.8333333333333334
    """

    def __init__(
        self,
        normal: Any,
        outliers: Any = None,
        threshold: float | None = None,
        detection: Any = None,
        names: tuple[str, str] = ("normal", "outliers"),
    ) -> None:
        self.normal = normal
        self.outliers = outliers
        self.threshold = threshold
        self.detection = detection
        self.names = names

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        X_outliers: Any = None,
        *,
        names: tuple[str, str] = ("normal", "outliers"),
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Score rows by a fitted estimator, and draw the scores.

        Parameters
        ----------
        estimator : estimator
            Fitted, with ``ood_scores`` and ``offset_``; or, as scikit-learn's detectors
            are, with ``score_samples`` and ``offset_``.
        X : array-like of shape (n_samples, n_features)
            Normal rows that `fit` has not seen.
        X_outliers : array-like of shape (n_outliers, n_features), default=None
            Outliers.
        names : (str, str), default=("normal", "outliers")
            What the rows are.
        ax : Axes, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Of `plot`.

        Returns
        -------
        display : OODScoreDisplay
        """
        score = getattr(estimator, "ood_scores", None) or estimator.score_samples
        return cls.from_predictions(
            score(X),
            None if X_outliers is None else score(X_outliers),
            threshold=getattr(estimator, "offset_", None),
            names=names,
            ax=ax,
            **kwargs,
        )

    @classmethod
    def from_predictions(
        cls,
        normal: ArrayLike,
        outliers: ArrayLike | None = None,
        *,
        threshold: float | None = None,
        names: tuple[str, str] = ("normal", "outliers"),
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw scores.

        Parameters
        ----------
        normal : array-like of shape (n,)
            Scores of normal rows; higher is more normal.
        outliers : array-like of shape (m,), default=None
            Scores of outliers.
        threshold : float, default=None
            Rows below it are called outliers.
        names : (str, str), default=("normal", "outliers")
            What the rows are.
        ax : Axes, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Of `plot`.

        Returns
        -------
        display : OODScoreDisplay

        Raises
        ------
        ValueError
            Where there are no scores, or they hold NaN.
        """
        scores = checked_scores("normal", normal)
        others = None if outliers is None else checked_scores("outliers", outliers)
        found = None if others is None else detection(scores, others)
        return cls(scores, others, threshold, found, names).plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, *, bins: int = 40) -> Self:
        """Draw the histograms.

        Parameters
        ----------
        ax : Axes, default=None
            Where to draw; None makes a figure.
        bins : int, default=40
            Number of bins.

        Returns
        -------
        self : OODScoreDisplay
        """
        self.ax_ = one_axes(ax, type(self).__name__)
        self.figure_ = self.ax_.figure
        parts = [self.normal] if self.outliers is None else [self.normal, self.outliers]
        together = np.concatenate(parts)
        low, high = shown_range(together[np.isfinite(together)])
        edges = np.linspace(low, high, bins + 1)
        for x, name, color in zip(parts, self.names, (ROWS, MODEL), strict=False):
            # Scores outside, infinite ones too, are in the first and last bins.
            shares = np.histogram(x.clip(low, high), edges)[0] / len(x)
            label = f"{name} ({len(x)})"
            if self.threshold is not None:
                below = (x < self.threshold).mean()
                label = f"{name} ({len(x)}; {below:.1%} below the threshold)"
            self.ax_.stairs(
                shares, edges, fill=True, color=color, alpha=0.5, label=label
            )
        if self.threshold is not None:
            label = f"threshold {self.threshold:.3g}"
            self.ax_.axvline(self.threshold, color="black", linestyle="--", label=label)
        self.ax_.set_xlabel("outlier score (higher is more normal)")
        self.ax_.set_ylabel("share of the rows")
        if self.detection is not None:
            self.ax_.set_title(
                f"AUROC {self.detection.auroc:.3f}, FPR95 {self.detection.fpr95:.3f}"
            )
        self.ax_.set_ylim(top=1.25 * self.ax_.get_ylim()[1])  # room for the legend
        self.ax_.legend(fontsize="small", loc="upper left")
        return self
