"""Adaptive quadrature of log Z, in one to three dimensions."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import numpy as np
import torch
from torch import Tensor

from skebm.evaluation.normalizers._base import AbstractNormalizer
from skebm.evaluation.normalizers._log_weights import (
    LogNormalizer,
    ReferenceDensity,
    energies,
)
from skebm.references import Density
from skebm.samplers._point import Energy
from skebm.utils import check_count, check_positive

MAX_DIMENSION = 3
_N_DRAWS, _MAX_ROWS, _ROWS_A_CELL = 2048, 2048, 4
_MAX_SHELLS, _MAX_OUTER_SHARE, _MAX_ERROR = 8, 1e-4, 0.02

#: Takes points (n, d) in float64; returns log q0 - E and log q0, in float64.
_Integrand = Callable[[Tensor], tuple[Tensor, Tensor]]


class Quadrature(AbstractNormalizer):
    r"""Gauss-Legendre quadrature on cells that are halved where errors are large.

    .. math:: Z = \int q_0(x) e^{-E(x)} dx \approx \sum_{\text{cells}} |c|
        \sum_i w_i \, q_0(x_{ci}) \, e^{-E(x_{ci})}

    The first cells hold equally many of the reference's draws and of the rows, so that
    narrow modes and outliers have their own cells. A cell's error is the difference
    between product rules of four and of three nodes a dimension; the worst cells are
    halved until the sum of errors is small. Shells around the cells are added while the
    outermost ones count; a reference on a box needs none. The integral of q0 by the
    same nodes should be 1; what it lacks is added to the standard error.

    Parameters
    ----------
    tolerance : float, default=2e-4
        Sum of the cells' errors to reach, relative to Z: nats, in effect.
    max_evaluations : int, default=500_000
        Largest number of energies to evaluate.

    References
    ----------
    P. van Dooren and L. de Ridder, "An adaptive algorithm for numerical integration
    over an n-dimensional cube", Journal of Computational and Applied Mathematics 2
    (1976).

    Examples
    --------
    >>> import torch
    >>> from skebm.evaluation import Quadrature
    >>> class Normal:
    ...     def log_prob(self, x):
    ...         return -(x.square() + 1.8378770664).sum(1) / 2
    ...     def sample(self, n_samples, generator):
    ...         return torch.randn(n_samples, 2, generator=generator)
    >>> estimate = Quadrature().estimate(  # log Z is 9
    ...     lambda x: -3 * x.sum(1),
    ...     Normal(),
    ...     generator=torch.Generator().manual_seed(0),
    ... )
    >>> round(estimate.log_normalizer, 3), estimate.trusted
    (9.0, True)
    """

    def __init__(
        self, *, tolerance: float = 2e-4, max_evaluations: int = 500_000
    ) -> None:
        self.tolerance = tolerance
        self.max_evaluations = max_evaluations

    def check_options(self) -> None:
        """Raise ValueError naming an option that is out of its range."""
        check_positive(self, "tolerance")
        check_count(self, "max_evaluations")

    def estimate(
        self,
        energy: Energy,
        reference: ReferenceDensity,
        *,
        generator: torch.Generator,
        rows: Tensor | None = None,
    ) -> LogNormalizer:
        """Estimate log Z; see `AbstractNormalizer.estimate`.

        Raises
        ------
        ValueError
            In more than three dimensions.
        """
        self.check_options()
        points = reference.sample(_N_DRAWS, generator)
        like = points
        if points.shape[1] > MAX_DIMENSION:
            raise ValueError(
                f"Quadrature integrates over at most {MAX_DIMENSION} columns. Got "
                f"{points.shape[1]}; use 'auto' or 'ais'."
            )
        if rows is not None:
            points = torch.cat([points, rows[:_MAX_ROWS].to(points)])
        points = points[points.isfinite().all(1)]

        def integrand(x: Tensor) -> tuple[Tensor, Tensor]:
            x = x.to(like)
            log_reference = -energies(lambda x: -reference.log_prob(x), x)
            # Where q0 is zero E may have any value.
            log_density = torch.full_like(log_reference, -math.inf)
            inside = log_reference > -math.inf
            log_density[inside] = log_reference[inside] - energies(energy, x[inside])
            return log_density, log_reference

        box = Density.adapt(reference).bounds()
        if box is not None:
            box = box[0].double(), box[1].double()
        return self._integrate(integrand, points.double(), box)

    @torch.no_grad()
    def _integrate(
        self,
        integrand: _Integrand,
        points: Tensor,
        box: tuple[Tensor, Tensor] | None,
    ) -> LogNormalizer:
        low, high = box or (points.min(0).values, points.max(0).values)
        high = torch.where(high > low, high, low + 1.0)
        cells = _Cells(integrand, *_split(points, low, high))
        self._refine(cells)
        outer = 0.0 if box else 1.0
        for _ in range(_MAX_SHELLS):
            if outer <= _MAX_OUTER_SHARE:
                break
            inner, width = (low, high), high - low
            low, high = low - width, high + width
            cells.add(*_shell(*inner, low, high))
            self._refine(cells)
            outer = cells.share(((cells.low <= low) | (cells.high >= high)).any(1))
        off = abs(cells.reference_mass - 1)
        reason = ""
        if cells.error > _MAX_ERROR:
            reason = f"the sum of the cells' errors is {cells.error:.3g}"
        elif off > _MAX_ERROR:
            reason = f"by the same nodes q0 has a mass of {cells.reference_mass:.3f}"
        elif outer > _MAX_OUTER_SHARE:
            reason = f"{outer:.2%} of the mass lies in the outermost cells"
        return LogNormalizer(
            cells.log_integral,
            cells.error + off,
            1.0,
            cells.n_evaluations,
            type(self).__name__,
            not reason,
            reason,
        )

    def _refine(self, cells: _Cells) -> None:
        """Halve cells until their errors are small or the evaluations are used up."""
        while cells.error > self.tolerance:
            if cells.n_evaluations >= self.max_evaluations:
                break
            cells.halve_worst()


class _Cells:
    """Boxes with the integrals of q0 exp(-E) and of q0 over each."""

    def __init__(self, integrand: _Integrand, low: Tensor, high: Tensor) -> None:
        self.integrand = integrand
        d = low.shape[1]
        self.rules = [_rule(n, d, low) for n in (4, 3)]
        self.low = self.high = low[:0]
        self.log_integrals = low.new_zeros(0, 2)  # by four nodes, by three
        self.reference = low.new_zeros(0, 2)
        self.axis = torch.zeros(0, dtype=torch.long, device=low.device)
        self.n_evaluations = 0
        self.add(low, high)

    def add(self, low: Tensor, high: Tensor) -> None:
        """Integrate over further cells."""
        d = low.shape[1]
        integrals, masses = [], []
        log_volume = (high - low).log().sum(1)
        for nodes, log_weights in self.rules:
            x = low[:, None] + (high - low)[:, None] * nodes
            density, reference = self.integrand(x.flatten(0, 1))
            self.n_evaluations += len(density)
            density = density.unflatten(0, x.shape[:2]) + log_weights
            reference = reference.unflatten(0, x.shape[:2]) + log_weights
            integrals.append(density.logsumexp(1) + log_volume)
            masses.append((reference.logsumexp(1) + log_volume).exp())
            if len(integrals) == 1:
                axis = _steepest(density - log_weights, d)
        self.low, self.high = torch.cat([self.low, low]), torch.cat([self.high, high])
        self.log_integrals = torch.cat([self.log_integrals, torch.stack(integrals, 1)])
        self.reference = torch.cat([self.reference, torch.stack(masses, 1)])
        self.axis = torch.cat([self.axis, axis])

    def halve_worst(self) -> None:
        """Halve the cells that make up nine tenths of the error."""
        errors, order = self._errors().sort(descending=True)
        n = int((errors.cumsum(0) < 0.9 * errors.sum()).sum()) + 1
        worst, kept = order[:n], order[n:]
        low, high, axis = self.low[worst], self.high[worst], self.axis[worst, None]
        middle = (low.gather(1, axis) + high.gather(1, axis)) / 2
        for name in ("low", "high", "log_integrals", "reference", "axis"):
            setattr(self, name, getattr(self, name)[kept])
        self.add(
            torch.cat([low, low.scatter(1, axis, middle)]),
            torch.cat([high.scatter(1, axis, middle), high]),
        )

    def _errors(self) -> Tensor:
        """Return the error of each cell, relative to the whole, of both integrals."""
        parts = (self.log_integrals - self.log_integral).exp()
        return (parts[:, 0] - parts[:, 1]).abs() + (
            self.reference[:, 0] - self.reference[:, 1]
        ).abs()

    @property
    def error(self) -> float:
        """The sum of the errors."""
        return float(self._errors().sum().nan_to_num(math.inf))

    @property
    def log_integral(self) -> float:
        """The log of the integral of q0 exp(-E)."""
        return float(self.log_integrals[:, 0].logsumexp(0))

    @property
    def reference_mass(self) -> float:
        """The integral of q0."""
        return float(self.reference[:, 0].sum())

    def share(self, chosen: Tensor) -> float:
        """Return the share of some cells in the integral."""
        parts = self.log_integrals[chosen, 0] - self.log_integral
        return float(parts.exp().sum())


def _rule(n: int, d: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return nodes in [0, 1]^d and log weights of the product of n-node Gauss rules."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    grid = torch.tensor(list(product((nodes + 1) / 2, repeat=d))).to(like)
    log_weights = torch.tensor(list(product(np.log(weights / 2), repeat=d)))
    return grid, log_weights.sum(1).to(like)


def _steepest(log_values: Tensor, d: int) -> Tensor:
    """Find the axis of each cell along which the values at 4^d nodes vary most."""
    values = (log_values - log_values.max(1, keepdim=True).values).exp().nan_to_num()
    grid = values.unflatten(1, (4,) * d)
    variations = [
        grid.diff(dim=axis).abs().reshape(len(grid), -1).sum(1)
        for axis in range(1, d + 1)
    ]
    return torch.stack(variations, 1).argmax(1)


def _split(points: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Return the corners of cells that divide the box, each with few of the points.

    A box is cut at the median, or where a gap of over half its width begins, so that
    the cells about a narrow cluster are narrow too.
    """
    cells, waiting = [], [(points, low, high, 0)]
    while waiting:
        inside, a, b, depth = waiting.pop()
        if len(inside) <= _ROWS_A_CELL:
            cells.append((a, b))
            continue
        axis, cut = _cut(inside, a, b, depth)
        if not a[axis] < cut < b[axis]:  # all of one value
            cells.append((a, b))
            continue
        left_b, right_a = b.clone(), a.clone()
        left_b[axis] = right_a[axis] = cut
        left = inside[:, axis] <= cut
        waiting.append((inside[left], a, left_b, depth + 1))
        waiting.append((inside[~left], right_a, b, depth + 1))
    lows, highs = zip(*cells, strict=True)
    return torch.stack(lows), torch.stack(highs)


def _cut(inside: Tensor, a: Tensor, b: Tensor, depth: int) -> tuple[int, Tensor]:
    """Find axis and place of the next cut of the box [a, b]."""
    places = torch.cat([a[None], inside.sort(0).values, b[None]])
    gaps = places.diff(dim=0)
    widest, index = gaps.max(0)
    axis = int((widest / (b - a)).argmax())
    if widest[axis] <= 0.5 * (b - a)[axis]:
        axis = depth % len(a)
        return axis, inside[:, axis].median()
    i, column = int(index[axis]), places[:, axis]
    below, above = column[i] - column[1], column[-2] - column[i + 1]
    if i > len(inside) / 2:  # leave room for the tail of the greater part
        return axis, column[i] + torch.minimum(below, widest[axis] / 4)
    return axis, column[i + 1] - torch.minimum(above, widest[axis] / 4)


def _shell(a: Tensor, b: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Return the corners of the 3^d - 1 cells between a box and a wider one."""
    ends = torch.stack([low, a, b, high])
    d = len(a)
    places = torch.tensor([p for p in product(range(3), repeat=d) if set(p) != {1}])
    axes = torch.arange(d)
    return ends[places, axes], ends[places + 1, axes]
