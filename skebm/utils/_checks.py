"""Checks of options."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Integral, Real


def check_range(owner: object, name: str, holds: bool, expected: str) -> None:
    """Raise ValueError naming the option and its owner unless ``holds``."""
    if not holds:
        raise ValueError(
            f"The {name!r} parameter of {type(owner).__name__} must be {expected}. "
            f"Got {getattr(owner, name)!r} instead."
        )


def check_count(owner: object, name: str, least: int = 1) -> None:
    """Raise ValueError unless the option is an integer of at least ``least``."""
    right = is_count(getattr(owner, name), least)
    check_range(owner, name, right, f"an integer, at least {least}")


def check_number(
    owner: object, name: str, least: float, most: float = math.inf
) -> None:
    """Raise ValueError unless the option is a number between ``least`` and ``most``."""
    expected = f"at least {least}" if most == math.inf else f"in [{least}, {most}]"
    right = is_number(getattr(owner, name), least, most)
    check_range(owner, name, right, f"a number, {expected}")


def check_positive(owner: object, name: str) -> None:
    """Raise ValueError unless the option is a number above 0."""
    check_range(owner, name, is_positive(getattr(owner, name)), "a number above 0")


def check_builder(owner: object, name: str) -> None:
    """Raise ValueError unless the option can be called or is None, the default."""
    value = getattr(owner, name)
    right = value is None or callable(value)
    check_range(owner, name, right, "a builder that can be called, or None")


def is_count(value: object, least: int = 0) -> bool:
    """Tell whether ``value`` is an integer of at least ``least``."""
    return (
        isinstance(value, Integral)
        and not isinstance(value, bool)
        and int(value) >= least
    )


def is_number(value: object, least: float, most: float = math.inf) -> bool:
    """Tell whether ``value`` is a finite number between ``least`` and ``most``."""
    return (
        isinstance(value, Real)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and least <= float(value) <= most
    )


def is_sequence(value: object, holds: Callable[[object], bool]) -> bool:
    """Tell whether ``value`` is a tuple or list, not empty, all of whose items pass."""
    return isinstance(value, tuple | list) and len(value) > 0 and all(map(holds, value))


def is_positive(value: object) -> bool:
    """Tell whether ``value`` is a positive finite number."""
    return isinstance(value, Real) and 0 < float(value) < math.inf
