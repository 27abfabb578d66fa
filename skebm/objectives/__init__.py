"""Floor 3: what is minimised."""

from __future__ import annotations

from skebm.objectives._base import Batch, Loss, Objective, ParameterGroup
from skebm.objectives._joint import Joint
from skebm.objectives._vera import VERA

__all__ = [
    "OBJECTIVES",
    "VERA",
    "Batch",
    "Joint",
    "Loss",
    "Objective",
    "ParameterGroup",
]

#: A name for each objective.
OBJECTIVES: dict[str, type[Objective]] = {"vera": VERA}
