"""How much lower rows of the data would score had an RBM not been trained on them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skebm.exceptions import DivergenceError, TrainingWarning

Array = NDArray[Any]

MIN_ROWS = 4
#: Below so many rows there are four folds, else two.
FEW_ROWS = 200
#: Least number of rows of a fit, as a share of all, that tells something.
MIN_SHARE = 0.1

#: Takes rows and a seed to minus the free energy of an RBM trained on them alone.
Refit = Callable[[Array, int], Callable[[Array], Array]]


def left_out_shifts(
    score: Callable[[Array], Array],
    rows: Array,
    n_trained: int,
    refit: Refit,
    seed: int,
) -> Array:
    r"""Return for each row how far its score would fall, were it left out.

    An RBM is trained on all folds of the rows but one and scores that one; there are
    two folds, and four of few rows. With the scores s of the RBM of all n rows and
    those t of that of m rows, each less its mean over its own rows, the shift is

    .. math:: \frac{m}{n} (t(x) - s(x)),

    since the excess of rows trained on is about inverse to their number.

    Parameters
    ----------
    score : callable
        Minus the free energy of rows.
    rows : ndarray of shape (n, n_features)
        Rows that the RBM was trained on, or some of them.
    n_trained : int
        Number of all of them.
    refit : callable
        Trains an RBM alike on other rows.
    seed : int
        Of every random number.
    """
    n_rows, shifts = len(rows), np.zeros(len(rows))
    folds = np.array_split(
        np.random.RandomState(seed).permutation(n_rows), 4 if n_rows < FEW_ROWS else 2
    )
    share = (n_rows - n_rows / len(folds)) / n_trained
    if n_rows < MIN_ROWS or share < MIN_SHARE:
        return shifts
    scores = score(rows)
    scores = scores - scores.mean()
    for fold in folds:
        rest = np.delete(rows, fold, axis=0)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", TrainingWarning)
                new_score = refit(rest, seed)
        except DivergenceError:
            return np.zeros(n_rows)
        new = new_score(rows[fold]) - new_score(rest).mean()
        shifts[fold] = share * (new - scores[fold])
    return shifts
