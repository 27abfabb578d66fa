"""Schedules of the learning rate and the batch size."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Steps between updates of the average of an RBM's parameters.
AVERAGE_EVERY = 10


def average_share(averaging: float, n: int, n_new: int) -> float:
    """Return by what share an average moves at step n, after n_new steps without.

    The average runs over the last tenth of the steps until the memory of ``averaging``,
    its decay in ten steps, is shorter.
    """
    memory = averaging ** (n_new / AVERAGE_EVERY)
    return 1 - min(memory, (n - n_new) / (n + 9 * n_new))


@dataclass(frozen=True)
class EpochSpan:
    """The part of a whole run that one epoch covers.

    Attributes
    ----------
    number : int
        The epoch, from 1.
    n_epochs : int
        Epochs of this training.
    first, last : float
        Where this training begins and ends, as shares of a whole run.
    """

    number: int
    n_epochs: int
    first: float = 0.0
    last: float = 1.0

    @property
    def begin(self) -> float:
        """Share of the run that is done before the epoch."""
        return self._done(self.number - 1)

    @property
    def end(self) -> float:
        """Share of the run that is done after the epoch."""
        return self._done(self.number)

    def _done(self, n_done: int) -> float:
        return self.first + (self.last - self.first) * n_done / self.n_epochs


@dataclass(frozen=True)
class Schedule:
    """Learning rate with linear warm-up and cosine decay; batch size that may grow.

    Attributes
    ----------
    learning_rate : float
        The rate after the warm-up.
    warmup : float, default=0.02
        Share of the run over which the rate rises from zero.
    final_rate : float, default=0.01
        Rate at the end, as a share of ``learning_rate``; 1 keeps it constant.
    batch_size : int, default=128
        Rows a step in the first epoch.
    batch_growth : float, default=1.0
        The last epoch's batch size as a multiple of the first one's.
    """

    learning_rate: float
    warmup: float = 0.02
    final_rate: float = 0.01
    batch_size: int = 128
    batch_growth: float = 1.0

    def rate(self, progress: float) -> float:
        """Return the learning rate when ``progress`` (0 to 1) of the run is done."""
        rise = min(1.0, (progress + 1e-3) / self.warmup) if self.warmup else 1.0
        cosine = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
        decay = self.final_rate + (1 - self.final_rate) * cosine
        return self.learning_rate * rise * decay

    def rows_per_step(self, progress: float, n_rows: int) -> int:
        """Return the batch size when ``progress`` of the run is done."""
        grown = self.batch_size * self.batch_growth ** min(progress, 1.0)
        return min(n_rows, max(1, round(grown)))


@dataclass(frozen=True)
class RateSchedule:
    """Learning rate of the ascent of an RBM, constant or rising and falling.

    Attributes
    ----------
    learning_rate : float
        The largest rate.
    batch_size : int
        Rows a step.
    shape : {"constant", "linear"}, default="constant"
        "linear" rises from 0 over the first tenth of the steps and falls back to 0
        over the second half.
    """

    learning_rate: float
    batch_size: int
    shape: str = "constant"

    def rates(self, span: EpochSpan, n_steps: int) -> NDArray[np.float64]:
        """Return the learning rate of each step of an epoch."""
        if self.shape == "constant":
            return np.full(n_steps, float(self.learning_rate))
        steps = (np.arange(n_steps) + 0.5) / n_steps
        done = (span.number - 1 + steps) / span.n_epochs
        # Rates that are high at once leave modes away from data that chains never
        # visit.
        return self.learning_rate * np.minimum(1, np.minimum(10 * done, 2 * (1 - done)))
