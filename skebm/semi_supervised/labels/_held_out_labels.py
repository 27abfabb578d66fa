"""Cross-validation folds over the labelled rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]

MAX_HELD_OUT_LABELS = 1000
N_FOLDS = 5


@dataclass(frozen=True, eq=False)
class HeldOutLabels:
    """Labelled rows that are held out in turn, each class spread over all folds.

    Attributes
    ----------
    rows : ndarray of int of shape (n,)
        Indices of the rows.
    labels : ndarray of int of shape (n,)
        Their class indices.
    folds : ndarray of int of shape (n,)
        Index of each row's fold.
    """

    rows: Indices
    labels: Indices
    folds: Indices

    @classmethod
    def choose(
        cls, y: Indices, n_classes: int, rng: np.random.RandomState
    ) -> HeldOutLabels | None:
        """Draw at most a thousand rows of the classes that have two labels or more.

        Return None where fewer than two classes have.

        Parameters
        ----------
        y : ndarray of int of shape (n_rows,)
            Class indices, -1 where unlabelled.
        n_classes : int
            Number of classes.
        rng : RandomState
            Draws the rows and their order.
        """
        several = np.bincount(y[y >= 0], minlength=n_classes) >= 2
        if several.sum() < 2:
            return None
        rows = rng.permutation(np.flatnonzero((y >= 0) & several[y]))
        rows = rows[:MAX_HELD_OUT_LABELS]
        return cls(rows, y[rows], assign_folds(y[rows]))

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def n_folds(self) -> int:
        """Number of folds: five, or fewer where rows are fewer."""
        return int(self.folds.max()) + 1

    def hide(self, y: Indices, fold: int) -> Indices:
        """Return the class indices of all rows without the labels of one fold."""
        hidden = y.copy()
        hidden[self.rows[self.folds == fold]] = -1
        return hidden


def assign_folds(labels: Indices) -> Indices:
    """Return the index of the fold, of five, of each label; classes are spread out."""
    folds = np.empty(len(labels), dtype=int)
    folds[np.argsort(labels, kind="stable")] = np.arange(len(labels)) % N_FOLDS
    return folds
