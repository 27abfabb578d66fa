"""Class indices of labels; unlabelled rows have the index -1."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skebm.exceptions import DataWarning
from skebm.utils import InvalidParameterError, warn_user
from skebm.utils._sklearn import column_or_1d

#: The index of rows without a label.
UNLABELED = -1
#: The index of labels that were not among those of `fit`.
UNKNOWN = -2


def split_marker(y: Any, unlabeled: Any) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return y as an array of numbers or objects and a mask of its unlabelled rows.

    Parameters
    ----------
    y : array-like of shape (n,)
        Labels; numbers, strings, objects, nullable or categorical. Masked ones are
        missing.
    unlabeled : object
        The marker. None, NaN and pd.NA mark unlabelled rows too. With
        ``unlabeled=None`` no row is unlabelled and missing labels raise ValueError.

    Raises
    ------
    ValueError
        Where y holds something else than one label a row, or the marker is no label.
    """
    if not pd.api.types.is_scalar(unlabeled):
        raise InvalidParameterError(
            "The 'unlabeled' parameter must be one label, a number or a string, or "
            f"None. Got {unlabeled!r} instead."
        )
    y = _as_column(y)
    if isinstance(y, np.ndarray) and y.dtype.kind in "biuf":
        values, missing = y, np.isnan(y) if y.dtype.kind == "f" else y != y
    else:
        values = pd.Series(y).astype(object).to_numpy()
        missing = pd.isna(values)
    if unlabeled is None:
        if missing.any():
            raise ValueError(
                f"Input y contains NaN or None in {int(missing.sum())} rows, but "
                "with unlabeled=None every row must have a label."
            )
        return values, missing
    return values, missing | _equals_marker(values, missing, unlabeled)


def _as_column(y: Any) -> Any:
    """Return y as a Series, an array of pandas or a one-dimensional array of NumPy."""
    if isinstance(y, (pd.Series, pd.api.extensions.ExtensionArray)):
        return y
    if isinstance(y, np.ma.MaskedArray):  # what lies under a mask is no label
        values = np.ma.getdata(y).astype(object)
        values[np.ma.getmaskarray(y)] = None
        y = values
    for listed in ("to_list", "to_pylist"):  # a column of polars, of pyarrow
        if not isinstance(y, pd.Index) and hasattr(y, listed):
            y = getattr(y, listed)()
    if isinstance(y, (list, tuple)):
        y = np.asarray(y, dtype=object)  # NumPy would turn NaN among strings into "nan"
    if hasattr(y, "__array__"):
        y = np.asarray(y)
    if isinstance(y, np.ndarray) and y.dtype.kind == "c":
        raise ValueError(f"y must hold labels. Got complex ones, of dtype {y.dtype}.")
    y = column_or_1d(y, dtype=None, warn=True)
    if y.dtype == object:
        bad = next((v for v in y if isinstance(v, complex) or not _is_label(v)), None)
        if bad is not None:
            raise ValueError(
                f"y must hold one label a row. Got {bad!r}, a {type(bad).__name__}."
            )
    return y


def _is_label(value: Any) -> bool:
    """Tell whether a value may be a label: it is no collection."""
    return isinstance(value, str) or not hasattr(value, "__len__")


def _equals_marker(
    values: NDArray[Any], missing: NDArray[np.bool_], unlabeled: Any
) -> NDArray[np.bool_]:
    """Return where labels are the marker; arrays of strings hold it as a string."""
    if values.dtype != object:
        return values == unlabeled if isinstance(unlabeled, numbers.Number) else missing
    if pd.isna(unlabeled):
        return missing
    strings = all(isinstance(value, str) for value in values[~missing])
    if strings and isinstance(unlabeled, numbers.Number):
        unlabeled = str(unlabeled)
    marked = np.zeros(len(values), dtype=bool)
    for i, value in enumerate(values):
        if not missing[i]:
            same_kind = isinstance(value, str) == isinstance(unlabeled, str)
            marked[i] = same_kind and value == unlabeled
    return marked


def encode_labels(y: Any, unlabeled: Any) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Return class indices (-1 where unlabelled) and the sorted classes.

    Raises
    ------
    ValueError
        Where fewer than two classes are left beside the marker, or labels are not of
        one kind.
    """
    values, hidden = split_marker(y, unlabeled)
    labels = values[~hidden]
    _check_classification(labels)
    if len(labels) == 0:
        raise ValueError(
            f"All {len(values)} rows of y are unlabelled (unlabeled={unlabeled!r}); "
            "at least two classes with a label each are needed."
        )
    try:
        classes, indices = np.unique(_compact(labels), return_inverse=True)
    except TypeError as error:
        kinds = sorted({type(label).__name__ for label in labels})
        raise ValueError(
            f"y must hold labels of one kind. Got a mixture of {kinds}."
        ) from error
    _check_two_classes(classes, hidden.sum(), unlabeled)
    indices_of_rows = np.full(len(values), UNLABELED, dtype=np.int64)
    indices_of_rows[~hidden] = indices
    return indices_of_rows, classes


def warn_of_empty_words(classes: NDArray[Any]) -> None:
    """Warn of a class that is an empty word, which may mean a missing label."""
    for label in classes.tolist():
        if isinstance(label, str) and not label.strip():
            warn_user(
                f"y holds the empty label {label!r}, which is taken as a class. If it "
                f"means that a row has no label, set unlabeled={label!r}, or replace "
                "it by None.",
                DataWarning,
            )


def encode_known(y: Any, unlabeled: Any, classes: NDArray[Any]) -> NDArray[np.int64]:
    """Return indices in ``classes``: -1 where unlabelled, -2 where the class is new."""
    values, hidden = split_marker(y, unlabeled)
    known = {label: k for k, label in enumerate(classes.tolist())}
    found = [known.get(label, UNKNOWN) for label in values.tolist()]
    indices = np.array(found, dtype=np.int64)
    indices[hidden] = UNLABELED
    return indices


def _compact(labels: NDArray[Any]) -> NDArray[Any]:
    """Return the labels in the dtype NumPy would give them, objects where mixed."""
    if labels.dtype != object:
        return labels
    if all(isinstance(label, str) for label in labels):
        return np.array(labels.tolist())
    if any(isinstance(label, str) for label in labels):
        return labels
    return np.array(labels.tolist())


def _check_classification(labels: NDArray[Any]) -> None:
    """Raise ValueError where a label is a number that is not whole."""
    floats = [v for v in labels.tolist() if isinstance(v, float)]
    broken = [v for v in floats if v != np.floor(v) or np.isinf(v)]
    if broken:
        raise ValueError(
            "Unknown label type: continuous. Classes are needed in y; got the value "
            f"{broken[0]!r}."
        )


def _check_two_classes(classes: NDArray[Any], n_unlabeled: int, unlabeled: Any) -> None:
    """Raise ValueError where only one class is left."""
    if len(classes) >= 2:
        return
    message = (
        f"y holds only one class, {classes.tolist()[0]!r}, beside {n_unlabeled} "
        "unlabelled rows; at least two classes are needed."
    )
    if n_unlabeled and unlabeled == -1 and str(classes[0]) in ("1", "1.0"):
        message += (
            " Labels are {-1, 1}: -1 means unlabelled here; recode y or set "
            "unlabeled=None."
        )
    raise ValueError(message)
