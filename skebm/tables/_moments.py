"""Means and standard deviations of the columns of a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from skebm.tables._checks import CHUNK_ROWS, columns_text
from skebm.tables._wild_column import WildColumn

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
        leaves_out: bool = False,
    ) -> Self:
        """Compute the moments of X, or of `to_line` (X), in chunks: no copy is made.

        ``to_line`` maps rows to float64 rows, each entry by itself; NaN stays NaN. It
        may map entries that are to be left out to NaN: then ``leaves_out`` is set.

        Raises
        ------
        ValueError
            Where a column's variance overflows float64; ``names`` are for the message.
        """
        weight = np.ones(len(X)) if sample_weight is None else sample_weight
        total = weight.sum()
        chunks = [slice(i, i + CHUNK_ROWS) for i in range(0, len(X), CHUNK_ROWS)]
        dtype = X.dtype if to_line is None else np.dtype(np.float64)

        def line(rows: Array) -> Array:
            return rows if to_line is None else to_line(rows)

        # Moments about the first row: no cancellation for columns far from zero.
        origin = line(X[:1])[0].astype(np.float64)
        if is_incomplete := leaves_out or any(np.isnan(X[c]).any() for c in chunks):
            total = sum(weight[c] @ ~np.isnan(line(X[c])) for c in chunks)
            for c in chunks:
                rows = line(X[c])
                first = np.isnan(rows).argmin(axis=0)
                found = rows[first, np.arange(X.shape[1])]
                origin = np.where(np.isnan(origin), found, origin)

        def deviations(rows: Array, centre: Array) -> Array:
            rows = line(rows)
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

    def without_wild(self, wild: Mapping[int, WildColumn]) -> Self:
        """Return the moments with those of the core of columns with wild values."""
        mean, spread = self.mean.copy(), self.spread.copy()
        for j, column in wild.items():
            mean[j], spread[j] = column.mean, column.spread
        return type(self)(mean, spread, self.varies)

    def of_columns(self, columns: NDArray[np.int64]) -> Self:
        """Return the moments of some columns."""
        chosen = self.mean[columns], self.spread[columns], self.varies[columns]
        return type(self)(*chosen)
