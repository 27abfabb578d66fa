"""Checks of options."""

from __future__ import annotations

import math
from numbers import Integral, Real


def check_range(owner: object, name: str, holds: bool, expected: str) -> None:
    """Raise ValueError naming the option and its owner unless ``holds``."""
    if not holds:
        raise ValueError(
            f"The {name!r} parameter of {type(owner).__name__} must be {expected}. "
            f"Got {getattr(owner, name)!r} instead."
        )


def is_count(value: object, least: int = 0) -> bool:
    """Tell whether ``value`` is an integer of at least ``least``."""
    return (
        isinstance(value, Integral)
        and not isinstance(value, bool)
        and int(value) >= least
    )


def is_positive(value: object) -> bool:
    """Tell whether ``value`` is a positive finite number."""
    return isinstance(value, Real) and 0 < float(value) < math.inf
