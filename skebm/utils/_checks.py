"""Checks of options."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from numbers import Integral, Real

from skebm.utils._sklearn import InvalidParameterError

#: Beyond, no array fits into memory and no loop ends.
MAX_COUNT = 2**31 - 1


def check_argument(
    owner: object, name: str, value: object, holds: bool, expected: str
) -> None:
    """Raise ValueError naming an argument of the owner's class unless ``holds``."""
    if not holds:
        raise InvalidParameterError(
            f"The {name!r} parameter of {type(owner).__name__} must be {expected}. "
            f"Got {value!r} instead."
        )


def check_range(owner: object, name: str, holds: bool, expected: str) -> None:
    """Raise ValueError naming the option and its owner unless ``holds``."""
    check_argument(owner, name, getattr(owner, name), holds, expected)


def check_count(owner: object, name: str, least: int = 1) -> None:
    """Raise ValueError unless the option is an integer of at least ``least``."""
    value = getattr(owner, name)
    most = f" and at most {MAX_COUNT}" if is_count(value, least, math.inf) else ""
    expected = f"an integer, at least {least}{most}"
    check_range(owner, name, is_count(value, least), expected)


def check_sizes(owner: object, name: str, value: object) -> None:
    """Raise ValueError unless an argument is a tuple or list of positive integers."""
    expected = "a tuple of integers, each at least 1"
    right = is_sequence(value, lambda size: is_count(size, 1))
    check_argument(owner, name, value, right, expected)


def check_choice(
    owner: object, name: str, value: object, known: Iterable[str | None]
) -> None:
    """Raise ValueError unless an argument is one of the known names, or None."""
    names = sorted(map(repr, known))
    right = isinstance(value, str | None) and repr(value) in names
    check_argument(owner, name, value, right, f"one of {', '.join(names)}")


def check_flag(owner: object, name: str, value: object) -> None:
    """Raise ValueError unless an argument is True or False."""
    right = isinstance(value, bool) or type(value).__name__ == "bool"
    check_argument(owner, name, value, right, "True or False")


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


def is_count(value: object, least: int = 0, most: float = MAX_COUNT) -> bool:
    """Tell whether ``value`` is an integer from ``least`` to ``most``."""
    return (
        isinstance(value, Integral)
        and not isinstance(value, bool)
        and least <= int(value) <= most
    )


def is_number(value: object, least: float, most: float = math.inf) -> bool:
    """Tell whether ``value`` is a finite number between ``least`` and ``most``."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        number = float(value)
    except OverflowError:
        return False
    if isinstance(value, Integral) and abs(number) > MAX_COUNT:  # torch can't take it
        return False
    return math.isfinite(number) and least <= number <= most


def is_sequence(value: object, holds: Callable[[object], bool]) -> bool:
    """Tell whether ``value`` is a tuple or list, not empty, all of whose items pass."""
    return isinstance(value, tuple | list) and len(value) > 0 and all(map(holds, value))


def is_positive(value: object) -> bool:
    """Tell whether ``value`` is a positive finite number."""
    return is_number(value, 0) and value != 0
