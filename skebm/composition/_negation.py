"""A fitted density without what another one finds likely."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skebm.composition._base import Composition
from skebm.utils import InvalidParameterError, is_positive


class Negation(Composition):
    r"""Rows of one density that are no rows of another.

    .. math:: p(x) = \frac{1}{Z} \, \frac{p_1(x)}{1 + (p_2(x) / p_1(x))^w}

    With w = 1 the factor is the probability that a row of an even mixture of both is
    none of the second. Where :math:`p_2` is far larger, the density is the published
    :math:`p_1^{1 + w} / p_2^w`; that has no integral where :math:`p_2` falls faster
    than :math:`p_1`, whereas this one is never above :math:`p_1 / Z`.

    Parameters
    ----------
    estimator : estimator
        Fitted density whose rows are wanted, as in `ProductOfExperts`.
    negated : estimator
        Fitted density of the same columns, whose rows are not.
    weight : float, default=1.0
        w, above 0; large ones make the border sharp.
    normalizer : {"auto", "importance", "ais", None} or instance, default="auto"
        As in `ProductOfExperts`.
    random_state : int, RandomState or None, default=None
        Seed of the estimate of log Z.

    References
    ----------
    Y. Du, S. Li and I. Mordatch, "Compositional visual generation with energy based
    models", NeurIPS 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from skebm import BernoulliRBM
    >>> from skebm.composition import Negation
    >>> X = np.eye(3)[np.arange(60) % 3]
    >>> rows, first = (BernoulliRBM(2, random_state=0).fit(V) for V in (X, X[::3]))
    >>> others = Negation(rows, first, random_state=0)
    >>> log_p = others.score_samples([[1, 0, 0], [0, 1, 0]])
    >>> bool(log_p[0] < log_p[1])
    True
    """

    def __init__(
        self,
        estimator: Any,
        negated: Any,
        weight: float = 1.0,
        *,
        normalizer: Any = "auto",
        random_state: Any = None,
    ) -> None:
        densities = {"estimator": estimator, "negated": negated}
        super().__init__(densities, normalizer, random_state)
        if not is_positive(weight):
            raise InvalidParameterError(
                f"The 'weight' parameter must be a number above 0. Got {weight!r}."
            )
        self.estimator = estimator
        self.negated = negated
        self.weight = weight

    @property
    def proposals(self) -> Sequence[Any]:
        """The density whose rows are wanted."""
        return self.parts.densities[:1]

    def energy(self, X: Any) -> NDArray[np.float64]:
        """Energy E of each row, in nats; low is likely.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        energy : ndarray of shape (n_samples,)
            Infinite where the wanted density is zero.
        """
        wanted, negated = self.parts.log_probs(X)
        is_nowhere = np.isneginf(wanted)
        wanted = np.where(is_nowhere, 0.0, wanted)
        energy = np.logaddexp(0.0, self.weight * (negated - wanted)) - wanted
        return np.where(is_nowhere, np.inf, energy)
