"""The product of fitted densities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skebm.composition._base import Composition
from skebm.composition._parts import checked_weights
from skebm.utils import InvalidParameterError


class ProductOfExperts(Composition):
    r"""Product of fitted densities: rows that each of them finds likely.

    .. math:: p(x) = \frac1Z \prod_k p_k(x)^{w_k}, \qquad
        E(x) = -\sum_k w_k \log p_k(x)

    Densities of rows with an attribute A and of rows with B, learnt apart, give rows
    with both: where the attributes are independent given the row, these have the
    density :math:`p_A(x) \, p_B(x) / p(x)`, so weights 1, 1 and -1 with a density p of
    all rows. Without p, what is common to both counts twice.

    Parameters
    ----------
    estimators : sequence of estimator
        Fitted densities of the same columns: of this package or with its methods
        ``score_samples`` and ``sample(n_samples, random_state)``.
    weights : sequence of float, default=None
        w; None is 1 each. With a negative weight the product may have no integral: a
        warning then says that log Z can't be trusted. See also `Negation`.
    normalizer : {"auto", "importance", "ais", None} or instance, default="auto"
        Estimator of log Z, as in `skebm.EBMDensityEstimator`, from a Gaussian mixture
        fitted to draws of the parts. Rows with categories or other values that have a
        probability take importance sampling from the parts. None leaves log Z out.
    random_state : int, RandomState or None, default=None
        Seed of the estimate of log Z.

    References
    ----------
    G. E. Hinton, "Training products of experts by minimizing contrastive divergence",
    Neural Computation 14 (2002). Y. Du, S. Li and I. Mordatch, "Compositional visual
    generation with energy based models", NeurIPS 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from skebm import EBMDensityEstimator
    >>> from skebm.composition import ProductOfExperts
    >>> X = np.random.RandomState(0).normal(size=(200, 2))
    >>> fast = {"reference": "gaussian", "max_iter": 1, "random_state": 0}
    >>> left, right = (
    ...     EBMDensityEstimator(**fast).fit(X + shift) for shift in (-1, 1)
    ... )
    >>> both = ProductOfExperts([left, right], random_state=0)
    >>> both.score_samples(X[:3]).shape, both.sample(4, random_state=0).shape
    ((3,), (4, 2))
    """

    def __init__(
        self,
        estimators: Sequence[Any],
        weights: Sequence[float] | None = None,
        *,
        normalizer: Any = "auto",
        random_state: Any = None,
    ) -> None:
        super().__init__(by_number(estimators), normalizer, random_state)
        self.estimators = estimators
        self.weights = weights
        self._exponents = checked_weights(
            weights, len(self.parts.densities), may_be_negative=True
        )

    @property
    def proposals(self) -> Sequence[Any]:
        """The parts of weights above zero."""
        pairs = zip(self.parts.densities, self._exponents, strict=True)
        return [density for density, weight in pairs if weight > 0]

    def energy(self, X: Any) -> NDArray[np.float64]:
        """Energy E of each row, in nats; low is likely.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        energy : ndarray of shape (n_samples,)
            inf where a part of a weight above 0 has no density; else -inf where one of
            a negative weight has none.
        """
        log_probs = self.parts.log_probs(X)
        is_nowhere = np.isneginf(log_probs[self._exponents > 0]).any(axis=0)
        log_probs[:, is_nowhere] = 0.0
        return np.where(is_nowhere, np.inf, -self._exponents @ log_probs)


def by_number(estimators: Sequence[Any]) -> dict[str, Any]:
    """Return estimators by their names in error messages.

    Raises
    ------
    ValueError
        Where there are none.
    """
    if isinstance(estimators, str) or not np.iterable(estimators):
        raise InvalidParameterError(
            "The 'estimators' parameter must be a list of fitted densities. Got "
            f"{estimators!r}."
        )
    named = {f"estimators[{k}]": one for k, one in enumerate(estimators)}
    if not named:
        raise InvalidParameterError(
            "The 'estimators' parameter must hold at least one density."
        )
    return named
