"""Floor 3: what is minimised."""

from __future__ import annotations

from skebm.objectives._base import Batch, Loss, Objective, ParameterGroup
from skebm.objectives.amortized import VERA
from skebm.objectives.joint import HDGE, Joint

__all__ = [
    "HDGE",
    "OBJECTIVES",
    "VERA",
    "Batch",
    "Joint",
    "Loss",
    "Objective",
    "ParameterGroup",
]

#: A name for each objective.
OBJECTIVES: dict[str, type[Objective]] = {
    "hdge": HDGE,
    "vera": VERA,
}
