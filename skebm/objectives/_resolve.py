"""Resolves the option `objective` to an objective."""

from __future__ import annotations

from skebm.objectives import OBJECTIVES
from skebm.objectives._base import Objective
from skebm.utils import resolve_option


def resolve_objective(objective: str | Objective | None) -> Objective | None:
    """Return a fresh objective with checked options; None stays None.

    Raises
    ------
    ValueError
        Where the name is unknown or an option of the objective is out of its range.
    """
    if objective is None:
        return None
    resolved: Objective = resolve_option(
        "objective", objective, OBJECTIVES, Objective, also=(None,)
    )
    resolved.check_options()
    return resolved
