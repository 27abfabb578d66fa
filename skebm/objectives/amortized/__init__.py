"""A generator learns to draw from the model, so that training needs no chains."""

from skebm.objectives.amortized._vera import VERA

__all__ = ["VERA"]
