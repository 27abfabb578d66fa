"""Objectives: the losses that train an energy."""

from __future__ import annotations

from collections.abc import Callable

from skebm.objectives._base import (
    Batch,
    Loss,
    Objective,
    ParameterGroup,
    Recipe,
    RowCells,
)
from skebm.objectives._mle import MLE
from skebm.objectives._stein import SteinDiscrepancy
from skebm.objectives.amortized import MEG, VERA, VERAHMC, VERAArdae, WakeSleep
from skebm.objectives.boltzmann._up_down import UpDown
from skebm.objectives.boltzmann.discrete import DISCRETE_LOSSES, DiscreteGradient
from skebm.objectives.contrastive_divergence import (
    CD,
    PCD,
    ContrastiveGradient,
    ImprovedCD,
    LabeledGradient,
    LabeledRows,
    ShortRun,
)
from skebm.objectives.joint import HDGE, ROLES, Joint, Roles, share_out
from skebm.objectives.noise_contrastive import (
    NCE,
    ConditionalNCE,
    EnergyDiscrepancy,
    FlowContrastive,
    RankingNCE,
    Telescoping,
)
from skebm.objectives.score_matching import (
    CurvaturePropagation,
    DenoisingScoreMatching,
    FiniteDifferenceScoreMatching,
    ScoreMatching,
    SlicedScoreMatching,
)

__all__ = [
    "CD",
    "DISCRETE_LOSSES",
    "HDGE",
    "MEG",
    "MLE",
    "NCE",
    "OBJECTIVES",
    "PCD",
    "ROLES",
    "VERA",
    "VERAHMC",
    "Batch",
    "ConditionalNCE",
    "ContrastiveGradient",
    "CurvaturePropagation",
    "DenoisingScoreMatching",
    "DiscreteGradient",
    "EnergyDiscrepancy",
    "FiniteDifferenceScoreMatching",
    "FlowContrastive",
    "ImprovedCD",
    "Joint",
    "LabeledGradient",
    "LabeledRows",
    "Loss",
    "Objective",
    "ParameterGroup",
    "RankingNCE",
    "Recipe",
    "Roles",
    "RowCells",
    "ScoreMatching",
    "ShortRun",
    "SlicedScoreMatching",
    "SteinDiscrepancy",
    "Telescoping",
    "UpDown",
    "VERAArdae",
    "WakeSleep",
    "share_out",
]

#: The builder of each objective, by name.
OBJECTIVES: dict[str, Callable[[], Objective]] = {
    "cd": CD,
    "conditional_nce": ConditionalNCE,
    "curvature_propagation": CurvaturePropagation,
    "denoising_score_matching": DenoisingScoreMatching,
    "energy_discrepancy": EnergyDiscrepancy,
    "fd_score_matching": FiniteDifferenceScoreMatching,
    "flow_contrastive": FlowContrastive,
    "hdge": HDGE,
    "improved_cd": ImprovedCD,
    "jem": PCD.jem,
    "meg": MEG,
    "mle": MLE,
    "nce": NCE,
    "pcd": PCD,
    "ranking_nce": RankingNCE,
    "score_matching": ScoreMatching,
    "short_run": ShortRun,
    "sliced_score_matching": SlicedScoreMatching,
    "stein": SteinDiscrepancy,
    "stratified_nce": NCE.stratified,
    "telescoping": Telescoping,
    "vera": VERA,
    "vera_ardae": VERAArdae,
    "vera_hmc": VERAHMC,
    "wake_sleep": WakeSleep,
}
