"""What training has recorded, by epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from skebm.evaluation.fidelity._table import estimator_name

#: How the names of held-out scores begin.
HELD_OUT = "validation_"
#: Names of losses that do not end so.
LOSSES = ("cross_entropy", "pseudo_likelihood")


@dataclass(frozen=True, eq=False)
class TrainingRecord:
    """What training has recorded, by epoch.

    Attributes
    ----------
    figures : dict of str to ndarray of shape (n_epochs,)
        All figures, NaN in the epochs that have none.
    losses, held_out, energies : list of str
        Names of those that are losses, scores of held-out rows, and means of energies.
    best_epoch : int or None
        The epoch whose state was kept, 0 for the bare reference; None where nothing
        tells it.
    rollbacks : list of int
        Epochs after which the guard went back to an earlier state.
    compared : ndarray of shape (n_epochs,) or None
        The held-out log-likelihood less the standard error of its gain over the
        reference, by which epochs are compared; None where that is not recorded.
    """

    figures: Mapping[str, NDArray[np.float64]]
    losses: list[str]
    held_out: list[str]
    energies: list[str]
    best_epoch: int | None
    rollbacks: list[int]
    compared: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, estimator: Any) -> Self:
        """Return the record that a fitted estimator holds.

        Raises
        ------
        TypeError
            Where it holds none.
        """
        history = getattr(estimator, "history_", None)
        if not history:
            raise TypeError(
                f"A fitted estimator with history_ is needed, which tells of training. "
                f"Got {estimator_name(estimator)} without."
            )
        figures = {
            name: np.array([np.nan if v is None else v for v in column], dtype=float)
            for name, column in history.items()
            if not any(isinstance(value, str) for value in column)
        }
        names = sorted(figures)
        losses = [n for n in names if n.endswith("_loss") or n in LOSSES]
        held_out = [n for n in names if n.startswith(HELD_OUT)]
        energies = [n for n in names if "energy" in n and n not in losses]
        score = figures.get(f"{HELD_OUT}log_likelihood")
        error = figures.get("gain_standard_error")
        compared = None if score is None or error is None else score - error
        returns = figures.get("n_rollbacks", np.zeros(0))
        rollbacks = np.flatnonzero(np.diff(returns, prepend=0.0) > 0) + 1
        # Without held-out rows the last state is kept, whatever it was like.
        best = getattr(estimator, "best_epoch_", None) if held_out else None
        return cls(
            figures, losses, held_out, energies, best, rollbacks.tolist(), compared
        )

    @property
    def n_epochs(self) -> int:
        """Number of epochs."""
        return max(map(len, self.figures.values()), default=0)

    @property
    def epochs(self) -> NDArray[np.int64]:
        """Numbers of the epochs, from 1."""
        return np.arange(1, self.n_epochs + 1)

    def verdict(self) -> str:
        """Return a sentence on what was kept."""
        if self.best_epoch is None:
            return f"{self.n_epochs} epochs, without a held-out score"
        if self.best_epoch == 0:
            return (
                f"the bare reference kept: none of {self.n_epochs} epochs was better on"
                " held-out rows"
            )
        return f"epoch {self.best_epoch} of {self.n_epochs} kept"


def in_words(name: str) -> str:
    """Return the name of a figure as words: "held-out log likelihood"."""
    if name.startswith(HELD_OUT):
        name = f"held-out {name.removeprefix(HELD_OUT)}"
    return name.replace("_", " ")
