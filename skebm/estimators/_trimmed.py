"""Rows of `fit` that count, and those that are left out as outliers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from skebm.estimators._input import keep_observed, keep_weighted
from skebm.evaluation.outliers._trimming import most_outlying


def keep_rows(read, sample_weight, share, min_rows):
    """Return a table as read, of the rows that count, without the most outlying ones.

    Parameters
    ----------
    read : Read
        All rows of a table.
    sample_weight : array-like of shape (n_samples,) or None
        Their weights.
    share : float
        Share of the rows that count which is left out.
    min_rows : int
        Least number of rows.
    """
    numbers = np.arange(read.table.shape[0])
    table, numbers, weight = keep_weighted(read.table, numbers, sample_weight, min_rows)
    if share:
        numbers = numbers[~np.isnan(table).all(axis=1)]
    table, weight = keep_observed(table, weight, read.names, min_rows)
    if not share:
        return replace(read, table=table, weight=weight)
    out = most_outlying(table, share, read.reader.is_categorical)
    is_trimmed = np.zeros(read.table.shape[0], dtype=bool)
    is_trimmed[numbers[out]] = True
    kept, weight = keep_observed(
        table[~out], None if weight is None else weight[~out], read.names, min_rows
    )
    return replace(
        read, table=kept, weight=weight, trimmed=table[out], is_trimmed=is_trimmed
    )


def learnt_of(read):
    """Return the public attributes that tell of columns and rows, by name."""
    return {
        "is_categorical_": read.reader.is_categorical,
        "is_trimmed_": read.is_trimmed,
    }
