"""Quantization cells: the probability of a value is the mass of its interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.polynomial.legendre import leggauss
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri
from torch import Tensor

from skebm.utils import uniform_like

if TYPE_CHECKING:
    from skebm.tables._diffusion import CategoryDiffusion

#: Quadrature nodes of a cell.
N_NODES = 64
#: Rows added to each category, so that one without rows has a cell too.
PSEUDO_ROWS = 0.5
#: Standard deviations of an atom's noise from the midpoint to the ends of its gap.
GAP_DEVIATIONS = 3.0
#: Keeps points of the outer cells finite.
LEAST_SHARE = 1e-9


@dataclass(frozen=True, eq=False)
class Intervals:
    """A partition of a column's line into intervals that stand for single values.

    Within an interval points are spread by a truncated normal density, the noise. An
    interval without noise is a continuous stretch: each point is a value of its own.

    Attributes
    ----------
    start : ndarray of shape (n_intervals + 1,)
        Starts of the intervals, then infinity.
    centre, scale : ndarray of shape (n_intervals,)
        Mean and standard deviation of the normal density before it is truncated; the
        scale is 0 where there is no noise.
    quantile, share : ndarray of shape (n_intervals,)
        That density's distribution function at the start of the interval, and its mass
        in the interval.
    log_unit : ndarray of shape (n_intervals,)
        Added to the log density in the column's units: the log of the unit makes it the
        log of a probability.
    """

    start: NDArray[np.float64]
    centre: NDArray[np.float64]
    scale: NDArray[np.float64]
    quantile: NDArray[np.float64]
    share: NDArray[np.float64]
    log_unit: NDArray[np.float64]

    @classmethod
    def of_categories(cls, share: NDArray[np.float64]) -> Self:
        """Return an interval for each category, of its share of the standard normal."""
        ends = np.cumsum(share)
        start = np.r_[-np.inf, ndtri(ends[:-1]), np.inf]
        zeros, ones = np.zeros(len(share)), np.ones(len(share))
        return cls(start, zeros, ones, ends - share, share, zeros)

    @classmethod
    def of_atoms(cls, low: NDArray[np.float64], width: float, unit: float) -> Self:
        """Return an interval for each atom and for each stretch between atoms.

        Parameters
        ----------
        low : ndarray of shape (n_atoms,)
            Starts of the atoms' gaps on the standardised line.
        width : float
            Of each gap.
        unit : float
            Scale of the column: the probability of an atom does not depend on it.
        """
        zeros = np.zeros(2 * len(low) + 1)
        centre, scale, quantile, log_unit = (zeros.copy() for _ in range(4))
        centre[1::2], scale[1::2] = low + width / 2, width / (2 * GAP_DEVIATIONS)
        quantile[1::2], log_unit[1::2] = ndtr(-GAP_DEVIATIONS), math.log(unit)
        ends = np.stack([low, low + width], axis=1).ravel()
        ends = np.maximum.accumulate(ends)  # adjacent gaps, but for rounding
        start = np.r_[-np.inf, ends, np.inf]
        return cls(start, centre, scale, quantile, 1 - 2 * quantile, log_unit)


class Cells:
    r"""Quantization cells of standardised rows: products of intervals of some columns.

    All points of a cell C stand for one row, whose probability is the mass of a density
    p of points in the cell:

    .. math:: \log \int_C p(z)\, dz = \sum_j \log f_j + \log \sum_m w_m
              \frac{p(z_m)}{\prod_j b_j(z_{mj})}

    where :math:`b_j` is the normal density whose truncation to the cell spreads points
    in column j, and :math:`f_j` its mass in the cell. The 64 quadrature nodes
    :math:`z_m` are at the same quantiles of the noise in every cell: Gauss-Legendre
    nodes where up to three columns have cells, else a scrambled Sobol net of fixed
    seed.

    Parameters
    ----------
    columns : ndarray of int of shape (n_columns,)
        Indices of the columns that have intervals.
    intervals : list of Intervals
        The intervals of each of these columns.
    diffusion : CategoryDiffusion or None, default=None
        Noise of those that hold categories.

    References
    ----------
    Rueschendorf. On the distributional transform, Sklar's theorem, and the empirical
    copula process. Journal of Statistical Planning and Inference 139, 2009. Theis, van
    den Oord, Bethge. A note on the evaluation of generative models. ICLR 2016.
    """

    def __init__(
        self,
        columns: ArrayLike,
        intervals: Sequence[Intervals],
        diffusion: CategoryDiffusion | None = None,
    ) -> None:
        self.columns, self.diffusion = np.asarray(columns), diffusion
        n_intervals = max(len(one.share) for one in intervals)
        # Padding starts at infinity, where no point is.
        fillers = np.inf, 0.0, 0.0, 0.0, 1.0, 0.0
        start, *rest = (
            np.stack([_padded(table, n_intervals, filler) for table in tables])
            for filler, tables in zip(
                fillers, zip(*map(astuple, intervals), strict=True), strict=True
            )
        )
        self._start, self._tables = start.astype(np.float32), rest
        self._rule = _rule(len(intervals))

    def indices(self, z: NDArray[Any]) -> NDArray[np.int64]:
        """Return the indices of the intervals that hold the points, (n, n_columns)."""
        indices, _ = self._find(torch.from_numpy(z))
        return indices.numpy()

    def midpoints(
        self, z: NDArray[Any], indices: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Return rows z moved into the cells of these intervals.

        To the midpoint (the median of the noise) of an interval that has noise; in one
        without noise, points stay where they are or go to its nearer end.
        """
        points = torch.from_numpy(z)
        found = self._look_up(torch.from_numpy(indices), points.device)
        return self._place(points, found, torch.tensor(0.5))[0].numpy()

    def nodes(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the quadrature nodes of a row's cell, and their weights.

        Parameters
        ----------
        z : Tensor of shape (n_features,)
            A row; NaN where an entry is missing.

        Returns
        -------
        in_cell : Tensor of bool of shape (n_features,)
            Observed columns whose interval has noise.
        points : Tensor of shape (n_nodes, n_features)
            The nodes: the row, moved within its cell.
        log_weights : Tensor of shape (n_nodes,)
            Logs of the weights by which p at the nodes sums to the row's probability,
            in the units of X.
        """
        row = z[None]
        _, found = self._find(row)
        kept = (found[3][0] > 0) & ~z[self.columns].isnan()
        in_cell = torch.zeros_like(z, dtype=torch.bool)
        in_cell[self.columns] = kept
        rows, terms = [], []
        for quantiles, log_weight in zip(*self._rule, strict=True):
            place = torch.from_numpy(quantiles).to(z.device)
            placed, log_noise = self._place(row, found, place)
            rows.append(placed)
            terms.append(log_weight - log_noise)
        # Nodes that differ only in columns with missing entries are the same point.
        points, index = torch.cat(rows).unique(dim=0, return_inverse=True)
        log_weights = torch.cat(terms)
        greatest = log_weights.max()
        mass = (log_weights - greatest).exp()
        total = mass.new_zeros(len(points)).index_add(0, index, mass).log()
        share, log_unit = (table[0, kept] for table in found[-2:])
        return in_cell, points, total + greatest + (share.log() + log_unit).sum()

    def redraw(self, z: Tensor, generator: torch.Generator) -> Tensor:
        """Draw new points within the cells of rows; NaN stays NaN."""
        points = z[:, self.columns].double()
        _, found = self._find(z)
        return self._place(z, found, uniform_like(points, generator))[0]

    def centred(self, z: Tensor) -> Tensor:
        """Move points to the midpoints of their intervals that have noise."""
        _, found = self._find(z)
        return self._place(z, found, torch.tensor(0.5, device=z.device))[0]

    def spread(self, z: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
        """Return rows moved within their cells, and the noise's log density there.

        Parameters
        ----------
        z : Tensor of shape (n, n_features)
            Rows; NaN stays NaN.
        place : Tensor of shape (n, n_columns)
            Quantiles of the noise in each cell, from 0 to 1.
        """
        _, found = self._find(z)
        return self._place(z, found, place)

    def log_mass(
        self,
        log_density: Callable[[Tensor], Tensor],
        n_nodes: int | None = None,
    ) -> Callable[[Tensor], Tensor]:
        """Return the function that integrates exp(log_density) over a row's cell.

        By about ``n_nodes`` nodes in place of 64, where fewer are enough.
        """
        rule = self._rule if n_nodes is None else _rule(len(self.columns), n_nodes)

        def integrated(z: Tensor) -> Tensor:
            _, found = self._find(z)
            share, log_unit = found[-2:]
            total = torch.full_like(share[:, 0], -math.inf)
            for quantiles, log_weight in zip(*rule, strict=True):
                place = torch.from_numpy(quantiles).to(z.device)
                points, log_noise = self._place(z, found, place)
                term = log_density(points).double() - log_noise + log_weight
                total = torch.logaddexp(total, term)
            return total + (share.log() + log_unit).sum(dim=1)

        return integrated

    def _find(self, z: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the indices of the intervals of points, and their properties."""
        start = torch.from_numpy(self._start[:, 1:-1].copy()).to(z.device)
        points = z[:, self.columns].float().T.contiguous()
        indices = torch.searchsorted(start, points, right=True).T
        return indices, self._look_up(indices, z.device)

    def _look_up(self, indices: Tensor, device: torch.device) -> list[Tensor]:
        """Return the properties of intervals of these indices, (n, n_columns) each.

        First and last point, centre, scale, quantile, share, log_unit.
        """
        start = torch.from_numpy(self._start)
        last = torch.nextafter(start[:, 1:], start.new_tensor(-math.inf))
        tables = [start[:, :-1], last, *map(torch.from_numpy, self._tables)]
        return [table.to(device).gather(1, indices.T).T for table in tables]

    def _place(
        self, z: Tensor, found: list[Tensor], place: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Move z to a quantile of each cell's noise; return the noise's log density.

        The quantile ``place`` is of the truncated density, from 0 to 1.
        """
        first, last, centre, scale, quantile, share, _ = found
        noisy = (scale > 0) & ~z[:, self.columns].isnan()
        noise = normal_score(quantile + place * share)
        points = torch.where(noisy, centre + scale * noise, z[:, self.columns].double())
        points = torch.maximum(torch.minimum(points.float(), last), first)
        placed = z.clone()
        placed[:, self.columns] = points.to(z.dtype)
        log_noise = -0.5 * (noise.square() + math.log(2 * math.pi)) - scale.log()
        return placed, torch.where(noisy, log_noise, 0.0).sum(dim=1)


def normal_score(quantile: Tensor) -> Tensor:
    """Return the quantile function of the standard normal, finite at 0 and 1."""
    return torch.special.ndtri(quantile.clamp(LEAST_SHARE, 1 - LEAST_SHARE))


def _padded(
    table: NDArray[np.float64], n_intervals: int, filler: float
) -> NDArray[np.float64]:
    """Return the table with fillers for more intervals; starts have one entry more."""
    n_more = n_intervals + (filler == np.inf) - len(table)
    return np.r_[table, np.full(n_more, filler)]


def _rule(
    n_columns: int, n_nodes: int = N_NODES
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return nodes in the unit cube, (n_nodes, n_columns), and their log weights."""
    if n_columns > 3:
        net = torch.quasirandom.SobolEngine(n_columns, scramble=True, seed=0)
        points = net.draw(n_nodes, dtype=torch.float64).numpy()
        return points, np.full(n_nodes, -math.log(n_nodes))
    points, weights = leggauss(round(n_nodes ** (1 / n_columns)))
    grid = np.meshgrid(*[points] * n_columns)
    log_weights = np.meshgrid(*[np.log(weights / 2)] * n_columns)
    return (
        (np.stack(grid, axis=-1).reshape(-1, n_columns) + 1) / 2,
        np.sum(log_weights, axis=0).ravel(),
    )
