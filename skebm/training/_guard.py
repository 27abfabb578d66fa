"""Detects divergence, and counts the returns to an earlier state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skebm.exceptions import DivergenceError


@dataclass(frozen=True)
class Problem:
    """A reason to stop an epoch, and advice to the user.

    Attributes
    ----------
    cause : str
        Words that can follow "because".
    remedy : str
        A sentence.
    """

    cause: str
    remedy: str = (
        "Lower learning_rate, raise the objective's gradient_penalty, or look for "
        "columns with extreme values."
    )


def find_problem(
    metrics: Mapping[str, NDArray[np.float64]],
    healthy: Mapping[str, tuple[float, float]],
) -> Problem | None:
    """Return the problem that the metrics of some steps show, or None.

    Parameters
    ----------
    metrics : mapping of str to ndarray of shape (n_steps,)
        A value that is not finite is a problem.
    healthy : mapping of str to (low, high)
        Closed ranges that the means of metrics of these names may not leave.
    """
    for name, values in metrics.items():
        if not np.isfinite(values).all():
            return Problem(f"{name} became non-finite")
        low, high = healthy.get(name, (-np.inf, np.inf))
        mean = float(values.mean())
        if not low <= mean <= high:
            return Problem(f"{name} = {mean:.4g} left its stable range [{low}, {high}]")
    return None


class StabilityGuard:
    """Counts the returns to an earlier state, and raises an error after too many.

    Parameters
    ----------
    max_rollbacks : int, default=5
        Returns to an earlier state before `DivergenceError`.
    rate_factor : float, default=0.3
        Factor of the learning rate at each return.
    """

    def __init__(self, max_rollbacks: int = 5, rate_factor: float = 0.3) -> None:
        self.max_rollbacks = max_rollbacks
        self.rate_factor = rate_factor
        self.n_rollbacks = 0

    def roll_back(self, problem: Problem, epoch: int, learning_rate: float) -> None:
        """Count one return to an earlier state.

        Raises
        ------
        DivergenceError
            After more than ``max_rollbacks`` returns.
        """
        self.n_rollbacks += 1
        if self.n_rollbacks <= self.max_rollbacks:
            return
        cause = problem.cause
        if self.max_rollbacks:
            cause += (
                f", still so after {self.max_rollbacks} returns to an earlier state, "
                f"each at {self.rate_factor} times the learning rate (now "
                f"{learning_rate:.2g})"
            )
        raise DivergenceError(
            f"Training diverged in epoch {epoch}: {cause}. {problem.remedy}"
        )
