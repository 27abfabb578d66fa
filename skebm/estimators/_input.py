"""Reads and checks the tables, weights and options that users pass to estimators."""

from __future__ import annotations

import copy
from numbers import Integral

import numpy as np
from scipy import sparse
from sklearn.utils import _safe_indexing

from skebm.datasets import sample_rows
from skebm.datasets._batches import is_stream
from skebm.distributed import current
from skebm.estimators._reader import TableReader
from skebm.estimators._weights import check_weights
from skebm.models import Chains
from skebm.samplers import AbstractSampler
from skebm.tables._checks import columns_text
from skebm.utils import InvalidParameterError, is_count
from skebm.utils._random import private_random_state

__all__ = [
    "TableReader",
    "agreed_random_state",
    "chains_of",
    "check_n_samples",
    "check_n_steps",
    "keep_observed",
    "keep_weighted",
    "private_random_state",
    "refuse_missing",
    "rows_at_hand",
]


def agreed_random_state(random_state, *tables):
    """Return the random state of a fit, the same in all processes that make it.

    Raises ValueError in all of them where they don't have the same tables.
    """
    rng, processes = private_random_state(random_state), current()
    processes.check_alike("rows", *tables)
    rng.set_state(processes.agree(rng.get_state()))
    return rng


def rows_at_hand(X, sample_weight, random_state):
    """Return a table: X itself, or rows drawn from it where it comes in batches.

    The random state of the fit goes on as if there had been a table.
    """
    if not is_stream(X):
        return X
    if sample_weight is not None:
        raise InvalidParameterError(
            "The 'sample_weight' parameter goes with a table, not with batches. Draw "
            "rows and weights first: X, sample_weight = "
            "skebm.datasets.sample_rows(batches_of_both)."
        )
    rows = sample_rows(X, random_state=copy.deepcopy(random_state))
    return rows[0] if isinstance(rows, tuple) else rows


def keep_weighted(X, y, sample_weight, min_rows=2):
    """Return X, y and weights of the rows whose weight is above zero.

    Rows of weight zero then affect neither scaling nor reference nor graph.
    """
    if sample_weight is None:
        return X, y, None
    weight = check_weights(sample_weight, X)
    if weight.all():
        return X, y, weight
    rows = np.flatnonzero(weight)
    if len(rows) < min_rows:
        raise InvalidParameterError(
            f"The 'sample_weight' parameter must hold at least {min_rows} weights above"
            f" zero. Got {len(rows)} of {len(weight)}."
        )
    y = None if y is None else _safe_indexing(y, rows)
    return X[rows], y, weight[rows]


def keep_observed(X, sample_weight, names, min_rows):
    """Return X and weights without the rows whose entries are all missing.

    Raises
    ------
    ValueError
        Where all entries of a column are missing, or too few rows are left.
    """
    missing = np.isnan(X)
    if not missing.any():
        return X, sample_weight
    if min_rows > 1 and (empty := missing.all(axis=0)).any():
        raise ValueError(
            f"Input X contains NaN only in {columns_text(names, empty)}. Drop "
            f"{'it' if empty.sum() == 1 else 'them'}: nothing can be learnt there."
        )
    rows = np.flatnonzero(~missing.all(axis=1))
    if len(rows) < min_rows:
        raise ValueError(
            f"X must hold at least {min_rows} rows with an entry that is not NaN. Got "
            f"{len(rows)} of {len(X)}."
        )
    return X[rows], None if sample_weight is None else sample_weight[rows]


def refuse_missing(estimator, X):
    """Raise ValueError naming the columns where entries of X are missing."""
    if sparse.issparse(X) or not X.size or not np.isnan(X.min()):
        return
    names = getattr(estimator, "feature_names_in_", None)
    where = columns_text(names, np.isnan(X).any(axis=0))
    remedy = "its impute" if hasattr(estimator, "impute") else "BernoulliRBM.impute"
    raise ValueError(
        f"Input X contains NaN in {where}, where {type(estimator).__name__} "
        f"needs whole rows. Fill it in first, for example by {remedy}."
    )


def check_n_samples(n_samples):
    """Raise ValueError unless n_samples is a positive integer."""
    if not isinstance(n_samples, Integral) or n_samples < 1:
        raise InvalidParameterError(
            f"The 'n_samples' parameter must be an int of at least 1. Got {n_samples!r}"
            " instead."
        )


def check_n_steps(n_steps):
    """Raise ValueError unless n_steps is a positive integer."""
    if not isinstance(n_steps, Integral) or n_steps < 1:
        raise ValueError(f"n_steps must be an int of at least 1. Got {n_steps!r}.")


def chains_of(sampler, n_steps, given):
    """Return the chains that `sample` draws by, or None without a sampler.

    Raises
    ------
    ValueError
        Where the sampler is none of rows, the number of steps is no positive integer,
        or rows are given, which such chains do not hold.
    """
    if sampler is None:
        return None
    if given is not None:
        raise InvalidParameterError(
            "The 'sampler' and 'given' parameters of sample don't go together: chains "
            "of a sampler move all columns. Leave one out."
        )
    known = isinstance(sampler, AbstractSampler) and sampler.explores_rows
    if not known:
        raise InvalidParameterError(
            "The 'sampler' parameter of sample must be None or a sampler of rows, such "
            f"as skebm.samplers.AugmentedLangevin(). Got {sampler!r} instead."
        )
    if not is_count(n_steps, 1):
        raise InvalidParameterError(
            "The 'n_steps' parameter of sample must be an integer, at least 1. Got "
            f"{n_steps!r} instead."
        )
    return Chains(sampler, int(n_steps))
