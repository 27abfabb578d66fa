"""Warnings that name the user's line, however deep in the package they arise."""

from __future__ import annotations

import sys
import warnings

#: Modules that call this package for the user: decorators, pipelines, searches.
WRAPPERS = ("contextlib", "functools", "joblib", "sklearn", "torch")


def warn_user(message: str, category: type[Warning]) -> None:
    """Warn, naming the file and line that called the package.

    Parameters
    ----------
    message : str
        Text of the warning.
    category : type of Warning
        Class of the warning.
    """
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and not _is_users(frame.f_globals):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def _is_users(names: dict[str, object]) -> bool:
    """Tell whether code with these globals is neither the package's nor a wrapper's."""
    module = f"{names.get('__name__', '')}."
    return not module.startswith(tuple(f"{name}." for name in ("skebm", *WRAPPERS)))
