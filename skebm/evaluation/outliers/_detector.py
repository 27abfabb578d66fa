"""Outlier scores of a fitted model with thresholds and conformal p-values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from skebm.evaluation._false_discovery import conditional_p_values
from skebm.evaluation.metrics._detection import checked_scores
from skebm.evaluation.outliers import OOD_SCORES
from skebm.evaluation.outliers._auto import Auto
from skebm.evaluation.outliers._score import (
    ENOUGH_HELD_OUT,
    OODScore,
    ScoredModel,
)
from skebm.exceptions import CalibrationWarning
from skebm.utils import make_generator, to_numpy_tree, to_tensor_tree, warn_user

#: Applies a function of standardised tensors, (n, n_features) -> (n,), to an array.
ScoreRows = Callable[[Callable[[Tensor], Tensor], NDArray[np.float32]], NDArray[Any]]

#: Least score of a row that was left out as an outlier.
LOWEST = -1e300
#: Tukey's fence, in interquartile ranges below the lower quartile.
FENCE = 1.5


def threshold(scores: NDArray[np.float64], contamination: float | str) -> float:
    r"""Return the score below which a row is an outlier, from scores of normal rows.

    It is their quantile at ``contamination``, between the order statistics about
    (n + 1) times it, so that a new row of their distribution scores below with this
    probability: an ordinary quantile lies higher. Or, for "auto", Tukey's lower fence

    .. math:: Q_{1/4} - 1.5 \, (Q_{3/4} - Q_{1/4})

    which far outliers do not move as long as they are fewer than a quarter.
    """
    if contamination != "auto":
        return float(np.quantile(scores, float(contamination), method="weibull"))
    low, high = np.quantile(scores, [0.25, 0.75])
    return float(low - FENCE * (high - low))


def conformal_p_values(
    scores: ArrayLike, calibration: ArrayLike
) -> NDArray[np.float64]:
    r"""Return conformal p-values of scores, by those of calibration rows.

    .. math:: p = \frac{1 + \#\{i: s_i \le s\}}{1 + n}

    That is the chance of a score as low, were the row exchangeable with those rows.
    Where the n calibration rows had no part in the making of the score and the row is
    exchangeable with them, :math:`P(p \le \alpha) \le \alpha` for every
    :math:`\alpha`, whatever the score.

    Parameters
    ----------
    scores : array-like of shape (m,)
        Scores of rows, higher is more normal.
    calibration : array-like of shape (n,)
        Scores of the calibration rows.

    Returns
    -------
    p_values : ndarray of shape (m,)
        float64, from 1 / (n + 1) to 1.

    References
    ----------
    Vovk, Gammerman, Shafer. Algorithmic learning in a random world. Springer, 2005.
    Bates et al. Testing for outliers with conformal p-values. Annals of Statistics 51,
    2023.

    Examples
    --------
    >>> from skebm.evaluation import conformal_p_values
    >>> conformal_p_values([-9.0, 2.0], calibration=[1.0, 2.0, 3.0])
    array([0.25, 0.75])
    """
    ordered = np.sort(checked_scores("calibration", calibration))
    n_as_low = np.searchsorted(ordered, checked_scores("scores", scores), side="right")
    return np.asarray((1 + n_as_low) / (1 + len(ordered)), np.float64)


def warn_if_unresolved(contamination: float | str, n_rows: int) -> None:
    """Warn of a share of outliers that is too small for the calibration rows."""
    finest = 1 / (n_rows + 1)
    if contamination == "auto" or float(contamination) >= finest:
        return
    warn_user(
        f"contamination={contamination} is too small for {n_rows} calibration rows: "
        f"the least share, and p-value, is 1 / {n_rows + 1} = {finest:.2g}. The "
        "threshold is their lowest score.",
        CalibrationWarning,
    )


@dataclass(frozen=True, eq=False)
class CalibrationScores:
    """Scores of rows that new rows are compared with.

    Attributes
    ----------
    values : ndarray of shape (n,)
        The scores, float64.
    are_left_out : bool, default=True
        Whether they are as if the model had not been trained on the rows.
    """

    values: NDArray[np.float64]
    are_left_out: bool = True

    def threshold(self, contamination: float | str) -> float:
        """Return the score below which a row is an outlier.

        A `CalibrationWarning` says if the share is too small for the number of rows.
        """
        warn_if_unresolved(contamination, len(self.values))
        return threshold(self.values, contamination)

    def p_values(
        self,
        scores: ArrayLike,
        level: float | str = "auto",
        delta: float | None = None,
    ) -> NDArray[np.float64]:
        """Return conformal p-values of scores.

        Parameters
        ----------
        scores : array-like of shape (m,)
            Higher is more normal.
        level : float or "auto"
            A `CalibrationWarning` says if it is too small for the number of rows.
        delta : float or None
            Asks for those of `conditional_p_values`.
        """
        warn_if_unresolved(level, len(self.values))
        p_values = conformal_p_values(scores, self.values)
        if delta is None:
            return p_values
        return conditional_p_values(p_values, len(self.values), delta)


def scores_to_fit(ood_score: str) -> list[str]:
    """Return the names of the scores to prepare: the free ones and ``ood_score``."""
    return [n for n, kind in OOD_SCORES.items() if kind.is_free or n == ood_score]


@dataclass(frozen=True, eq=False)
class OutlierDetector:
    """Outlier scores of a fitted model, with the sorted scores of calibration rows.

    These are rows held out and, where they are fewer than 300, the training rows, each
    scored as if it had been left out.

    Attributes
    ----------
    scores : dict of OODScore
        The fitted scores, by name.
    calibration : dict of ndarray of shape (n,)
        Sorted scores of the calibration rows, by name; float64.
    is_held_out : bool
        Whether rows were held out from training.
    """

    scores: dict[str, OODScore] = field(default_factory=dict)
    calibration: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    is_held_out: bool = False

    @classmethod
    def fit(
        cls,
        scored: ScoredModel,
        train: NDArray[np.float32],
        held_out: NDArray[np.float32] | None,
        names: Iterable[str],
        *,
        seed: int,
        device: str | torch.device,
        max_steps: int,
        score_rows: ScoreRows,
        trimmed: NDArray[np.float32] | None = None,
    ) -> OutlierDetector:
        """Fit the named scores and score the calibration rows.

        Parameters
        ----------
        scored : ScoredModel
            The fitted model.
        train : ndarray of shape (n, n_features)
            Standardised rows that the model was trained on, complete.
        held_out : ndarray of shape (m, n_features) or None
            Rows to calibrate by that it was not trained on; None takes ``train``.
        names : iterable of str
            Keys of `OOD_SCORES`; see `scores_to_fit`.
        seed : int
            Seed of each score's own generator.
        device : str or torch.device
            Device of the model.
        max_steps : int
            Training steps that a score may take.
        score_rows : callable
            Applies a function of tensors on the device to an array, in batches.
        trimmed : ndarray of shape (k, n_features) or None
            Rows that were left out as outliers. As many as are their share calibrate
            as held-out rows do, since new rows are not trimmed.
        """
        rows = torch.from_numpy(train).to(device)
        others = rows if held_out is None else torch.from_numpy(held_out).to(device)
        is_enough = held_out is not None and len(held_out) >= ENOUGH_HELD_OUT
        scores, calibration = {}, {}
        for name in names:
            parts = []
            with torch.inference_mode(False), torch.no_grad():
                generator = make_generator(seed, device)
                score = OOD_SCORES[name].fit(scored, rows, others, generator, max_steps)
                if not is_enough:
                    parts.append(score.left_out(scored, rows, others).cpu().numpy())
            if held_out is not None:
                parts.append(score_rows(partial(score, scored), held_out))
            if trimmed is not None:
                share = len(others) / (len(train) + len(others)) if is_enough else 1.0
                some = trimmed[: round(share * len(trimmed))]
                values = score_rows(partial(score, scored), some)
                parts.append(values.clip(min=LOWEST))  # where the density is zero
            scores[name] = score
            calibration[name] = np.sort(np.concatenate(parts).astype(np.float64))
        return cls(scores, calibration, held_out is not None)

    def beside(self, other: OutlierDetector) -> OutlierDetector:
        """Return these scores and those of another detector of the same rows."""
        scores, calibration = (
            self.scores | other.scores,
            self.calibration | other.calibration,
        )
        return OutlierDetector(scores, calibration, other.is_held_out)

    def score(self, name: str) -> OODScore:
        """Return the fitted score of this name.

        Raises
        ------
        ValueError
            Where it was not prepared.
        """
        if name not in self.scores:
            raise ValueError(
                f"ood_score={name!r} is not ready: it learns from the rows of fit, "
                "which are not kept. Fit with it, or choose one of "
                f"{sorted(self.scores)}."
            )
        return self.scores[name]

    def report(self, name: str) -> dict[str, dict[str, float]]:
        """Return what "auto" found out of its members: see `Auto.report`.

        Raises
        ------
        AttributeError
            Where the score is another one.
        """
        score = self.scores.get(name)
        if not isinstance(score, Auto):
            raise AttributeError(
                f"ood_report_ is of ood_score='auto'; here it is {name!r}."
            )
        return score.report()

    def threshold(self, name: str, contamination: float | str) -> float:
        """Return the score below which a row is an outlier.

        Raises
        ------
        ValueError
            Where the score was not prepared.

        Warns
        -----
        skebm.exceptions.CalibrationWarning
            If the contamination is too small for the number of calibration rows.
        """
        self.score(name)
        return CalibrationScores(self.calibration[name]).threshold(contamination)

    def left_out(self, name: str) -> CalibrationScores:
        """Return the scores of rows as if the model had not been trained on them.

        Raises
        ------
        ValueError
            Where no rows were held out.
        """
        if not self.is_held_out:
            raise ValueError(
                "p_values needs rows that the model was not trained on. Pass "
                "calibration=, or fit with early_stopping=True."
            )
        self.score(name)
        return CalibrationScores(self.calibration[name])

    def to_arrays(self) -> dict[str, Any]:
        """Return the detector as nested dicts of NumPy arrays."""
        arrays = {name: score.arrays() for name, score in self.scores.items()}
        return {
            "scores": to_numpy_tree(arrays),
            "calibration": dict(self.calibration),
            "is_held_out": self.is_held_out,
        }

    @classmethod
    def from_arrays(
        cls, state: dict[str, Any], device: str | torch.device = "cpu"
    ) -> OutlierDetector:
        """Return the detector that `to_arrays` described, its scores on a device."""
        scores = {
            name: OOD_SCORES[name].from_arrays(to_tensor_tree(arrays)).to(device)
            for name, arrays in state["scores"].items()
        }
        return cls(scores, dict(state["calibration"]), state["is_held_out"])
