"""The classifier that is attacked, as functions of rows of numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, is_classifier
from sklearn.utils.validation import check_is_fitted

from skebm.tables._checks import check_numbers, columns_text
from skebm.tables._frames import TableFormat
from skebm.tables._seen import see
from skebm.utils import InvalidParameterError

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

#: Advice on columns without numbers, for messages.
AS_NUMBERS = "an adversary moves numbers only; attack a classifier of numeric columns."
#: Largest share of rows on which logits and predictions may disagree.
MAX_DISAGREEMENT = 0.01
#: Logits that differ by no more, as a share of their size, are equal to rounding: ten
#: steps of single precision.
ROUNDING = 10 * torch.finfo(torch.float32).eps


@dataclass(frozen=True, eq=False)
class Victim:
    """A classifier, and how its tables look.

    Attributes
    ----------
    estimator : object
        The classifier.
    format : TableFormat
        Of the table that is attacked.
    logits_of : callable or None
        The logits as torch can differentiate them; None where there are none.
    """

    estimator: Any
    format: TableFormat
    logits_of: Callable[[torch.Tensor], torch.Tensor] | None

    @classmethod
    def of(cls, estimator: Any, X: Any, logits: Any) -> tuple[Self, Array]:
        """Return the classifier, and its table as an array of numbers.

        Raises
        ------
        ValueError
            Where a column holds no numbers, or an entry is missing or infinite.
        """
        seen = see(X)
        check_numbers(seen.values, AS_NUMBERS)
        if seen.is_frame:
            numbers = seen.values.to_numpy(dtype=np.float64, na_value=np.nan)
            table = numbers.copy()  # torch takes no arrays that can't be written
        else:
            table = np.array(_dense(seen.values), dtype=np.float64)
        if not len(table):
            raise ValueError("X must hold at least one row. Got none.")
        bad: NDArray[np.bool_] = np.isfinite(table).min(axis=0, initial=True) < 1
        if bad.any():
            names = seen.values.columns if seen.is_frame else None
            raise ValueError(
                "X must hold finite numbers, as missing entries can't be moved. Got "
                f"NaN or infinity in {columns_text(names, bad)}."
            )
        if not hasattr(estimator, "classes_"):
            if isinstance(estimator, BaseEstimator) and is_classifier(estimator):
                check_is_fitted(estimator)
            raise InvalidParameterError(
                "The 'estimator' parameter must be a fitted classifier, with classes_. "
                f"Got {estimator!r:.80}."
            )
        is_torch = hasattr(estimator, "torch_logits") and logits is None
        logits_of = estimator.torch_logits if is_torch else logits
        return cls(estimator, seen.format.without_labels(), logits_of), table

    def classes_of(self, y: ArrayLike, n_rows: int) -> Indices:
        """Return the class indices of labels.

        Raises
        ------
        ValueError
            Where there is not one label a row, or one is no class of the estimator.
        """
        labels, classes = np.asarray(y), self.estimator.classes_
        if labels.shape != (n_rows,):
            raise ValueError(
                f"y must hold one label for each of the {n_rows} rows of X. Got shape "
                f"{labels.shape}."
            )
        unknown = ~np.isin(labels, classes)
        if unknown.any():
            raise ValueError(
                f"y must hold labels of {np.asarray(classes).tolist()}. Got "
                f"{labels[unknown].tolist()[0]!r}; leave rows without a label out."
            )
        return (labels[:, None] == np.asarray(classes)).argmax(axis=1)

    def predict(self, table: Array) -> Indices:
        """Return the class index that the estimator predicts for each row."""
        predicted = np.asarray(self.estimator.predict(self._written(table)))
        classes = np.asarray(self.estimator.classes_)
        return (predicted[:, None] == classes).argmax(axis=1)

    def scores(self, table: Array) -> Array:
        """Return a score of each class, (n, n_classes), by the best method there is.

        Decision values come before probabilities, which may be rounded to 0 and 1;
        the predicted class alone has score 1 where there is neither.
        """
        estimator, n_classes = self.estimator, len(self.estimator.classes_)
        if hasattr(estimator, "decision_function"):
            decision = np.asarray(estimator.decision_function(self._written(table)))
            if decision.ndim == 1:
                decision = np.stack([-decision, decision], axis=1)
            if decision.shape[1] == n_classes:  # else of pairs of classes
                return decision.astype(np.float64)
        if hasattr(estimator, "predict_proba"):
            return np.asarray(estimator.predict_proba(self._written(table)))
        return np.eye(n_classes)[self.predict(table)]

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of rows on the CPU, float64, wherever the net is."""
        assert self.logits_of is not None
        return self.logits_of(x).cpu().double()

    def check_logits(self, table: Array, predicted: Indices, batch_size: int) -> None:
        """Raise ValueError where logits of rows and predictions disagree.

        A predicted class whose logit is the best one but for rounding agrees.
        """
        if self.logits_of is None:
            return
        n_classes, parts = len(self.estimator.classes_), []
        for rows in torch.from_numpy(table).split(batch_size):
            with torch.no_grad():
                part = self.logits(rows)
            if tuple(part.shape) != (len(rows), n_classes):
                raise InvalidParameterError(
                    f"The 'logits' parameter must return {n_classes} logits for each "
                    f"row. Got shape {tuple(part.shape)} for {len(rows)} rows."
                )
            parts.append(part)
        logits = torch.cat(parts)
        short = logits.amax(dim=1) - logits[torch.arange(len(table)), predicted]
        # At a tie of two classes the logits of the row itself may be but rounding.
        largest = logits.nan_to_num(0.0, 0.0, 0.0).abs().amax(dim=1)
        tied = (short <= ROUNDING * largest.maximum(largest.median())).numpy()
        differ = np.mean((logits.argmax(dim=1).numpy() != predicted) & ~tied)
        if differ > MAX_DISAGREEMENT:
            raise InvalidParameterError(
                "The 'logits' parameter must tell the classes that predict tells, of "
                f"rows in the units of X. Got other classes for {differ:.1%} of rows."
            )

    def _written(self, table: Array) -> Any:
        return self.format.write_numbers(table)


def _dense(values: Any) -> Any:
    return values.toarray() if hasattr(values, "toarray") else values
