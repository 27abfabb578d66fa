"""Floor 4: one loop over any objective."""

from skebm.training._ascent import GaussianTraining, MachineBatches, MachineTraining
from skebm.training._batches import RowGraph, TableBatches
from skebm.training._guard import Problem, StabilityGuard
from skebm.training._labeled import LabeledBatches
from skebm.training._loop import Loop, Run
from skebm.training._missing import GapFilling, IncompleteRowsMonitor
from skebm.training._monitor import (
    MAX_MONITORED,
    DensityMonitor,
    Evaluation,
    LabelMonitor,
    Monitor,
)
from skebm.training._run import GradientRun
from skebm.training._schedule import EpochSpan, Schedule

__all__ = [
    "MAX_MONITORED",
    "DensityMonitor",
    "EpochSpan",
    "Evaluation",
    "GapFilling",
    "GaussianTraining",
    "GradientRun",
    "IncompleteRowsMonitor",
    "LabelMonitor",
    "LabeledBatches",
    "Loop",
    "MachineBatches",
    "MachineTraining",
    "Monitor",
    "Problem",
    "RowGraph",
    "Run",
    "Schedule",
    "StabilityGuard",
    "TableBatches",
]
