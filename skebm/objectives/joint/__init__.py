"""A classifier and a density in one net."""

from skebm.objectives.joint._hdge import HDGE
from skebm.objectives.joint._joint import Joint

__all__ = ["HDGE", "Joint"]
