"""Score matching: objectives without a sampler or log Z."""

from skebm.objectives.score_matching._curvature import CurvaturePropagation
from skebm.objectives.score_matching._denoising import DenoisingScoreMatching
from skebm.objectives.score_matching._exact import ScoreMatching
from skebm.objectives.score_matching._finite_difference import (
    FiniteDifferenceScoreMatching,
)
from skebm.objectives.score_matching._sliced import SlicedScoreMatching

__all__ = [
    "CurvaturePropagation",
    "DenoisingScoreMatching",
    "FiniteDifferenceScoreMatching",
    "ScoreMatching",
    "SlicedScoreMatching",
]
