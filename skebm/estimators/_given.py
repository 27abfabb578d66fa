"""Tables passed as other parameters than X.

`sample` is given rows in part: a dict, or a data frame of some columns.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pandas as pd

from skebm.exceptions import DataWarning
from skebm.tables._checks import column_name, listed
from skebm.tables._frames import TableFormat
from skebm.tables._seen import SeenTable, see
from skebm.utils import InvalidParameterError, warn_user


@contextmanager
def of_parameter(name):
    """Name a parameter in the errors that its table raises."""
    try:
        yield
    except (TypeError, ValueError) as error:
        is_type, is_value = (isinstance(error, k) for k in (TypeError, ValueError))
        kind = TypeError if is_type else ValueError
        kind = InvalidParameterError if is_type and is_value else kind
        problem = str(error)
        if repr(name) not in problem:
            problem = f"The {name!r} parameter can't be read as rows: {problem}"
        raise kind(problem) from error


def check_gaps(table):
    """Raise ValueError where no entry of given rows is missing."""
    if not np.isnan(table).any():
        raise InvalidParameterError(
            "The 'given' parameter holds no NaN, so that there is nothing to draw. Put "
            "NaN into the columns that are to be drawn, or leave them out of a dict or "
            "data frame."
        )


def warn_of_impossible(given, encoder, names):
    """Warn of given numbers that are no values which their columns can take.

    Parameters
    ----------
    given : ndarray of shape (n, n_features)
        Numbers and category indices; NaN where missing.
    encoder : TableEncoder
        Knows the values.
    names : array-like or None
        Names of the columns.
    """
    if encoder.values is None:
        return
    given = encoder.without_codes(given)
    impossible = encoder.values.impossible(given)
    found = []
    for j in np.flatnonzero(impossible.any(axis=0)).tolist():
        value = given[impossible[:, j], j][0]
        seen = encoder.values.described(j)
        name = column_name(names, j)
        found.append(f"column {name} ({value:g}, where fit saw {seen})")
    if found:
        warn_user(
            "The 'given' parameter holds values unlike those of fit, in "
            f"{listed(found)}. They are held all the same.",
            DataWarning,
        )


def whole_rows(estimator, given, like_fit):
    """Return given rows as a table of all columns of `fit`, missing where not given.

    Parameters
    ----------
    estimator : estimator
        A fitted estimator.
    given : mapping, Series, data frame or array-like
        A mapping of columns to values is one row, or as many as its longest list; a
        data frame may lack columns. Others must have all columns.
    like_fit : TableFormat
        The format of the table of `fit`, as which rows of a mapping come back.

    Returns
    -------
    given : SeenTable

    Raises
    ------
    ValueError, TypeError
        Where a column is none of those of `fit`, or there are no rows.
    """
    if pd.api.types.is_scalar(given):
        raise InvalidParameterError(
            "The 'given' parameter must be a dict of columns to values, a data frame "
            f"or an array of rows. Got {given!r}."
        )
    names = _names(estimator, like_fit)
    if isinstance(given, (Mapping, pd.Series)):
        frame = _frame_of(dict(given))
        _check_known(frame.columns, names)
        return SeenTable(_filled_up(frame, names), like_fit.without_labels())
    seen = see(given)
    if not seen.is_frame or like_fit.library == "numpy":
        return seen
    frame = seen.values
    _check_known(frame.columns, names)
    own = dict(zip(seen.format.names, seen.format.dtypes, strict=True))
    of_fit = dict(zip(like_fit.names, like_fit.dtypes, strict=True))
    if seen.format.library != like_fit.library:
        of_fit = {name: seen.format.like(dtype) for name, dtype in of_fit.items()}
    own = of_fit | own
    dtypes = [own.get(name) for name in names]
    written = replace(seen.format, names=names, dtypes=dtypes)
    return SeenTable(_filled_up(frame, names), written)


def _names(estimator, like_fit: TableFormat):
    """Return the names of the columns of `fit`, else their numbers."""
    if like_fit.library != "numpy":
        return list(like_fit.names)
    numbers = range(estimator.n_features_in_)
    return list(getattr(estimator, "feature_names_in_", numbers))


def _frame_of(given):
    """Return the frame of a mapping of columns to values or lists."""
    one_row = all(pd.api.types.is_scalar(value) for value in given.values())
    try:
        return pd.DataFrame(given, index=[0] if one_row else None)
    except ValueError as error:
        raise InvalidParameterError(
            f"The 'given' parameter is no table: {error}."
        ) from error


def _check_known(columns, names):
    """Raise ValueError naming columns that `fit` has not seen."""
    unknown = [name for name in columns if name not in names]
    if unknown:
        shown = ", ".join(map(repr, names[:5]))
        near = difflib.get_close_matches(str(unknown[0]), list(map(str, names)), n=1)
        raise InvalidParameterError(
            f"The 'given' parameter has a column {unknown[0]!r}, which is none of "
            f"those of fit: {shown}{' and others' if len(names) > 5 else ''}."
            + (f" Did you mean {near[0]!r}?" if near else "")
        )


def _filled_up(frame, names):
    """Return the frame with all columns, NaN where it lacks one."""
    return frame.reindex(columns=names)
