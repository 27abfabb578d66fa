"""log Z and outlier scores of a fitted model, computed when first asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from skebm.evaluation import LogNormalizer
from skebm.evaluation.outliers._detector import OutlierDetector
from skebm.references._base import Folds

Array = NDArray[np.float32]


class Calibrated(Protocol):
    """A model that can be calibrated, of a net or of an RBM."""

    def complete_rows(self, rows: Array, seed: int) -> Array:
        """Return the rows with their missing entries drawn from the model."""

    def estimate_log_normalizer(self, rows: Array, seed: int) -> LogNormalizer | None:
        """Return log Z; ``rows`` are of the data, for chains that start there."""

    def fit_outlier_scores(
        self, rows: CalibrationRows, seed: int, known: Any, name: str | None
    ) -> tuple[Any, bool]:
        """Return the outlier scores beside the known ones, and whether none is left.

        Of a name, that score alone. They ask for log Z where they need it.
        """


@dataclass(frozen=True, eq=False)
class CalibrationRows:
    """Rows that log Z and outlier scores are computed from.

    Attributes
    ----------
    train : ndarray of shape (n, n_features)
        Rows that the model was trained on.
    held_out : ndarray of shape (m, n_features) or None
        Rows that it was not trained on.
    trains_reference : bool
        Whether the reference was fitted to ``train`` as well.
    numbers : ndarray of int of shape (n,) or None
        Numbers of the rows of ``train`` in their table, where that is known.
    folds : tuple of (Tensor of int64, Density)
        Numbers of rows of the table, and the reference fitted to the other ones.
    trimmed : ndarray of shape (k, n_features) or None
        Rows that were left out as outliers; as large a share of them as ``train`` and
        ``held_out`` are of the others.
    """

    train: Array
    held_out: Array | None
    trains_reference: bool = False
    numbers: NDArray[np.int64] | None = None
    folds: Folds = ()
    trimmed: Array | None = None

    def sample(self, n_rows: int) -> Array:
        """Return so many rows, held-out ones first."""
        parts = []
        if self.trimmed is not None:  # as many as are their share
            parts.append(self.trimmed[: round(n_rows * self.trimmed_share)])
            n_rows -= len(parts[0])
        parts += [] if self.held_out is None else [self.held_out[:n_rows]]
        n_left = n_rows - (0 if self.held_out is None else len(parts[-1]))
        return np.concatenate([*parts, self.train[:n_left]])

    @property
    def trimmed_share(self) -> float:
        """The share of the rows that were left out as outliers."""
        if self.trimmed is None:
            return 0.0
        n_held_out = 0 if self.held_out is None else len(self.held_out)
        n_trimmed = len(self.trimmed)
        return n_trimmed / (n_trimmed + len(self.train) + n_held_out)

    @property
    def for_estimates(self) -> Array:
        """The held-out rows, or the training rows where none were held out."""
        return self.train if self.held_out is None else self.held_out


class Calibration:
    """log Z and outlier scores, computed at the first question from a fixed seed.

    The rows, and the folds of the reference, are kept until both are known. Threads may
    ask at the same time.

    Parameters
    ----------
    rows : CalibrationRows or None
        Standardised rows, NaN where missing; None where both are known.
    seed : int
        Of every random number.
    sample : ndarray of shape (n, n_features) or None
        Some of the rows, which stay: entries of other rows are compared with theirs.
    """

    def __init__(
        self, rows: CalibrationRows | None, seed: int, sample: Array | None = None
    ) -> None:
        self.seed, self.sample = seed, sample
        self._tails: NDArray[np.float64] | None = None
        self._rows, self._are_complete = rows, False
        self._estimate: LogNormalizer | None = None
        self._is_estimated, self._is_new = False, False
        self._detector: Any = None
        self._has_all_scores = False
        self._lock = threading.RLock()

    def with_folds(self, folds: Folds) -> Calibration:
        """Return this calibration, of which nothing is known, with folds of q0."""
        assert self._rows is not None
        rows = replace(self._rows, folds=folds)
        return Calibration(rows, self.seed, self.sample)

    @property
    def is_complete(self) -> bool:
        """Whether log Z and the outlier scores are both known."""
        return self._is_estimated and self._has_all_scores

    def estimate(self, model: Calibrated) -> LogNormalizer | None:
        """Return the estimate of log Z; None where the model has no normaliser."""
        with self._lock, _any_mode():
            if not self._is_estimated:
                rows = self._complete_rows(model)
                self._estimate = model.estimate_log_normalizer(
                    rows.for_estimates, self.seed
                )
                self._is_estimated, self._is_new = True, True
                self._forget_rows()
            return self._estimate

    def detector(self, model: Calibrated, name: str | None = None) -> Any:
        """Return the outlier scores of the model, with those of calibration rows.

        All of them; of a name at least that one, without log Z if it needs none.
        """
        with self._lock, _any_mode():
            if not self._has_all_scores:
                rows = self._complete_rows(model)
                self._detector, self._has_all_scores = model.fit_outlier_scores(
                    rows, self.seed, self._detector, name
                )
                self._forget_rows()
            return self._detector

    def tails(
        self, tails_of: Callable[[Array], NDArray[np.float64]]
    ) -> NDArray[np.float64] | None:
        """Return how strange each entry of the sample is; None where there is none."""
        with self._lock:
            if self._tails is None and self.sample is not None:
                self._tails = tails_of(self.sample)
            return self._tails

    def take_new_estimate(self) -> LogNormalizer | None:
        """Return an estimate that was made since the last call, else None."""
        with self._lock:
            estimate = self._estimate if self._is_new else None
            self._is_new = False
            return estimate

    def _complete_rows(self, model: Calibrated) -> CalibrationRows:
        assert self._rows is not None
        if not self._are_complete:
            train, held_out = self._rows.train, self._rows.held_out
            if held_out is not None:
                held_out = model.complete_rows(held_out, self.seed)
            trimmed = self._rows.trimmed
            if trimmed is not None:
                trimmed = model.complete_rows(trimmed, self.seed)
            train = model.complete_rows(train, self.seed)
            self._rows = replace(
                self._rows, train=train, held_out=held_out, trimmed=trimmed
            )
            self._are_complete = True
        return self._rows

    def _forget_rows(self) -> None:
        if self.is_complete:
            self._rows = None

    def to_arrays(self) -> dict[str, Any]:
        """Return a finished calibration as arrays, numbers and words."""
        assert self.is_complete
        return {
            "seed": self.seed,
            "log_normalizer": self._estimate and asdict(self._estimate),
            "detector": self._detector.to_arrays(),
        } | ({} if self.sample is None else {"sample": self.sample})

    @classmethod
    def known(
        cls,
        estimate: LogNormalizer | None,
        detector: Any,
        seed: int = 0,
        sample: Array | None = None,
    ) -> Calibration:
        """Return a calibration of which nothing is left to compute."""
        calibration = cls(None, seed, sample)
        calibration._estimate, calibration._detector = estimate, detector
        calibration._is_estimated = calibration._has_all_scores = True
        return calibration

    @classmethod
    def from_arrays(cls, arrays: dict[str, Any], device: Any) -> Calibration:
        """Return the calibration that `to_arrays` described."""
        detector = OutlierDetector.from_arrays(arrays["detector"], device)
        packed = arrays["log_normalizer"]
        estimate = None if packed is None else LogNormalizer(**packed)
        sample = arrays.get("sample")  # earlier states have none
        return cls.known(estimate, detector, arrays["seed"], sample)


@contextmanager
def _any_mode() -> Iterator[None]:
    """Allow gradients, of which chains need some, in whatever mode the caller is."""
    with torch.inference_mode(False), torch.enable_grad():
        yield
