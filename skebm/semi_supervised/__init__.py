"""What a classifier learns from unlabelled rows before it is trained."""

from skebm.semi_supervised._graph import LabelGraph
from skebm.semi_supervised._plan import (
    SemiSupervision,
    TermWeights,
    count_steps,
    labeled_per_step,
)

__all__ = [
    "LabelGraph",
    "SemiSupervision",
    "TermWeights",
    "count_steps",
    "labeled_per_step",
]
