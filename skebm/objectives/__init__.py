"""Floor 3: what is minimised."""

from __future__ import annotations

from skebm.objectives._base import Batch, Loss, Objective, ParameterGroup
from skebm.objectives._mle import MLE
from skebm.objectives.amortized import MEG, VERA, VERAHMC, VERAArdae, WakeSleep
from skebm.objectives.contrastive_divergence import CD, PCD, ImprovedCD, ShortRun
from skebm.objectives.joint import HDGE, Joint

__all__ = [
    "CD",
    "HDGE",
    "MEG",
    "MLE",
    "OBJECTIVES",
    "PCD",
    "VERA",
    "VERAHMC",
    "Batch",
    "ImprovedCD",
    "Joint",
    "Loss",
    "Objective",
    "ParameterGroup",
    "ShortRun",
    "VERAArdae",
    "WakeSleep",
]

#: A name for each objective.
OBJECTIVES: dict[str, type[Objective]] = {
    "cd": CD,
    "hdge": HDGE,
    "improved_cd": ImprovedCD,
    "mle": MLE,
    "meg": MEG,
    "pcd": PCD,
    "short_run": ShortRun,
    "vera": VERA,
    "vera_ardae": VERAArdae,
    "vera_hmc": VERAHMC,
    "wake_sleep": WakeSleep,
}
