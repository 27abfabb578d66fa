"""The mixture of fitted densities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from skebm.composition._base import Composition
from skebm.composition._parts import checked_weights, draws_of, joined, picked
from skebm.composition._product import by_number
from skebm.estimators._input import check_n_samples, private_random_state
from skebm.evaluation import NORMALIZED, LogNormalizer
from skebm.utils import draw_seed


class MixtureOfExperts(Composition):
    r"""Mixture of fitted densities: rows that any of them finds likely.

    .. math:: p(x) = \sum_k \pi_k \, p_k(x), \qquad \pi_k = w_k / \sum_l w_l

    It is normalised, as its parts are, and draws are draws of the parts.

    Parameters
    ----------
    estimators : sequence of estimator
        Fitted densities of the same columns, as in `ProductOfExperts`.
    weights : sequence of float, default=None
        w, above 0; None is the same for all.

    Examples
    --------
    >>> import numpy as np
    >>> from skebm import BernoulliRBM
    >>> from skebm.composition import MixtureOfExperts
    >>> X = np.eye(3)[np.arange(60) % 3]
    >>> one, other = (BernoulliRBM(2, random_state=0).fit(V) for V in (X, 1 - X))
    >>> either = MixtureOfExperts([one, other], weights=[3, 1])
    >>> states = [[a, b, c] for a in (0, 1) for b in (0, 1) for c in (0, 1)]
    >>> round(float(np.exp(either.score_samples(states)).sum()), 6)
    1.0
    """

    def __init__(
        self, estimators: Sequence[Any], weights: Sequence[float] | None = None
    ) -> None:
        super().__init__(by_number(estimators), "auto", None)
        self.estimators = estimators
        self.weights = weights
        shares = checked_weights(
            weights, len(self.parts.densities), may_be_negative=False
        )
        self._shares = shares / shares.sum()

    @property
    def normalizer_result_(self) -> LogNormalizer:
        """Known: log Z is 0."""
        return NORMALIZED

    def energy(self, X: Any) -> NDArray[np.float64]:
        """Minus the log density of each row, in nats.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        energy : ndarray of shape (n_samples,)
        """
        return -logsumexp(self.parts.log_probs(X), axis=0, b=self._shares[:, None])

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Any:
        """Draw rows: each from a part that is drawn first.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        random_state : int, RandomState or None, default=None
            None is seeded by the system, so that two calls differ.

        Returns
        -------
        X : array or data frame of shape (n_samples, n_features)
        """
        check_n_samples(n_samples)
        rng = private_random_state(random_state)
        counts = rng.multinomial(n_samples, self._shares)
        tables = [
            draws_of(density, int(count), draw_seed(rng))
            for density, count in zip(self.parts.densities, counts, strict=True)
            if count
        ]
        return picked(joined(tables), rng.permutation(n_samples))
