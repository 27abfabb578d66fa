"""Graphs, class priors and stacking weights, learnt from labels and unlabelled rows."""

from skebm.semi_supervised._plan import (
    LabeledTable,
    SemiSupervision,
    TermWeights,
    labeled_per_step,
)
from skebm.semi_supervised.graph._graph import LabelGraph
from skebm.semi_supervised.regression._label_learners import (
    LEARNERS,
    MAX_CROSS_FITTED,
    N_HELD_OUT,
    Labels,
)
from skebm.semi_supervised.regression._predictive import PredictiveMixture
from skebm.semi_supervised.regression._regression_experts import (
    LabelRegression,
    conformal_level,
)
from skebm.semi_supervised.stacking._stacking import NetTraining

__all__ = [
    "LEARNERS",
    "MAX_CROSS_FITTED",
    "N_HELD_OUT",
    "LabelGraph",
    "LabelRegression",
    "LabeledTable",
    "Labels",
    "NetTraining",
    "PredictiveMixture",
    "SemiSupervision",
    "TermWeights",
    "conformal_level",
    "labeled_per_step",
]
