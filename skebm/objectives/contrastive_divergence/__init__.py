"""Contrastive divergence: the likelihood's gradient by Markov chains."""

from skebm.objectives.boltzmann._gradient import ContrastiveGradient
from skebm.objectives.boltzmann._labeled import (
    LabeledGradient,
    LabeledRows,
)
from skebm.objectives.contrastive_divergence._cd import CD
from skebm.objectives.contrastive_divergence._improved_cd import ImprovedCD
from skebm.objectives.contrastive_divergence._pcd import PCD
from skebm.objectives.contrastive_divergence._short_run import ShortRun

__all__ = [
    "CD",
    "PCD",
    "ContrastiveGradient",
    "ImprovedCD",
    "LabeledGradient",
    "LabeledRows",
    "ShortRun",
]
