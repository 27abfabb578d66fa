"""Labelled rows that judge what is learnt from the others."""

from __future__ import annotations

import numpy as np

MAX_JUDGES = 1000
N_FOLDS = 5


def choose_judges(codes, n_classes, rng):
    """Return the numbers of labelled rows that may be left out, at most a thousand.

    Those of classes with two labels or more; None where fewer than two classes have.

    Parameters
    ----------
    codes : ndarray of int of shape (n,)
        Class numbers, -1 where unlabelled.
    n_classes : int
        Number of classes.
    rng : RandomState
        Draws and orders them.
    """
    several = np.bincount(codes[codes >= 0], minlength=n_classes) >= 2
    if several.sum() < 2:
        return None
    judges = np.flatnonzero((codes >= 0) & several[codes])
    return rng.permutation(judges)[:MAX_JUDGES]


def fold_numbers(labels):
    """Return the fold, of five, of each judge: each class is spread over all."""
    fold = np.empty(len(labels), dtype=int)
    fold[np.argsort(labels, kind="stable")] = np.arange(len(labels)) % N_FOLDS
    return fold
