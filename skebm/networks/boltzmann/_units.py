"""Real and categorical visible units of restricted Boltzmann machines."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from skebm.networks.boltzmann._rbm import hold


@dataclass(frozen=True)
class GaussianUnits:
    r"""Real units with a common covariance, along given axes.

    .. math:: p(v \mid \theta) = N(v; V D \theta, V D^2 V^T), \qquad
        s(v) = D^{-1} V^T v, \qquad A(\theta) = |\theta|^2 / 2

    with D = diag(scale) and orthonormal axes V, so that a unit's statistic and natural
    parameter are in standard deviations along its axis.

    Parameters
    ----------
    scale : Tensor of shape (d,)
        Standard deviations along the axes.
    axes : Tensor of shape (d, d), default=None
        V, whose columns are the axes; None is the identity.
    min_scale : Tensor of shape (d,), default=None
        Lower bound of the scales in training; None is zero.

    Examples
    --------
    >>> import torch
    >>> from skebm.networks import GaussianUnits
    >>> units = GaussianUnits(torch.tensor([2.0]))
    >>> units.log_base(torch.zeros(1, 1))  # log N(0; 0, 4)
    tensor([-1.6121])
    """

    scale: Tensor
    axes: Tensor | None = None
    min_scale: Tensor | None = None

    is_quadratic: ClassVar[bool] = True
    is_product: ClassVar[bool] = True

    def to(self, place: torch.device | torch.dtype) -> GaussianUnits:
        """Return units on a device or of a dtype."""
        parts = (self.scale, self.axes, self.min_scale)
        scale, axes, floor = (p if p is None else p.to(place) for p in parts)
        assert scale is not None
        return GaussianUnits(scale, axes, floor)

    def statistic(self, v: Tensor) -> Tensor:
        """Return s(v), in standard deviations along the axes."""
        return (v if self.axes is None else v @ self.axes) / self.scale

    def log_base(self, v: Tensor) -> Tensor:
        """Return log N(v; 0, V D^2 V^T)."""
        level = self.scale.log().sum() + len(self.scale) * math.log(2 * math.pi) / 2
        return -(self.statistic(v) ** 2).sum(-1) / 2 - level

    def log_partition(self, theta: Tensor) -> Tensor:
        """Return half the squared norm of theta."""
        return (theta**2).sum(-1) / 2

    def mean_(self, theta: Tensor) -> Tensor:
        """Turn natural parameters, in place where possible, into means."""
        v = theta.mul_(self.scale)
        return v if self.axes is None else v @ self.axes.mT

    def draw_(self, theta: Tensor, noise: Tensor, generator: torch.Generator) -> Tensor:
        """Turn natural parameters into draws; `noise` is scratch of that shape."""
        return self.mean_(theta.add_(noise.normal_(generator=generator)))

    def bias(self, mean: Tensor, n: Tensor | float) -> Tensor:
        """Return natural parameters of units with this mean."""
        del n
        return self.to(mean.dtype).statistic(mean)

    def n_states(self, n_statistics: int) -> float:
        """Return infinity, or one where there are no units."""
        return math.inf if n_statistics else 1.0

    def states(self, indices: Tensor, n_statistics: int) -> Tensor:
        """Return the single, empty state of no units."""
        return indices.new_empty((len(indices), n_statistics))

    def subset(self, kept: Tensor) -> GaussianUnits:
        """Return the units of some columns; only meaningful without axes."""
        return GaussianUnits(self.scale[kept])

    def covariance(self) -> Tensor:
        """Return V D^2 V^T, shape (d, d)."""
        if self.axes is None:
            return torch.diag(self.scale**2)
        return (self.axes * self.scale**2) @ self.axes.mT

    def values_by_column(self, n_statistics: int) -> list[tuple[Tensor, Tensor]]:
        """Return nothing: real units have no list of states."""
        return []

    def log_density(self, observed: Tensor, theta: Tensor) -> Tensor:
        """Return log p(v_O | theta) of one row, NaN where missing, for each theta."""
        seen = ~observed.isnan()
        if not seen.any():
            return theta.new_zeros(len(theta))
        mean = self.mean_(theta.clone())[:, seen]
        covariance = self.covariance()[seen][:, seen]
        distribution = torch.distributions.MultivariateNormal(
            mean, covariance, validate_args=False
        )
        return distribution.log_prob(observed[seen])

    def given(self, observed: Tensor) -> GaussianUnits:
        """Return these units: `clamp` conditions their draws."""
        return self

    def clamp(self, observed: Tensor) -> Callable[[Tensor], Tensor]:
        r"""Return a function that conditions draws of v on the observed v_O.

        .. math:: v_F + \Sigma_{FO} \Sigma_{OO}^{-1} (\bar v_O - v_O)

        by Matheron's rule, for draws v given theta; it also conditions means.
        """
        if self.axes is None:
            return hold(observed)
        missing = observed.isnan()
        patterns, which = missing.unique(dim=0, return_inverse=True)
        covariance = self.covariance()
        gains = []
        for free in patterns:
            gain = torch.eye(len(free)).to(covariance)
            gain[:, free] = 0.0
            held = covariance[~free][:, ~free]
            cross = covariance[free][:, ~free]
            block = torch.linalg.solve(held, cross, left=False)
            gain[free.nonzero(), (~free).nonzero()[:, 0]] = block
            gains.append(gain.mT)
        rows = [(which == k).nonzero()[:, 0] for k in range(len(patterns))]
        put_back = hold(observed)

        def condition(v: Tensor) -> Tensor:
            error = torch.where(missing, 0.0, observed - v)
            moved = v.clone()
            for chosen, gain in zip(rows, gains, strict=True):
                moved[chosen] += error[chosen] @ gain
            return put_back(moved)

        return condition


class SoftmaxUnits:
    r"""Categorical units, one-hot: s(v) = v, A(theta) = sum of logsumexps, m = 1.

    Parameters
    ----------
    sizes : sequence of int
        Number of categories of each unit, whose one-hot columns follow one another.

    Examples
    --------
    >>> import torch
    >>> from skebm.networks import SoftmaxUnits
    >>> SoftmaxUnits([2, 3]).mean_(torch.zeros(1, 5))
    tensor([[0.5000, 0.5000, 0.3333, 0.3333, 0.3333]])
    """

    is_quadratic: ClassVar[bool] = False
    is_product: ClassVar[bool] = True

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes = [int(size) for size in sizes]
        size = torch.tensor(self.sizes, dtype=torch.long)
        places = torch.arange(max(self.sizes, default=0))
        start = size.cumsum(0) - size
        #: For unit and category: whether the category exists, and its column.
        self.exists = places < size[:, None]
        self.columns = (start[:, None] + places).where(self.exists, 0)

    def to(self, place: torch.device | torch.dtype) -> SoftmaxUnits:
        """Return units on a device; they have no dtype."""
        if isinstance(place, torch.dtype) or place == self.exists.device:
            return self
        moved = SoftmaxUnits(self.sizes)
        moved.exists, moved.columns = self.exists.to(place), self.columns.to(place)
        return moved

    def by_unit(self, x: Tensor, fill: float) -> Tensor:
        """Return columns as (..., units, categories), padded to the same size."""
        return x[..., self.columns].masked_fill(~self.exists, fill)

    def statistic(self, v: Tensor) -> Tensor:
        """Return v."""
        return v

    def log_base(self, v: Tensor) -> float:
        """Return 0."""
        return 0.0

    def log_partition(self, theta: Tensor) -> Tensor:
        """Return the sum over units of the logsumexp of their natural parameters."""
        return self.by_unit(theta, -math.inf).logsumexp(-1).sum(-1)

    def mean_(self, theta: Tensor) -> Tensor:
        """Turn natural parameters, in place, into probabilities."""
        probability = self.by_unit(theta, -math.inf).softmax(-1)
        return theta.copy_(probability[..., self.exists])

    def draw_(self, theta: Tensor, noise: Tensor, generator: torch.Generator) -> Tensor:
        """Turn natural parameters, in place, into one-hot draws, by Gumbel noise."""
        noise.exponential_(generator=generator)
        return self.most_likely(theta.sub_(noise.log_()))

    def most_likely(self, theta: Tensor) -> Tensor:
        """Turn natural parameters, in place, into the most likely one-hot rows."""
        best = self.by_unit(theta, -math.inf).argmax(-1, keepdim=True)
        chosen = best == torch.arange(self.exists.shape[1], device=theta.device)
        return theta.copy_(chosen[..., self.exists])

    def bias(self, mean: Tensor, n: Tensor | float) -> Tensor:
        """Return log frequencies, smoothed by one row of each category."""
        return (mean.clamp(min=0) * n + 1).log()

    def n_states(self, n_statistics: int) -> float:
        """Return the product of the sizes."""
        return float(math.prod(map(float, self.sizes)))

    def states(self, indices: Tensor, n_statistics: int) -> Tensor:
        """Return the states v of these indices, as digits of mixed radices."""
        parts = []
        for size in self.sizes:
            parts.append(torch.nn.functional.one_hot(indices % size, size))
            indices = indices // size
        return torch.cat([indices.new_empty((len(indices), 0)), *parts], 1)

    def subset(self, kept: Tensor) -> SoftmaxUnits:
        """Return the units of some columns, each whole."""
        first = kept[self.columns[:, 0]].tolist()
        return SoftmaxUnits([s for s, k in zip(self.sizes, first, strict=True) if k])

    def switched(self, v: Tensor, theta: Tensor) -> Tensor:
        """Return by how much theta s(v) changes where one unit of v is switched.

        theta has shape (k, n_statistics) or (n, k, n_statistics), the change (n, k,
        units, categories).
        """
        # A copy, since gradients can't go through indices made in inference mode.
        values = theta[..., self.columns.clone()].masked_fill(~self.exists, 0.0)
        own = (self.by_unit(v, 0.0)[:, None] * values).sum(-1, keepdim=True)
        return values - own

    def others(self, v: Tensor) -> Tensor:
        """Return which categories are others than that of v, (n, units, categories)."""
        return self.exists & (self.by_unit(v, 1.0) == 0)

    def values_by_column(self, n_statistics: int) -> list[tuple[Tensor, Tensor]]:
        """Return for each column the numbers of its units and its one-hot states."""
        units = torch.arange(n_statistics).split(self.sizes)
        return [(part, torch.eye(len(part))) for part in units]

    def log_density(self, observed: Tensor, theta: Tensor) -> Tensor:
        """Return log p(v_O | theta) of one row, NaN where missing, for each theta."""
        log_sums = self.by_unit(theta, -math.inf).logsumexp(-1)
        seen = ~observed[self.columns[:, 0]].isnan()
        return theta @ observed.nan_to_num(0.0) - log_sums[:, seen].sum(-1)

    def given(self, observed: Tensor) -> SoftmaxUnits:
        """Return these units: one says nothing of another."""
        return self

    def clamp(self, observed: Tensor) -> Callable[[Tensor], Tensor]:
        """Return a function that sets the observed units."""
        return hold(observed)
