"""Training: one loop over runs by gradients and by closed-form ascent."""

from skebm.training._ascent import AscentRun, GaussianRBMAscent, RBMAscent
from skebm.training._batches import (
    EvenBatches,
    LabeledBatches,
    RowGraph,
    TableBatches,
)
from skebm.training._boosting import BoostingRun, EnergyRun
from skebm.training._checkpoint import CheckpointFile, Checkpoints, stored_words
from skebm.training._guard import Problem, StabilityGuard
from skebm.training._loop import Loop, Run
from skebm.training._missing import (
    Completion,
    GibbsCompletion,
    IncompleteRowsMonitor,
    ResampledCompletion,
)
from skebm.training._monitor import (
    MAX_MONITORED,
    DensityMonitor,
    Evaluation,
    LabelMonitor,
    Monitor,
)
from skebm.training._run import GradientRun
from skebm.training._schedule import EpochSpan, RateSchedule, Schedule
from skebm.training._up_down import UpDownRun

__all__ = [
    "MAX_MONITORED",
    "AscentRun",
    "BoostingRun",
    "CheckpointFile",
    "Checkpoints",
    "Completion",
    "DensityMonitor",
    "EnergyRun",
    "EpochSpan",
    "Evaluation",
    "EvenBatches",
    "GaussianRBMAscent",
    "GibbsCompletion",
    "GradientRun",
    "IncompleteRowsMonitor",
    "LabelMonitor",
    "LabeledBatches",
    "Loop",
    "Monitor",
    "Problem",
    "RBMAscent",
    "RateSchedule",
    "ResampledCompletion",
    "RowGraph",
    "Run",
    "Schedule",
    "StabilityGuard",
    "TableBatches",
    "UpDownRun",
    "stored_words",
]
