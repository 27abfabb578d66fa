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

#: Standard errors of a mean gain beyond which it is clear.
CLEAR = 3.0
#: Least number of gains by which some folds spare the others.
MIN_CLEAR = 10

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
    folds = _folds(n_rows, seed)
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


def left_out_gain(
    rows: Array, gains: Callable[[Array, Array], tuple[float, Array]]
) -> tuple[float, float]:
    r"""Return what rows not trained on would gain by training on all, and the error.

    .. math:: \hat g = (1 - \tfrac{m}{n}) \, t + \tfrac{m}{n} s

    with the mean gain t of the m rows that are left out of a fit, and that s of the
    rows it is trained on, since the excess of the latter is about inverse to their
    number. Incomplete rows are trained on, and not judged. Where some folds are clear
    enough, the others are spared. Fewer than `MIN_ROWS` complete rows tell nothing:
    the gain is infinite. It is minus infinity where a fit diverges.

    Parameters
    ----------
    rows : ndarray of shape (n, n_features)
        All rows; NaN where an entry is missing.
    gains : callable
        Takes rows to train on and complete ones left out to the mean gain of the former
        and the gains of the latter, in nats.
    """
    values, mean, error = np.empty(0), np.inf, 0.0
    for fold in _folds(len(rows), 0):
        left_out = rows[fold]
        left_out = left_out[~np.isnan(left_out).any(axis=1)]
        if not len(left_out):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", TrainingWarning)
                level, new = gains(np.delete(rows, fold, axis=0), left_out)
        except DivergenceError:
            return -np.inf, 0.0
        new = new + len(fold) / len(rows) * (level - new.mean())
        if not np.isfinite(new).all():
            return -np.inf, 0.0
        values = np.append(values, new)
        if len(values) < MIN_ROWS:
            continue
        mean = float(values.mean())
        error = float(values.std(ddof=1) / len(values) ** 0.5)
        if len(values) >= MIN_CLEAR and abs(mean) > CLEAR * error:
            break
    return mean, error


def _folds(n_rows: int, seed: int) -> list[NDArray[np.int64]]:
    """Return the indices of each fold."""
    order = np.random.RandomState(seed).permutation(n_rows)
    return np.array_split(order, 4 if n_rows < FEW_ROWS else 2)
