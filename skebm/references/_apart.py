"""References whose far rows have Gaussians of their own."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skebm.references._base import Density, Reference
from skebm.references._mixture import GaussianMixtureDensity, make_mixture
from skebm.utils import VARIANCE_FLOOR

Array = NDArray[np.float64]

#: Standard deviation of a value that stands apart, where one row tells it.
FAR_SPREAD = 0.25
#: Largest share of the rows that stand apart; with more they are no exceptions.
MAX_FAR = 0.3


class ApartReference(Reference):
    r"""A mixture fitted to most rows, beside Gaussians of the few that stand apart.

    .. math:: q_0(x) = (1 - p) \, q_{near}(x) + \sum_g p_g N(x; \mu_g, C_g)

    A row stands apart where one of its entries lies beyond the bounds of its column: as
    wild values do, which lie far from all others. The groups g are the first such
    column and the side. So the other rows are modelled as they are without these, and
    lose log(1 - p), which no density can avoid. As d pseudo-rows would, the covariance
    of a group is drawn towards that of the near rows, with a column of wild values
    independent of the others.

    Parameters
    ----------
    reference : Reference
        Fits the near rows; its density has `beside`.
    low, high : ndarray of shape (n_features,)
        The bounds; infinite in columns without such values.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from skebm.references import GaussianMixtureReference
    >>> rng = torch.Generator().manual_seed(0)
    >>> x = torch.randn(100, 1, generator=rng)
    >>> x[:5] += 100
    >>> reference = GaussianMixtureReference((1,))
    >>> apart = ApartReference(reference, np.array([-np.inf]), np.array([50.0]))
    >>> density = apart.fit(x, weight=None, generator=rng)
    >>> density.weights[-1].item()
    0.05000000074505806
    """

    def __init__(self, reference: Reference, low: Array, high: Array) -> None:
        self.reference, self.low, self.high = reference, low, high

    def fit(
        self, x: Tensor, *, weight: Tensor | None, generator: torch.Generator
    ) -> Density:
        """Return the density of near rows beside Gaussians of the others."""
        rows = x.double().numpy()
        group = _groups(rows, self.low, self.high)
        mass = np.ones(len(rows)) if weight is None else weight.double().numpy()
        share = mass / mass.sum()
        far = float(share[group >= 0].sum())
        if far == 0 or far > MAX_FAR:
            return self.reference.fit(x, weight=weight, generator=generator)
        near = torch.from_numpy(np.flatnonzero(group < 0))
        some = None if weight is None else weight[near]
        density = self.reference.fit(x[near], weight=some, generator=generator)
        drawn = mass > 0  # a far row of no weight tells nothing
        gaussians = _gaussians(rows[drawn], share[drawn], group[drawn])
        folds = density.folds
        density = density.beside(gaussians, far)
        density.folds = tuple(
            (near[fold], other.beside(gaussians, far)) for fold, other in folds
        )
        return density


def apart_reference(reference: Reference, low: Array, high: Array) -> Reference:
    """Return an `ApartReference`; the reference itself where no bound is finite."""
    if not (np.isfinite(low).any() or np.isfinite(high).any()):
        return reference
    return ApartReference(reference, low, high)


def _groups(x: Array, low: Array, high: Array) -> NDArray[np.int64]:
    """Return by row twice the first column beyond its bounds, plus 1 above; or -1."""
    below, above = x < low, x > high
    beyond = below | above
    column = beyond.argmax(axis=1)
    of_row = np.arange(len(x)), column
    return np.where(beyond[of_row], 2 * column + above[of_row], -1)


def _gaussians(
    x: Array, share: Array, group: NDArray[np.int64]
) -> GaussianMixtureDensity:
    """Return the mixture of the groups' Gaussians."""
    near, n_features = group < 0, x.shape[1]
    pooled = np.cov(x[near], rowvar=False, aweights=share[near], bias=True)
    pooled = pooled.reshape(n_features, n_features)
    pooled = pooled + VARIANCE_FLOOR * np.eye(n_features)
    weights, means, covariances = [], [], []
    for one in np.unique(group[~near]):
        of_group, column = group == one, one // 2
        rows, own = x[of_group], share[of_group] / share[of_group].sum()
        target = pooled.copy()
        target[column], target[:, column] = 0.0, 0.0
        target[column, column] = FAR_SPREAD**2
        mean = own @ rows
        scatter = (own[:, None] * (rows - mean)).T @ (rows - mean)
        n_rows = share[of_group].sum() * len(x)
        total = n_rows + n_features
        weights.append(share[of_group].sum())
        means.append(mean)
        covariances.append((n_rows * scatter + n_features * target) / total)
    factors = np.linalg.cholesky(np.stack(covariances))
    return make_mixture(np.array(weights) / sum(weights), np.stack(means), factors)
