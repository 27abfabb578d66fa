"""How a training ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class Outcome:
    """How a training ended.

    Attributes
    ----------
    history : dict of str to list
        One entry an epoch.
    n_epochs : int
        Epochs of it.
    best_epoch : int
        The epoch whose state was kept; 0 is the untrained one.
    n_steps : int
        Steps of a whole training of so many rows.
    interruptions : tuple of str
        The steps that a KeyboardInterrupt ended.
    """

    history: dict[str, list[Any]]
    n_epochs: int
    best_epoch: int
    n_steps: int
    interruptions: tuple[str, ...] = ()
