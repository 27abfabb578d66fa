"""The picture of several trainings beside each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Self

from skebm.evaluation.fidelity._table import estimator_name
from skebm.inspection._history import TrainingRecord, in_words
from skebm.inspection._matplotlib import CURVES, one_axes
from skebm.utils import InvalidParameterError


class ObjectiveComparisonDisplay:
    """Held-out scores by epoch of several estimators, for example by objective.

    It is recommended to make it by `from_estimators`.

    Parameters
    ----------
    records : dict of str to TrainingRecord
        What each training has recorded.
    metric : str
        The figure to compare, a held-out score.
    scores : dict of str to float, default=None
        A score of each on other rows.

    Attributes
    ----------
    ax_ : Axes
        Where it is drawn.
    figure_ : Figure
        Its figure.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skebm import EBMDensityEstimator
    >>> from skebm.inspection import ObjectiveComparisonDisplay
    >>> X, _ = load_iris(return_X_y=True)
    >>> models = {
    ...     name: EBMDensityEstimator(name, reference="gaussian", max_iter=2).fit(X)
    ...     for name in ("nce", "stratified_nce")
    ... }
    >>> display = ObjectiveComparisonDisplay.from_estimators(models)
    >>> [text.get_text() for text in display.ax_.get_legend().get_texts()]
    ['nce', 'stratified_nce']
    """

    def __init__(
        self,
        records: Mapping[str, TrainingRecord],
        metric: str,
        scores: Mapping[str, float] | None = None,
    ) -> None:
        self.records = records
        self.metric = metric
        self.scores = scores

    @classmethod
    def from_estimators(
        cls,
        estimators: Mapping[str, Any] | Sequence[Any],
        X: Any = None,
        *,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the held-out scores of fitted estimators.

        Parameters
        ----------
        estimators : dict of str to estimator, or sequence of estimators
            Fitted with held-out rows (``early_stopping=True``), to the same rows. Those
            of a sequence are named by their objectives.
        X : array-like of shape (n_samples, n_features), default=None
            Other rows, whose mean score the legend gives.
        ax : Axes, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Of `plot`.

        Returns
        -------
        display : ObjectiveComparisonDisplay

        Raises
        ------
        ValueError
            Where there is no held-out score that all of them have.
        """
        if not isinstance(estimators, Mapping):
            estimators = named(estimators)
        records = {name: TrainingRecord.of(e) for name, e in estimators.items()}
        common = shared_metrics(records)
        if not common:
            watched = {name: record.held_out for name, record in records.items()}
            raise InvalidParameterError(
                "The 'estimators' parameter must hold estimators that share a held-out "
                f"score. Got {watched}."
            )
        scores = None
        if X is not None:
            scores = {name: float(e.score(X)) for name, e in estimators.items()}
        return cls(records, common[0], scores).plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> Self:
        """Draw a curve for each estimator, and a dot at the epoch that was kept.

        A dot at epoch 0 has the first epoch's height: the bare reference was kept.

        Parameters
        ----------
        ax : Axes, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Of matplotlib's ``plot``.

        Returns
        -------
        self : ObjectiveComparisonDisplay
        """
        self.ax_ = one_axes(ax, type(self).__name__)
        self.figure_ = self.ax_.figure
        for i, (name, record) in enumerate(self.records.items()):
            label = name if self.scores is None else f"{name} ({self.scores[name]:.3f})"
            values, color = record.figures[self.metric], CURVES[i % len(CURVES)]
            style = {"color": color, "label": label} | kwargs
            self.ax_.plot(record.epochs, values, **style)
            if record.best_epoch is not None:
                height = values[max(0, record.best_epoch - 1)]
                self.ax_.plot(record.best_epoch, height, "o", color=color)
        self.ax_.set_xlabel("epoch (dot: kept)")
        self.ax_.xaxis.get_major_locator().set_params(integer=True)
        self.ax_.set_ylabel(in_words(self.metric))
        self.ax_.legend(title=None if self.scores is None else "score on other rows")
        return self


def named(estimators: Sequence[Any]) -> dict[str, Any]:
    """Return estimators by the names of their objectives, numbered where these meet."""
    names = [
        estimator_name(getattr(estimator, "objective_", estimator))
        for estimator in estimators
    ]
    seen: Counter[str] = Counter()
    result = {}
    for name, estimator in zip(names, estimators, strict=True):
        seen[name] += 1
        result[f"{name} {seen[name]}" if names.count(name) > 1 else name] = estimator
    return result


def shared_metrics(records: Mapping[str, TrainingRecord]) -> list[str]:
    """Return the held-out scores that all trainings have."""
    found = [record.held_out for record in records.values()]
    return [name for name in found[0] if all(name in n for n in found)] if found else []
