"""The parts of a composition: fitted densities of the same columns."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from skebm.estimators.boltzmann import (
    BernoulliRBM,
    DeepBeliefNetwork,
    RBMClassifier,
    SoftmaxRBM,
)
from skebm.utils import InvalidParameterError

Array = NDArray[Any]

#: Estimators whose rows have probabilities, not densities.
OF_PROBABILITIES = (BernoulliRBM, DeepBeliefNetwork, RBMClassifier, SoftmaxRBM)


@dataclass(frozen=True, eq=False)
class Parts:
    """Fitted densities of the same columns.

    Attributes
    ----------
    densities : tuple of estimator
        The densities.
    n_features : int
        Number of columns.
    names : ndarray of str or None
        Names of the columns.
    is_continuous : bool
        Whether all columns are numbers with a density.
    """

    densities: tuple[Any, ...]
    n_features: int
    names: Array | None
    is_continuous: bool

    @classmethod
    def of(cls, named: dict[str, Any]) -> Parts:
        """Return the parts of estimators by their names in error messages.

        Raises
        ------
        TypeError
            Where one is no density that can be drawn from.
        sklearn.exceptions.NotFittedError
            Where one is not fitted.
        ValueError
            Where one is not normalised, or columns differ.
        """
        for name, density in named.items():
            _check_density(name, density)
        (first, one), *others = named.items()
        for name, other in others:
            _check_columns(first, one, name, other)
        names = getattr(one, "feature_names_in_", None)
        return cls(
            tuple(named.values()), _n_features(one), names, has_only_densities(one)
        )

    def log_probs(self, X: Any) -> Array:
        """Return log p of rows by each density, shape (n_densities, n)."""
        return np.stack([density.score_samples(X) for density in self.densities])

    def table(self, values: Array) -> Any:
        """Return rows of numbers as a table of these columns."""
        if self.names is None:
            return values
        return pd.DataFrame(values, columns=self.names)


def draws_of(density: Any, n_samples: int, seed: int) -> Any:
    """Return rows drawn from a density: an array or a pandas data frame."""
    X = density.sample(n_samples, random_state=seed)
    X = X[0] if isinstance(X, tuple) else X  # of a classifier: rows and classes
    to_pandas = getattr(X, "to_pandas", None)
    return X if to_pandas is None else to_pandas()


def joined(tables: Sequence[Any]) -> Any:
    """Return the rows of tables as one."""
    if isinstance(tables[0], pd.DataFrame):
        return pd.concat(tables, ignore_index=True)
    return np.concatenate(tables)


def picked(table: Any, rows: Array) -> Any:
    """Return rows of a table by their numbers."""
    if isinstance(table, pd.DataFrame):
        return table.iloc[rows].reset_index(drop=True)
    return table[rows]


def checked_weights(
    weights: Any, n: int, *, may_be_negative: bool
) -> NDArray[np.float64]:
    """Return the weights of n densities; None is one for each.

    Raises
    ------
    ValueError
        Where they are not n numbers of the right sign.
    """
    if weights is None:
        return np.ones(n)
    values = list(weights) if np.iterable(weights) else [weights]
    right = len(values) == n and all(
        isinstance(w, Real)
        and np.isfinite(w)
        and (w > 0 or (may_be_negative and w < 0))
        for w in values
    )
    if right and max(values) > 0:
        return np.asarray(values, dtype=np.float64)
    kind = "numbers other than 0, one of them above 0" if may_be_negative else ""
    raise InvalidParameterError(
        f"The 'weights' parameter must be None or a list of {n} "
        f"{kind or 'numbers above 0'}, one for each estimator. Got {weights!r}."
    )


def has_only_densities(density: Any) -> bool:
    """Return whether a density is one of numbers, without probabilities of values."""
    known = getattr(density, "is_continuous", None)
    if known is not None:
        return bool(known)
    if isinstance(density, OF_PROBABILITIES):
        return False
    has_atoms = getattr(density, "atoms", None) is not None
    has_atoms |= getattr(density, "sentinels", "warn") == "atom"
    return getattr(density, "is_categorical_", None) is None and not has_atoms


def _check_density(name: str, density: Any) -> None:
    """Raise where an object is no fitted, normalised density."""
    for method in ("score_samples", "sample"):
        if isinstance(density, type) or not callable(getattr(density, method, None)):
            raise TypeError(
                f"{name} must be a fitted density with score_samples and sample. Got "
                f"{density!r}."
            )
    if "random_state" not in inspect.signature(density.sample).parameters:
        raise TypeError(
            f"{name}: the method sample of {type(density).__name__} must take "
            "n_samples and random_state."
        )
    try:
        if isinstance(density, BaseEstimator):  # others need no fit
            check_is_fitted(density)
    except NotFittedError as error:
        raise NotFittedError(
            f"{name}, {density!r}, is not fitted: call its fit first."
        ) from error
    if getattr(density, "normalizer", "auto") is None:
        raise ValueError(
            f"{name}, {density!r}, has normalizer=None, so that its scores are no log "
            "densities. Give it a normalizer."
        )


def _n_features(density: Any) -> int:
    return int(density.n_features_in_)


def _check_columns(first: str, one: Any, name: str, other: Any) -> None:
    """Raise where two densities are not of the same columns."""
    of_one, of_other = (_described(density) for density in (one, other))
    for what, a in of_one.items():
        b = of_other[what]
        if a != b:
            raise ValueError(
                f"{first} and {name} are densities of different columns: their {what} "
                f"are {a} and {b}. Fit them to tables of the same columns."
            )


def _described(density: Any) -> dict[str, Any]:
    """Return what the columns of a density are, by what it is called."""
    names = getattr(density, "feature_names_in_", None)
    categorical = getattr(density, "is_categorical_", None)
    if categorical is None:
        categorical = np.zeros(_n_features(density), bool)
    kind = "densities" if has_only_densities(density) else "probabilities of values"
    return {
        "numbers of columns": _n_features(density),
        "names of columns": None if names is None else [*map(str, names)],
        "columns of categories": np.flatnonzero(categorical).tolist(),
        "scores": kind,
    }
