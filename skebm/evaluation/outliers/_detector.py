"""Outlier scores of a fitted model with thresholds and conformal p-values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from skebm.evaluation.metrics._detection import checked_scores
from skebm.evaluation.outliers import OOD_SCORES
from skebm.evaluation.outliers._score import OODScore, ScoredModel
from skebm.utils import make_generator, to_numpy_tree, to_tensor_tree

#: Applies a function of standardised tensors, (n, n_features) -> (n,), to an array.
ScoreRows = Callable[[Callable[[Tensor], Tensor], NDArray[np.float32]], NDArray[Any]]

#: Tukey's fence, in interquartile ranges below the lower quartile.
FENCE = 1.5


def threshold(scores: NDArray[np.float64], contamination: float | str) -> float:
    r"""Return the score below which a row is an outlier, from scores of normal rows.

    It is their quantile at ``contamination``, or, for "auto", Tukey's lower fence

    .. math:: Q_{1/4} - 1.5 \, (Q_{3/4} - Q_{1/4})

    which far outliers do not move as long as they are fewer than a quarter.
    """
    if contamination != "auto":
        return float(np.quantile(scores, float(contamination)))
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


def scores_to_fit(ood_score: str) -> list[str]:
    """Return the names of the scores to prepare: the free ones and ``ood_score``."""
    return [n for n, kind in OOD_SCORES.items() if kind.is_free or n == ood_score]


@dataclass(frozen=True, eq=False)
class OutlierDetector:
    """Outlier scores of a fitted model, with the sorted scores of held-out rows.

    Attributes
    ----------
    scores : dict of OODScore
        The fitted scores, by name.
    calibration : dict of ndarray of shape (n,)
        Sorted scores of the calibration rows, by name; float64.
    is_held_out : bool
        Whether the model was trained without the calibration rows.
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
    ) -> OutlierDetector:
        """Fit the named scores and score the calibration rows, with log Z known.

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
        """
        is_held_out = held_out is not None
        if held_out is None:
            held_out = train
        scores, calibration = {}, {}
        for name in names:
            with torch.inference_mode(False), torch.no_grad():
                score = OOD_SCORES[name].fit(
                    scored,
                    torch.from_numpy(train).to(device),
                    torch.from_numpy(held_out).to(device),
                    make_generator(seed, device),
                    max_steps,
                )
            scores[name] = score
            calibration[name] = np.sort(score_rows(partial(score, scored), held_out))
        return cls(scores, calibration, is_held_out)

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

    def threshold(self, name: str, contamination: float | str) -> float:
        """Return the score below which a row is an outlier; NaN if not prepared."""
        scores = self.calibration.get(name)
        return math.nan if scores is None else threshold(scores, contamination)

    def p_values(self, name: str, scores: ArrayLike) -> NDArray[np.float64]:
        """Return conformal p-values of scores, by those of the held-out rows.

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
        return conformal_p_values(scores, self.calibration[name])

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
