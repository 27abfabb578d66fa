"""The model of a table: fitting, scoring, sampling and calibration of rows."""

from skebm.models._calibration import Calibration, CalibrationRows
from skebm.models._conditioning import MAX_R_HAT, Chains
from skebm.models._fit import check_goes_on, fit, fit_pass, go_on, go_on_pass
from skebm.models._fitted import FittedModel
from skebm.models._joint import plan_joint
from skebm.models._label_density import LabelDensity
from skebm.models._rows import TrainingRows
from skebm.models._specification import Specification
from skebm.models._splits import (
    MAX_HELD_OUT,
    has_held_out_labels,
    keep_all,
    labeled_split,
    split_at_random,
)
from skebm.models._task import Task

__all__ = [
    "MAX_HELD_OUT",
    "MAX_R_HAT",
    "Calibration",
    "CalibrationRows",
    "Chains",
    "FittedModel",
    "LabelDensity",
    "Specification",
    "Task",
    "TrainingRows",
    "check_goes_on",
    "fit",
    "fit_pass",
    "go_on",
    "go_on_pass",
    "has_held_out_labels",
    "keep_all",
    "labeled_split",
    "plan_joint",
    "split_at_random",
]
