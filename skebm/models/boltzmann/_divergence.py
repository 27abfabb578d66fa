"""Finds training that led away from the rows, by exact densities."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skebm.evaluation import enumerated_log_normalizer
from skebm.exceptions import DivergenceError
from skebm.models.boltzmann._fitted import FittedRBM

Array = NDArray[Any]

#: With more hidden units a sum over their states would take as long as training.
MAX_HIDDEN = 16
#: Nats a row, and nats a row and column, that an epoch may lose and win back.
SLACK, SLACK_A_COLUMN = 3.0, 1.0


def check_density(
    before: FittedRBM, after: FittedRBM, rows: Array, learning_rate: float
) -> None:
    """Raise where rows are far less likely after training than before.

    Weights and free energies of the rows may look well then, while the density has its
    mass where chains never were. Nothing is checked where an exact log Z takes long.

    Raises
    ------
    DivergenceError
        With the mean log densities.
    """
    if len(after.weight) > MAX_HIDDEN or not len(rows):
        return
    first, last = _mean_log_prob(before, rows), _mean_log_prob(after, rows)
    if last >= first - SLACK - SLACK_A_COLUMN * rows.shape[1]:
        return
    raise DivergenceError(
        f"Training diverged: the mean log density of its rows fell from {first:.4g} to "
        f"{last:.4g} nats (of standardised columns). Lower "
        f"learning_rate={learning_rate} or look for columns with extreme values."
    )


def _mean_log_prob(fitted: FittedRBM, rows: Array) -> float:
    """Return the exact mean log density of rows of visible units; NaN is minus inf."""
    log_z = enumerated_log_normalizer(fitted.rbm(np.float64)).log_normalizer
    mean = float(-fitted.free_energy(rows).mean() - log_z)
    return mean if np.isfinite(mean) else -np.inf
