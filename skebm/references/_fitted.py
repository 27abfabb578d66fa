"""References made from estimators of scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity as SklearnKernelDensity
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from skebm.references._base import Density, Reference
from skebm.references._kde import KernelDensity
from skebm.references._mixture import GaussianMixtureDensity, make_mixture
from skebm.utils import InvalidParameterError

Array = NDArray[np.float64]


class EstimatorReference(Reference):
    """A Gaussian mixture or kernel density of scikit-learn.

    A fitted estimator, in the units of X, is used as it is. One that is not fitted,
    such as a clone by a grid search, is fitted to the standardised rows. To keep a
    fitted one when it is cloned, wrap it in `sklearn.frozen.FrozenEstimator`. The
    estimator is converted exactly to a density of torch, since gradients are needed.

    Parameters
    ----------
    estimator : estimator
        `sklearn.mixture.GaussianMixture`, or `sklearn.neighbors.KernelDensity` with
        its Gaussian kernel.
    mean, scale : ndarray of shape (n_features,) or None
        Mean and scale by which the columns of X are standardised.

    Examples
    --------
    >>> import torch
    >>> from sklearn.mixture import GaussianMixture
    >>> from skebm.references import EstimatorReference
    >>> rng = torch.Generator().manual_seed(0)
    >>> x = torch.randn(100, 2, generator=rng)
    >>> reference = EstimatorReference(GaussianMixture(2, random_state=0))
    >>> reference.fit(x, weight=None, generator=rng).weights.shape
    torch.Size([2])
    """

    def __init__(
        self, estimator: Any, mean: Array | None = None, scale: Array | None = None
    ) -> None:
        self.estimator = estimator
        self.mean = mean
        self.scale = scale

    def check_options(self) -> None:
        """Raise ValueError where the estimator has no equal density of torch."""
        estimator: Any = unwrapped(self.estimator)
        if not any(isinstance(estimator, kind) for kind in CONVERTERS):
            known = ", ".join(kind.__name__ for kind in CONVERTERS)
            raise InvalidParameterError(
                "The 'reference' parameter must be a name, a Reference or one of the "
                f"estimators whose gradient is known: {known}. Got {estimator!r} "
                "instead; write a skebm.references.Reference for it."
            )
        if getattr(estimator, "kernel", "gaussian") != "gaussian":
            raise ValueError(
                "A KernelDensity given as 'reference' must have kernel='gaussian': "
                "others are zero beyond their reach, or not smooth. Got "
                f"kernel={estimator.kernel!r} instead."
            )
        if getattr(estimator, "metric", "euclidean") != "euclidean":
            raise ValueError(
                "A KernelDensity given as 'reference' must have metric='euclidean'. Got"
                f" metric={estimator.metric!r} instead."
            )

    @property
    def has_units(self) -> bool:
        """Whether the estimator has been fitted."""
        return is_fitted(unwrapped(self.estimator))

    def in_units(self, mean: Array, scale: Array) -> EstimatorReference:
        """Return the reference for rows that are standardised by mean and scale."""
        return EstimatorReference(self.estimator, mean, scale)

    def fit(
        self, x: Tensor, *, weight: Tensor | None, generator: torch.Generator
    ) -> Density:
        """Return the density of the estimator, fitted to the rows if it was not."""
        estimator = unwrapped(self.estimator)
        mean = np.zeros(x.shape[1]) if self.mean is None else self.mean
        scale = np.ones(x.shape[1]) if self.scale is None else self.scale
        if not is_fitted(estimator):
            rng = np.random.RandomState(
                int(torch.randint(2**31 - 1, (1,), generator=generator))
            )
            rows, mean, scale = x.double().numpy(), 0 * mean, np.ones_like(scale)
            estimator = _fit(clone(estimator), rows, weight, rng)
        if estimator.n_features_in_ != x.shape[1]:
            raise ValueError(
                f"The 'reference' {type(estimator).__name__} was fitted to "
                f"{estimator.n_features_in_} columns, but X has {x.shape[1]}."
            )
        return _converter(estimator)(estimator, mean, scale)


def unwrapped(estimator: Any) -> Any:
    """Return the estimator inside a FrozenEstimator, or the estimator itself."""
    return estimator.estimator if isinstance(estimator, FrozenEstimator) else estimator


def is_fitted(estimator: Any) -> bool:
    """Tell whether the estimator has been fitted."""
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    return True


def _fit(
    estimator: Any, rows: Array, weight: Tensor | None, rng: np.random.RandomState
) -> Any:
    if "random_state" in estimator.get_params() and estimator.random_state is None:
        estimator.set_params(random_state=rng)
    if weight is None:
        return estimator.fit(rows)
    share = weight.double().numpy()
    if isinstance(estimator, SklearnKernelDensity):
        return estimator.fit(rows, sample_weight=share)
    return estimator.fit(rows[rng.choice(len(rows), len(rows), p=share / share.sum())])


def _converter(estimator: Any) -> Callable[[Any, Array, Array], Density]:
    return next(
        make for kind, make in CONVERTERS.items() if isinstance(estimator, kind)
    )


def _from_mixture(mixture: Any, mean: Array, scale: Array) -> GaussianMixtureDensity:
    """Return the mixture of sklearn, in standardised units."""
    covariances = mixture.covariances_
    k, d = mixture.means_.shape
    identity = np.eye(d)
    if mixture.covariance_type == "tied":
        covariances = np.broadcast_to(covariances, (k, d, d))
    elif mixture.covariance_type == "diag":
        covariances = covariances[:, :, None] * identity
    elif mixture.covariance_type == "spherical":
        covariances = covariances[:, None, None] * identity
    factors = np.linalg.cholesky(covariances) / scale[:, None]
    return make_mixture(mixture.weights_, (mixture.means_ - mean) / scale, factors)


def _from_kernels(kernels: Any, mean: Array, scale: Array) -> KernelDensity:
    """Return the kernel density of sklearn, in standardised units."""
    points = (np.asarray(kernels.tree_.data) - mean) / scale
    weight = kernels.tree_.sample_weight
    weight = np.ones(len(points)) if weight is None else np.asarray(weight)
    arrays = points, weight / weight.sum(), kernels.bandwidth_ / scale
    return KernelDensity(*(torch.tensor(array).float() for array in arrays))


CONVERTERS: dict[type, Callable[[Any, Array, Array], Density]] = {
    GaussianMixture: _from_mixture,
    SklearnKernelDensity: _from_kernels,
}
