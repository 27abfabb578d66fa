"""Splits of the rows into those trained on and those held out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: Most rows that early stopping, the noise of ties and calibration look at.
MAX_HELD_OUT = 10_000
#: Held-out labels of each class by which early stopping may go.
MIN_HELD_OUT_LABELS = 20

#: Takes a number of rows and a random state to training and held-out (or no) rows.
Split = Callable[[int, np.random.RandomState], tuple[Tensor, Tensor | None]]


def keep_all(n_rows: int, rng: np.random.RandomState) -> tuple[Tensor, None]:
    """Split into training rows alone."""
    del rng
    return torch.arange(n_rows), None


def split_at_random(early_stopping: bool, fraction: float) -> Split:
    """Return the split that holds out a fraction of the rows, where asked for."""

    def split(n_rows: int, rng: np.random.RandomState) -> tuple[Tensor, Tensor | None]:
        n_held_out = min(MAX_HELD_OUT, round(fraction * n_rows))
        if not early_stopping or min(n_held_out, n_rows - n_held_out) < 1:
            return keep_all(n_rows, rng)
        order = torch.from_numpy(rng.permutation(n_rows))
        return order[n_held_out:], order[:n_held_out]

    return split


def has_held_out_labels(
    indices: NDArray[np.int64], n_classes: int, fraction: float
) -> bool:
    """Return True where each class leaves enough held-out labels to evaluate by."""
    counts = np.bincount(indices[indices >= 0], minlength=n_classes)
    return bool((fraction * counts).min() >= MIN_HELD_OUT_LABELS)


def labeled_split(
    indices: NDArray[np.int64], fraction: float, by_labels: bool
) -> Split:
    """Return the split that holds out a fraction of the rows.

    Parameters
    ----------
    indices : ndarray of int of shape (n,)
        Class indices, -1 where unlabelled.
    fraction : float
        Share of the rows held out.
    by_labels : bool
        Whether labelled rows alone are held out, the fraction of each class.
    """
    hold_out = _hold_out_labels if by_labels else _hold_out_rows

    def split(n_rows: int, rng: np.random.RandomState) -> tuple[Tensor, Tensor | None]:
        held_out = hold_out(indices, fraction, rng)
        if not held_out.any():
            return keep_all(n_rows, rng)
        everything = torch.arange(n_rows)
        return everything[~held_out], everything[held_out]

    return split


def _hold_out_labels(
    indices: NDArray[np.int64], fraction: float, rng: np.random.RandomState
) -> NDArray[np.bool_]:
    """Return a mask of a fraction of the labelled rows of each class."""
    held_out = np.zeros(len(indices), dtype=bool)
    for k in range(indices.max() + 1):
        rows = rng.permutation(np.flatnonzero(indices == k))
        share = min(max(1, round(fraction * len(rows))), MAX_HELD_OUT)
        held_out[rows[:share]] = True
    return held_out


def _hold_out_rows(
    indices: NDArray[np.int64], fraction: float, rng: np.random.RandomState
) -> NDArray[np.bool_]:
    """Return a mask of a fraction of the rows; one of each class stays in training."""
    held_out = np.zeros(len(indices), dtype=bool)
    order = rng.permutation(len(indices))
    first_of_class = np.unique(indices[order], return_index=True)[1]
    # Taking rows from the end keeps the class frequencies.
    order = np.delete(order, first_of_class)[::-1]
    held_out[order[: min(round(fraction * len(indices)), MAX_HELD_OUT)]] = True
    return held_out
