"""Means and standard deviations of the columns of a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from skebm.tables._checks import CHUNK_ROWS, columns_text

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Moments:
    """Weighted means and standard deviations of columns, missing entries left out.

    Attributes
    ----------
    mean : ndarray of shape (n_features,)
        float64, whatever the dtype of the table.
    spread : ndarray of shape (n_features,)
        Standard deviations.
    varies : ndarray of bool of shape (n_features,)
        Whether the spread exceeds rounding errors.
    """

    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    varies: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        X: Array,
        sample_weight: Array | None,
        names: Any = None,
        to_line: Callable[[Array], Array] | None = None,
    ) -> Self:
        """Compute the moments of X, or of `to_line` (X), in chunks: no copy is made.

        ``to_line`` maps rows to float64 rows, each entry by itself; NaN stays NaN.

        Raises
        ------
        ValueError
            Where a column's variance overflows float64; ``names`` are for the message.
        """
        weight = np.ones(len(X)) if sample_weight is None else sample_weight
        total = weight.sum()
        chunks = [slice(i, i + CHUNK_ROWS) for i in range(0, len(X), CHUNK_ROWS)]
        # Moments about the first row: no cancellation for columns far from zero.
        origin = X[:1]
        if is_incomplete := any(np.isnan(X[c]).any() for c in chunks):
            total = sum(weight[c] @ ~np.isnan(X[c]) for c in chunks)
            first = np.isnan(X).argmin(axis=0)
            origin = X[first, np.arange(X.shape[1])][None]
        dtype = X.dtype if to_line is None else np.dtype(np.float64)
        origin = (origin if to_line is None else to_line(origin))[0].astype(np.float64)

        def deviations(rows: Array, centre: Array) -> Array:
            rows = rows if to_line is None else to_line(rows)
            difference = rows - centre
            if not is_incomplete:
                return difference
            return np.where(np.isnan(rows), 0.0, difference)

        with np.errstate(over="ignore", invalid="ignore"):
            shift = sum(weight[c] @ deviations(X[c], origin) for c in chunks) / total
            mean = origin + shift
            squares = (weight[c] @ deviations(X[c], mean) ** 2 for c in chunks)
            variance = sum(squares) / total
        if not np.isfinite(variance).all():
            bad = columns_text(names, ~np.isfinite(variance))
            raise ValueError(
                f"X holds values too large for their variance to be computed in {bad}; "
                "rescale it, or drop it."
            )
        # Rounding leaves a constant column with a variance of about (eps * mean)^2.
        rounding = 10 * np.finfo(dtype).eps * np.abs(mean)
        spread = np.sqrt(variance)
        return cls(mean, spread, spread > rounding)

    def of_columns(self, columns: NDArray[np.int64]) -> Self:
        """Return the moments of some columns."""
        chosen = self.mean[columns], self.spread[columns], self.varies[columns]
        return type(self)(*chosen)
