"""Options that are a name or an instance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from sklearn.base import clone

from skebm.utils._sklearn import InvalidParameterError


def plain(value: Any) -> Any:
    """Return a scalar of NumPy as one of Python; any other value as it is."""
    return value.item() if isinstance(value, np.generic) else value


def resolve_option(
    option: str,
    value: object,
    known: Mapping[Any, Callable[[], Any]],
    kind: type,
    also: tuple[Any, ...] = (),
    instances: str | None = None,
) -> Any:
    """Return a fresh instance for an option: by its name, or a clone of an instance.

    Scalars of NumPy among the instance's parameters become those of Python.

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
    also : tuple
        What else the option may be, for the error.
    instances : str or None
        What the instances are, for the error; None names the kind.

    Raises
    ------
    ValueError
        Where the value is neither a known name nor an instance.
    """
    if isinstance(value, kind):
        fresh = clone(value)
        params = fresh.get_params()
        arrays = [k for k, v in params.items() if isinstance(v, np.generic)]
        return fresh.set_params(**{k: plain(params[k]) for k in arrays})
    if isinstance(value, (str, type(None))) and value in known:
        return known[value]()
    names = sorted(map(repr, [*known, *also]))
    raise InvalidParameterError(
        f"The {option!r} parameter must be one of {{{', '.join(names)}}} or an instance"
        f" of {instances or kind.__name__}. Got {value!r} instead."
    )
