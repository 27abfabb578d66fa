"""Options that are a name or an instance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sklearn.base import clone


def resolve_option(
    option: str,
    value: object,
    known: Mapping[Any, Callable[[], Any]],
    kind: type,
) -> Any:
    """Return a fresh instance for an option: by its name, or a clone of an instance.

    Parameters
    ----------
    option : str
        Name of the option, for the error.
    value : str, None or instance of kind
        What the user passed; None only where it is among the names.
    known : mapping from names to callables
        What makes an instance, by name.
    kind : type
        Class of the instances, an estimator of scikit-learn.

    Raises
    ------
    ValueError
        Where the value is neither a known name nor an instance.
    """
    if isinstance(value, kind):
        return clone(value)
    if isinstance(value, (str, type(None))) and value in known:
        return known[value]()
    names = sorted(map(repr, known))
    raise ValueError(
        f"The {option!r} parameter must be one of {{{', '.join(names)}}} or an instance"
        f" of {kind.__name__}. Got {value!r} instead."
    )
