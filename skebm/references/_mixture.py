"""Mixtures of Gaussians, and a single Gaussian as reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skebm.references._base import Conditional, Density, Line, Reference
from skebm.references._leave_one_out import left_out_log_prob
from skebm.utils import VARIANCE_FLOOR, column_units, in_parts, normal_like, pick

#: Up to so many elements, gathering a factor for each row is faster than a loop.
MAX_GATHERED = 1_000_000
#: Whitened elements at a time, so that they stay in the processor's cache.
CACHED_ELEMENTS = 2**18
#: Components of less weight in a conditional are left out.
NEGLIGIBLE_WEIGHT = 1e-9


class GaussianMixtureDensity(Density):
    r"""Mixture of Gaussians with full covariances.

    .. math:: q_0(x) = \sum_k \pi_k N(x; \mu_k, L_k L_k^T)

    Parameters
    ----------
    weights : Tensor of shape (n_components,)
        pi.
    means : Tensor of shape (n_components, n_features)
        mu.
    cholesky : Tensor of shape (n_components, n_features, n_features)
        Lower triangles L.

    Examples
    --------
    >>> import torch
    >>> normal = GaussianMixtureDensity(
    ...     torch.ones(1), torch.zeros(1, 2), torch.eye(2)[None]
    ... )
    >>> round(normal.log_prob(torch.zeros(1, 2)).item(), 4)
    -1.8379
    """

    has_conditionals: ClassVar[bool] = True
    has_transitions: ClassVar[bool] = True

    def __init__(self, weights: Tensor, means: Tensor, cholesky: Tensor) -> None:
        super().__init__()
        self.weights: Tensor
        self.means: Tensor
        self.cholesky: Tensor
        self.register_buffer("weights", weights)
        self.register_buffer("means", means)
        self.register_buffer("cholesky", cholesky)
        self._precompute()

    def _precompute(self) -> None:
        """Store inverse factors side by side, whitened means and log constants.

        Components come last, so that sums over columns run along contiguous memory.
        """
        n_features = self.means.shape[1]
        factors = self.cholesky.double()
        identity = torch.eye(n_features, dtype=torch.float64, device=factors.device)
        inverse = torch.linalg.solve_triangular(factors, identity, upper=False)
        shift = torch.einsum("kij,kj->ki", inverse, self.means.double())
        log_det = factors.diagonal(dim1=1, dim2=2).log().sum(dim=1)
        constant = self.weights.double().log() - log_det
        constant = constant - 0.5 * n_features * math.log(2 * math.pi)
        self.projection: Tensor
        self.shift: Tensor
        self.constant: Tensor
        for name, value in (
            ("projection", inverse.permute(2, 1, 0).flatten(1).contiguous()),
            ("shift", shift.T.flatten()),
            ("constant", constant),
        ):
            self.register_buffer(name, value.to(self.means.dtype), persistent=False)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log q0(x) in nats, shape (n,)."""
        return torch.cat([self._log_joint(z).logsumexp(dim=1) for z in self._cut(x)])

    def log_joint(self, x: Tensor) -> Tensor:
        """Return log pi_k N(x; mu_k, C_k) of each component, (n, n_components)."""
        return torch.cat([self._log_joint(z) for z in self._cut(x)])

    def left_out_log_prob(self, x: Tensor) -> Tensor:
        """Return log q0 of the rows it was fitted to, each as if it had been left out.

        In closed form, as far as the memberships of the rows stay.
        """
        arrays = self.weights, self.means, self.cholesky
        mixture = GaussianMixtureDensity(*(array.double() for array in arrays))
        return left_out_log_prob(mixture, x.double())

    def _cut(self, x: Tensor) -> Sequence[Tensor]:
        """Split the rows so that the joint densities of a part need little memory."""
        return in_parts(x, CACHED_ELEMENTS // max(1, len(self.shift)))

    def _log_joint(self, x: Tensor) -> Tensor:
        """Return log pi_k N(x; mu_k, L_k L_k'), shape (n, n_components)."""
        white = torch.addmm(-self.shift, x, self.projection)
        squares = white.unflatten(1, self.means.shape[::-1]).square().sum(dim=1)
        return self.constant - 0.5 * squares

    def along(self, x: Tensor, j: int) -> Line:
        r"""Return log q0 of rows as a function of column j, in closed form.

        .. math:: \log \sum_k \exp(r_k - \tfrac12 c_k (t - m_k)^2)

        with the mean and the precision of the column given the others.
        """
        size = self.means.shape[::-1]
        others = x.double().clone()
        others[:, j] = 0.0
        projection = self.projection.double()
        white = (others @ projection - self.shift.double()).unflatten(1, size)
        slope = projection[j].unflatten(0, size)
        precision = slope.square().sum(dim=0)
        mean = -(white * slope).sum(dim=1) / precision
        nearest = white + mean[:, None] * slope
        rest = self.constant.double() - 0.5 * nearest.square().sum(dim=1)

        def line(points: Tensor) -> Tensor:
            squares = (points.double()[..., None] - mean[:, None]).square()
            log_joint = rest[:, None] - 0.5 * precision * squares
            return log_joint.logsumexp(dim=2).to(points)

        return line

    def partition(self, observed: Tensor) -> tuple[Density, Conditional]:
        r"""Return the marginal of some columns and the conditional of the others.

        .. math:: q_0(x_M | x_O) = \sum_k \pi_k(x_O) \,
            N(x_M; \mu_M + L_{MO} L_{OO}^{-1} (x_O - \mu_O), L_{MM} L_{MM}^T)

        by the blocks of each factor once the given columns come first.
        """
        n = int(observed.sum())
        order = torch.argsort((~observed).int(), stable=True)
        means = self.means[:, order].double()
        # L' = Q R: R' is the triangle of the rows of L in the new order.
        rotated = torch.linalg.qr(self.cholesky[:, order].double().mT, mode="r").R
        factors = rotated.mT * rotated.diagonal(dim1=1, dim2=2).sign().unsqueeze(1)
        marginal = GaussianMixtureDensity(
            self.weights.double(), means[:, :n], factors[:, :n, :n]
        )

        def conditional(x: Tensor) -> Density:
            weights = marginal._log_joint(x.double()[None])[0].softmax(0)
            kept = weights > NEGLIGIBLE_WEIGHT
            centred = (x.double() - means[kept, :n]).unsqueeze(2)
            white = torch.linalg.solve_triangular(
                factors[kept, :n, :n], centred, upper=False
            )
            shift = (factors[kept, n:, :n] @ white)[:, :, 0]
            parts = weights[kept], means[kept, n:] + shift, factors[kept, n:, n:]
            return GaussianMixtureDensity(*(part.to(self.means) for part in parts))

        return marginal, conditional

    def beside(
        self, mixture: GaussianMixtureDensity, share: float
    ) -> GaussianMixtureDensity:
        """Return the mixture of this, of weight 1 - share, and of another one."""
        weights = torch.cat([(1 - share) * self.weights, share * mixture.weights])
        means = torch.cat([self.means, mixture.means])
        factors = torch.cat([self.cholesky, mixture.cholesky])
        return GaussianMixtureDensity(weights, means, factors)

    def as_mixture(self) -> GaussianMixtureDensity:
        """Return the density itself."""
        return self

    @property
    def narrowest_scale(self) -> float:
        """The smallest standard deviation of a component in any direction."""
        return float(torch.linalg.svdvals(self.cholesky.double()).min())

    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Return draws of shape (n_samples, n_features)."""
        component = torch.multinomial(
            self.weights, n_samples, replacement=True, generator=generator
        )
        return self.means[component] + self._deviations(component, generator)

    def transition(
        self, x: Tensor, scale: Tensor, generator: torch.Generator
    ) -> Tensor:
        r"""Return rows after a Crank-Nicolson step within a component drawn for each.

        .. math:: x' = \mu_k + \sqrt{1 - s^2} (x - \mu_k) + s L_k \varepsilon, \qquad
            k \sim p(k | x)

        Its length in each direction is in proportion to the component's width there.

        References
        ----------
        Cotter, Roberts, Stuart, White. MCMC methods for functions: modifying old
        algorithms to make them faster. Statistical Science 2013.
        """
        component = torch.cat([self._classify(z, generator) for z in self._cut(x)])
        centre, scale = self.means[component], scale.unsqueeze(1)
        kept = (1 - scale.square()).sqrt() * (x - centre)
        return centre + kept + scale * self._deviations(component, generator)

    def _classify(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Draw the component of each row from its posterior, shape (n,)."""
        shares = self._log_joint(x).softmax(dim=1)
        # A row so far away that all densities are zero has no posterior.
        shares = torch.where(shares.isnan(), self.weights, shares)
        return pick(shares, generator)

    def _deviations(self, component: Tensor, generator: torch.Generator) -> Tensor:
        """Return draws of the given components minus their means."""
        shape = len(component), self.means.shape[1]
        noise = normal_like(self.means.new_empty(shape), generator)
        if noise.numel() * noise.shape[1] <= MAX_GATHERED:
            return (self.cholesky[component] @ noise.unsqueeze(2))[:, :, 0]
        # Rows of a component side by side: one product for each, none for most masks.
        order = component.argsort()
        counts = component.bincount(minlength=len(self.weights)).tolist()
        parts = noise[order].split(counts)
        drawn = [
            part @ factor.T for part, factor in zip(parts, self.cholesky, strict=True)
        ]
        return torch.empty_like(noise).index_copy_(0, order, torch.cat(drawn))


def make_mixture(
    weights: NDArray[np.float64],
    means: NDArray[np.float64],
    cholesky: NDArray[np.float64],
) -> GaussianMixtureDensity:
    """Return the float32 density of these components."""
    arrays = weights, means, cholesky
    return GaussianMixtureDensity(*(torch.tensor(a).float() for a in arrays))


class GaussianReference(Reference):
    """A single Gaussian with the rows' mean and covariance.

    The diagonal is widened by the variance floor, 1e-3 of a standardised column and
    more where a column's values lie on a grid.

    Examples
    --------
    >>> import torch
    >>> from skebm.references import GaussianReference
    >>> rng = torch.Generator().manual_seed(0)
    >>> x = torch.randn(500, 3, generator=rng)
    >>> GaussianReference().fit(x, weight=None, generator=rng).means.shape
    torch.Size([1, 3])
    """

    is_gaussian: ClassVar[bool] = True

    def fit(
        self, x: Tensor, *, weight: Tensor | None, generator: torch.Generator
    ) -> GaussianMixtureDensity:
        """Return the Gaussian of the weighted rows."""
        del generator
        rows = x.double().numpy()
        weights = None if weight is None else weight.double().numpy()
        mean = np.average(rows, axis=0, weights=weights)
        covariance = np.cov(rows, rowvar=False, aweights=weights, bias=True)
        covariance = covariance.reshape(len(mean), len(mean))
        covariance = covariance + VARIANCE_FLOOR * np.diag(column_units(rows) ** 2)
        return make_mixture(
            np.ones(1), mean[None], np.linalg.cholesky(covariance)[None]
        )
