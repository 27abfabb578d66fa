"""Explanations of rows as a data frame, with a sentence for each entry."""

from __future__ import annotations

import numpy as np
import pandas as pd

from skebm.evaluation import conformal_p_values
from skebm.tables._seen import see

#: Largest number of rows that a sentence names.
MOST_ROWS = 1e6
#: Rows of which one is still as usual.
USUAL = 10


def explained_frame(X, table, found, p_values, decode, names):
    """Return the explanation of rows as a frame, one line for each entry.

    Parameters
    ----------
    X : array-like
        The rows as they came.
    table : ndarray of shape (n, n_features)
        The rows as numbers and category indices.
    found : Explanation
        What the model expects.
    p_values : ndarray of shape (n, n_features)
        How strange each entry is beside those of other rows.
    decode : callable or None
        Takes a table to a frame with categories; None where there are none.
    names : array-like or None
        Names of the columns.
    """
    n, d = table.shape
    labels = see(X).format.labels
    rows = pd.RangeIndex(n) if labels is None else labels
    columns = pd.Index(range(d) if names is None else list(names))
    # Codes, not products: labels of rows may repeat.
    at = np.repeat(np.arange(n), d), np.tile(np.arange(d), n)
    index = pd.MultiIndex.from_arrays(
        [rows.take(at[0]), columns.take(at[1])], names=["row", "column"]
    )
    values, expected = (decoded(part, decode) for part in (table, found.expected))
    frame = pd.DataFrame(
        {
            "value": values,
            "log_p": found.log_p.ravel(),
            "tail_probability": found.tail.ravel(),
            "p_value": p_values.ravel(),
            "expected": expected,
            "lower": found.lower.ravel(),
            "upper": found.upper.ravel(),
        },
        index=index,
    )
    shares = found.share.ravel()
    is_far = found.far == 1
    left_out = [far_others(columns, is_far[i], j) for i, j in zip(*at, strict=True)]
    frame["sentence"] = [
        sentence(column, *parts)
        for column, *parts in zip(
            index.get_level_values(1),
            frame["value"],
            rarity(frame["tail_probability"], frame["p_value"]),
            frame["expected"],
            frame["lower"],
            frame["upper"],
            shares,
            left_out,
            strict=True,
        )
    ]
    return frame


def rarity(tail, p_value):
    """Return how rare entries are, for their sentences.

    The model's own probability; where that is usual, the p-value may tell that entries
    of other rows are still more usual.
    """
    return np.where(tail * USUAL < 1, tail, np.fmin(tail, p_value))


def entry_p_values(tails, others):
    """Return conformal p-values of entries beside those of other rows, by column.

    Parameters
    ----------
    tails : ndarray of shape (n, n_features)
        How strange entries are: small where they are; NaN where missing.
    others : ndarray of shape (m, n_features) or None
        Those of other rows; None returns ``tails`` themselves.
    """
    if others is None:
        return tails
    p_values = np.full(tails.shape, np.nan)
    for j in range(tails.shape[1]):
        known = ~np.isnan(tails[:, j])
        beside = others[~np.isnan(others[:, j]), j]
        if known.any() and len(beside):
            p_values[known, j] = conformal_p_values(tails[known, j], beside)
    return p_values


def decoded(table, decode):
    """Return the entries of a table, row by row, with categories as they are."""
    if decode is None:
        return table.ravel()
    frame = decode(np.where(np.isnan(table), 0, table))
    values = np.empty(table.shape, dtype=object)
    for j in range(table.shape[1]):
        values[:, j] = frame.iloc[:, j].to_numpy(dtype=object)
    values[np.isnan(table)] = np.nan
    return values.ravel()


def far_others(columns, is_far, j):
    """Return the names of columns but j whose values are far outside, in words."""
    names = [str(columns[k]) for k in np.flatnonzero(is_far) if k != j]
    return ", ".join(names)


def sentence(column, value, tail, expected, lower, upper, share, left_out=""):
    """Return one line on an entry, such as "pressure 12; given the rest 3 to 5"."""
    column = f"column {column} =" if isinstance(column, int) else str(column)
    if np.isnan(tail):
        column = column.removesuffix(" =")
        return f"{column}: missing" if pd.isna(value) else f"{column}: not known"
    if not np.isnan(share):
        rest = f"{shown(expected)} ({100 * share:.0f} %)"
    elif lower == upper:
        rest = f"always {shown(lower)}"
    else:
        rest = f"{shown(lower)} to {shown(upper)}"
    given = f"the rest but {left_out}," if left_out else "the rest"
    return f"{column} {shown(value)}; given {given} {rest}: {one_in(tail)}"


def one_in(tail):
    """Return a probability as a number of rows, of two digits."""
    if tail * MOST_ROWS <= 1:
        return "fewer than one row in a million"
    n_rows = float(f"{1 / tail:.2g}")
    return "as usual" if n_rows < USUAL else f"one row in {n_rows:.0f}"


def shown(value):
    """Return a value in four digits, or a category as it is."""
    is_number = isinstance(value, float | np.floating)
    return f"{value:.4g}" if is_number else str(value)
