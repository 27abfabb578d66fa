"""Checks of `sample_weight`."""

from __future__ import annotations

import numpy as np
from sklearn.utils.validation import _check_sample_weight, _num_samples

from skebm.utils import InvalidParameterError

#: Only the ratios of weights matter: beyond these, all are divided by the largest.
LARGEST, SMALLEST = 1e30, 1e-30


def check_weights(sample_weight, X):
    """Return the weights of the rows of X as float64; None stays None.

    Raises
    ------
    ValueError
        Where they are not one real, finite number of at least 0 a row, or are all 0.
    """
    if sample_weight is None:
        return None
    try:
        if isinstance(sample_weight, np.ma.MaskedArray):
            sample_weight = np.ma.filled(sample_weight.astype(np.float64), np.nan)
        given = np.asarray(sample_weight)
        if given.dtype.kind not in "biufO":
            raise TypeError(f"an array of dtype {given.dtype}")
        given = given.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidParameterError(
            "The 'sample_weight' parameter must hold a real number for each row of X. "
            f"Got something else: {error}."
        ) from error
    n_rows = _num_samples(X)
    if given.ndim and given.shape != (n_rows,):
        raise InvalidParameterError(
            "The 'sample_weight' parameter must hold a weight for each row of X: "
            f"sample_weight.shape == {given.shape}, expected {(n_rows,)}."
        )
    if not np.isfinite(given).all():
        problem = "NaN" if np.isnan(given).any() else "infinity"
        raise ValueError(f"Input sample_weight contains {problem}.")
    weight = _check_sample_weight(
        given[()], X, dtype=np.float64, ensure_non_negative=True
    )
    largest = weight.max()
    if largest > LARGEST or 0 < largest < SMALLEST:
        weight = weight / largest
    return weight
