"""Losses of RBMs of binary units or categories that need no chains and no log Z."""

from __future__ import annotations

from skebm.objectives.boltzmann.discrete._concrete_score import concrete_score_matching
from skebm.objectives.boltzmann.discrete._gradient import (
    DiscreteGradient,
    DiscreteLoss,
)
from skebm.objectives.boltzmann.discrete._probability_flow import (
    minimum_probability_flow,
)
from skebm.objectives.boltzmann.discrete._pseudo_likelihood import pseudo_likelihood
from skebm.objectives.boltzmann.discrete._ratio_matching import ratio_matching

__all__ = [
    "DISCRETE_LOSSES",
    "DiscreteGradient",
    "DiscreteLoss",
    "concrete_score_matching",
    "minimum_probability_flow",
    "pseudo_likelihood",
    "ratio_matching",
]

#: The losses by name, each a function of an RBM, rows and a generator.
DISCRETE_LOSSES: dict[str, DiscreteLoss] = {
    "concrete_score_matching": concrete_score_matching,
    "minimum_probability_flow": minimum_probability_flow,
    "pseudo_likelihood": pseudo_likelihood,
    "ratio_matching": ratio_matching,
}
