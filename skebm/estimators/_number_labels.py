"""Reads labels that are numbers, NaN where unknown."""

from __future__ import annotations

import numpy as np

from skebm.estimators._class_labels import check_labels
from skebm.exceptions import TrainingWarning
from skebm.tables import split_marker
from skebm.utils import InvalidParameterError, warn_user

#: Least number of labels that a regression is fitted to.
MIN_LABELS = 2


def read_numbers_of_y(y, X):
    """Return y as float64, NaN where a row of X has no label.

    None, NaN, pd.NA and a mask mean that a label is unknown.

    Raises
    ------
    ValueError
        Where y holds something else than one finite number or gap for each row.
    """
    check_labels(y, X)
    shape = np.asarray(y).shape
    if len(shape) == 2 and shape[1] > 1:
        raise ValueError(
            f"y must have one column: multi-output regression is not supported. Got "
            f"{shape[1]} columns. Fit a JEMRegressor to each."
        )
    values, missing = split_marker(y, float("nan"))
    labels = np.full(len(values), np.nan)
    try:
        labels[~missing] = values[~missing].astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"y must hold numbers, NaN where a label is unknown. Got something else: "
            f"{error}."
        ) from error
    if np.isinf(labels).any():
        raise ValueError(
            "Input y contains infinity or a value too large for dtype('float64') in "
            f"{int(np.isinf(labels).sum())} rows. Use NaN where a label is unknown."
        )
    return labels


def check_enough(labels):
    """Raise ValueError unless two labels are known."""
    n_known = int((~np.isnan(labels)).sum())
    if n_known < MIN_LABELS:
        raise ValueError(
            f"y must hold at least {MIN_LABELS} known labels in rows that count (with "
            f"an entry of X, and of weight above zero). Got {n_known} of "
            f"n_samples={len(labels)}; NaN means unknown."
        )


def warn_of_marker(labels):
    """Warn where most labels are -1, which marks unlabelled rows of classifiers."""
    n_known, n_marked = (~np.isnan(labels)).sum(), (labels == -1).sum()
    if 2 * n_marked > n_known:
        warn_user(
            f"y is -1 in {n_marked} of {n_known} rows, and -1 is a number here. NaN "
            "means that a label is unknown.",
            TrainingWarning,
        )


def warn_of_level(level, n_labels):
    """Warn where so few labels were left out that none can show a level."""
    if n_labels < level * (n_labels + 1):
        warn_user(
            f"{n_labels} labels can't show that intervals hold a share of {level:g} of "
            "new ones: these are as wide as the model has them, or as the widest one "
            "that a left-out label needed.",
            TrainingWarning,
        )


def of_table(labels, fitted, table, function):
    """Return a function of the p(y|x) of rows of a table, and of their indices.

    Parameters
    ----------
    labels : LabelDensity
        p(y|x).
    fitted : FittedModel
        p(x).
    table : ndarray of shape (n, n_columns)
        Numbers and category indices.
    function : callable
        Takes the `PredictiveMixture` of some rows and their indices to an array.
    """
    z = fitted.encoder.encode(table)
    found = labels.of_rows(fitted, z)
    parts = [(rows, function(density, rows)) for rows, density in found]
    result = np.empty((len(z), *parts[0][1].shape[1:]))
    for rows, values in parts:
        result[rows] = values
    return result


def split_rows(given, n_rows):
    """Return given rows in parts of up to n_rows; one part, None, of None."""
    if given is None:
        return [None]
    return [given[start : start + n_rows] for start in range(0, len(given), n_rows)]


def pick_by_scores(log_weights, n_samples, rng):
    """Return n_samples indices of the flat entries of each row, by their weights.

    Also return how many entries the weights of each row are worth.
    """
    weights = np.exp(log_weights - log_weights.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    cumulated = weights.cumsum(axis=1)
    start = np.arange(len(weights)) * weights.shape[1]
    uniform = rng.uniform(size=(len(weights), n_samples)) * cumulated[:, -1:]
    picked = [np.searchsorted(*pair) for pair in zip(cumulated, uniform, strict=True)]
    found = (np.stack(picked) + start[:, None]).ravel()
    return found, 1 / (weights**2).sum(axis=1)


def warn_of_repeats(effective, n_samples):
    """Warn where the draws for a label are worth fewer rows than are asked for."""
    if effective < n_samples:
        warn_user(
            f"Few draws go with this y: they are worth {effective:.1f} rows, and "
            f"n_samples={n_samples} rows of them repeat.",
            TrainingWarning,
        )


def check_experts(experts, known):
    """Return the names of the learners that an option asks for.

    Raises
    ------
    ValueError
        Where it names none, or one that is unknown.
    """
    if isinstance(experts, str) and experts == "all":
        return tuple(known)
    names = list(experts)
    unknown = [name for name in names if name not in known]
    if unknown or not names or len(set(names)) < len(names):
        raise InvalidParameterError(
            f"The 'experts' parameter must be 'all' or a list of some of {list(known)},"
            f" each once. Got {experts!r}."
        )
    return tuple(names)
