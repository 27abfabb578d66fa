"""Floor 4: one loop over any objective."""

from skebm.training._ascent import GaussianTraining, MachineBatches, MachineTraining
from skebm.training._batches import RowGraph, TableBatches
from skebm.training._guard import StabilityGuard
from skebm.training._labeled import LabeledBatches
from skebm.training._loop import Trainer
from skebm.training._missing import GapFilling, IncompleteRowsMonitor
from skebm.training._monitor import (
    MAX_MONITORED,
    DensityMonitor,
    Evaluation,
    LabelMonitor,
    Monitor,
)
from skebm.training._run import TrainingRun
from skebm.training._schedule import Schedule

__all__ = [
    "MAX_MONITORED",
    "DensityMonitor",
    "Evaluation",
    "GapFilling",
    "GaussianTraining",
    "IncompleteRowsMonitor",
    "LabelMonitor",
    "LabeledBatches",
    "MachineBatches",
    "MachineTraining",
    "Monitor",
    "RowGraph",
    "Schedule",
    "StabilityGuard",
    "TableBatches",
    "Trainer",
    "TrainingRun",
]
