"""A training to be done: rows, objective and options in one value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from skebm.models._rows import TrainingRows
from skebm.models._specification import Specification
from skebm.objectives import Objective
from skebm.training import Checkpoints


@dataclass(frozen=True, eq=False)
class Task:
    """A training to be done.

    Attributes
    ----------
    specification : Specification
        The options.
    rows : TrainingRows
        The rows to train on.
    objective : Objective
        The specification's objective, or a joint one that contains it.
    by_labels : bool, default=False
        Whether early stopping watches the labels of the held-out rows, else their
        density.
    prepare : callable or None, default=None
        Sets up a net that was just built, such as the weights of its members.
    checkpoints : Checkpoints or None, default=None
        Files from which a fit that was killed goes on.
    """

    specification: Specification
    rows: TrainingRows
    objective: Objective
    by_labels: bool = False
    prepare: Callable[[nn.Module], None] | None = None
    checkpoints: Checkpoints | None = None
