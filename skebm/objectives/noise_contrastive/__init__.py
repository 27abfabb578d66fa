"""Noise-contrastive objectives: the density from a classifier of data and noise."""

from skebm.objectives.noise_contrastive._conditional import ConditionalNCE
from skebm.objectives.noise_contrastive._energy_discrepancy import EnergyDiscrepancy
from skebm.objectives.noise_contrastive._flow import FlowContrastive
from skebm.objectives.noise_contrastive._nce import NCE
from skebm.objectives.noise_contrastive._ranking import RankingNCE
from skebm.objectives.noise_contrastive._telescoping import Telescoping

__all__ = [
    "NCE",
    "ConditionalNCE",
    "EnergyDiscrepancy",
    "FlowContrastive",
    "RankingNCE",
    "Telescoping",
]
