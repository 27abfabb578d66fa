"""The base of compositions: energy, log density and draws."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skebm.composition._parts import Parts, picked
from skebm.composition._pool import N_DRAWS, Annealing, Pool
from skebm.estimators._input import check_n_samples, private_random_state
from skebm.estimators._published import warn_unnormalized, warn_untrusted
from skebm.evaluation import LogNormalizer
from skebm.evaluation.normalizers._resolve import resolve_normalizer
from skebm.exceptions import TrainingWarning
from skebm.utils import draw_seed, warn_user

Array = NDArray[Any]

#: Rows that are drawn from the parts for each row that is picked among them.
DRAWS_A_ROW = 20
#: Least effective number of rows that draws are picked from.
MIN_EFFECTIVE = 50.0


class Composition(ABC):
    """A density of fitted ones, p(x) = exp(-E(x)) / Z.

    Compositions need no `fit`, and can be parts of others.

    Attributes
    ----------
    parts : skebm.composition._parts.Parts
        The fitted densities.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of str
        Names of the columns, where the parts have names.
    is_continuous : bool
        Whether rows have a density, without probabilities of single values.
    """

    def __init__(
        self, densities: dict[str, Any], normalizer: Any, random_state: Any
    ) -> None:
        resolve_normalizer(normalizer)
        self.parts = Parts.of(densities)
        self.normalizer = normalizer
        self.random_state = random_state
        self.n_features_in_ = self.parts.n_features
        self.is_continuous = self.parts.is_continuous
        if self.parts.names is not None:
            self.feature_names_in_ = self.parts.names
        if not self.is_continuous and normalizer not in ("auto", "importance", None):
            raise ValueError(
                f"normalizer={normalizer!r} anneals columns of numbers, but the parts "
                "have probabilities of values. Use 'auto'."
            )

    @abstractmethod
    def energy(self, X: Any) -> Array:
        """Energy E of each row, in nats; low is likely.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        energy : ndarray of shape (n_samples,)
        """

    @property
    def proposals(self) -> Sequence[Any]:
        """The parts whose draws are near those of the whole."""
        return self.parts.densities

    @cached_property
    def normalizer_result_(self) -> LogNormalizer | None:
        """The whole estimate of log Z, made at the first question; None without one."""
        normalizer = resolve_normalizer(self.normalizer)
        if normalizer is None:
            return None
        if self.is_continuous:
            estimate = self._annealing.estimate(normalizer, self._seed + 1)
        else:
            estimate = self._pool.estimate
        warn_untrusted(estimate, "The parts may have too little in common.")
        return estimate

    @property
    def log_normalizer_(self) -> float | None:
        """The log of the normaliser, in nats; None without one."""
        return getattr(self.normalizer_result_, "log_normalizer", None)

    @property
    def log_normalizer_se_(self) -> float | None:
        """The standard error of `log_normalizer_`."""
        return getattr(self.normalizer_result_, "standard_error", None)

    def score_samples(self, X: Any) -> Array:
        """Log density of each row, in nats and the units of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            float64; without log Z where ``normalizer=None``.

        Warns
        -----
        skebm.exceptions.NormalizerWarning
            Where the estimate of log Z, made at the first call, can't be trusted.
        """
        return -self.energy(X) - (self.log_normalizer_ or 0.0)

    def score(self, X: Any, y: Any = None) -> float:
        """Mean log density of the rows of X, in nats.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : None
            Ignored.

        Returns
        -------
        score : float
        """
        del y
        scores = self.score_samples(X)
        if self.log_normalizer_ is None:
            warn_unnormalized()
        return float(scores.mean())

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Any:
        """Draw rows.

        Columns of numbers by annealing. Rows with probabilities of values are picked
        from draws of the parts, so that some may be equal.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        random_state : int, RandomState or None, default=None
            None is seeded by the system, so that two calls differ.

        Returns
        -------
        X : array or data frame of shape (n_samples, n_features)

        Warns
        -----
        skebm.exceptions.TrainingWarning
            Where few draws of the parts are draws of the whole.
        """
        check_n_samples(n_samples)
        rng = private_random_state(random_state)
        if self.is_continuous:
            return self._annealing.sample(n_samples, draw_seed(rng))
        n_draws = max(N_DRAWS, DRAWS_A_ROW * n_samples)
        pool = Pool.draw(self.energy, self.proposals, n_draws, draw_seed(rng))
        weights = pool.weights()
        n_effective = 1 / float(np.square(weights).sum())
        if not n_effective >= MIN_EFFECTIVE:
            warn_user(
                f"The draws can't be trusted: of {len(weights)} rows that the parts "
                f"drew, {n_effective:.0f} would be drawn by the whole. The parts may "
                "have too little in common.",
                TrainingWarning,
            )
        return picked(pool.table, rng.choice(len(weights), n_samples, p=weights))

    @cached_property
    def _seed(self) -> int:
        """The seed of everything that is estimated once."""
        return draw_seed(private_random_state(self.random_state)) % 2**31

    @cached_property
    def _pool(self) -> Pool:
        """Weighed draws of the parts."""
        return Pool.draw(self.energy, self.proposals, N_DRAWS, self._seed)

    @cached_property
    def _annealing(self) -> Annealing:
        """What reaches the density of numbers."""
        return Annealing(self.energy, self.parts, self._pool, self._seed)
