"""The stability guard: see a divergence, go back, at last say so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skebm.exceptions import DivergenceError


@dataclass(frozen=True)
class Problem:
    """What went wrong, and what a user can change.

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


class StabilityGuard:
    """Judges the figures of the steps and counts the ways back.

    Parameters
    ----------
    healthy : mapping of str to (low, high)
        Closed ranges that named figures may not leave.
    max_rollbacks : int, default=5
        Returns to an earlier state before `DivergenceError`.
    rate_factor : float, default=0.3
        What the learning rate is multiplied by at each return.
    """

    def __init__(
        self,
        healthy: Mapping[str, tuple[float, float]],
        max_rollbacks: int = 5,
        rate_factor: float = 0.3,
    ) -> None:
        self.healthy = healthy
        self.max_rollbacks = max_rollbacks
        self.rate_factor = rate_factor
        self.n_rollbacks = 0

    def problem(self, figures: Mapping[str, NDArray[np.float64]]) -> Problem | None:
        """Return what is wrong with the figures of some steps, or None."""
        for name, values in figures.items():
            if not np.isfinite(values).all():
                return Problem(f"{name} became non-finite")
            low, high = self.healthy.get(name, (-np.inf, np.inf))
            mean = float(values.mean())
            if not low <= mean <= high:
                return Problem(
                    f"{name} = {mean:.4g} left its healthy range [{low}, {high}]"
                )
        return None

    def roll_back(self, problem: Problem, epoch: int, learning_rate: float) -> None:
        """Count one return to an earlier state.

        Raises
        ------
        DivergenceError
            After more than ``max_rollbacks`` returns.
        """
        self.n_rollbacks += 1
        if self.n_rollbacks > self.max_rollbacks:
            raise DivergenceError(
                f"Training diverged in epoch {epoch}: {problem.cause}, still so after "
                f"{self.max_rollbacks} returns to an earlier state, each at "
                f"{self.rate_factor} times the learning rate (now {learning_rate:.2g})."
                f" {problem.remedy}"
            )
