"""Objectives that train a classifier and a density in one net."""

from skebm.objectives.joint._hdge import HDGE
from skebm.objectives.joint._joint import Joint
from skebm.objectives.joint._roles import ROLES, Roles, share_out

__all__ = ["HDGE", "ROLES", "Joint", "Roles", "share_out"]
