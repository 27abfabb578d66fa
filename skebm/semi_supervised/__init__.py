"""Graphs, class priors and stacking weights, learnt from labels and unlabelled rows."""

from skebm.semi_supervised._graph import LabelGraph
from skebm.semi_supervised._plan import (
    LabeledTable,
    SemiSupervision,
    TermWeights,
    labeled_per_step,
)
from skebm.semi_supervised._stacking import NetTraining

__all__ = [
    "LabelGraph",
    "LabeledTable",
    "NetTraining",
    "SemiSupervision",
    "TermWeights",
    "labeled_per_step",
]
