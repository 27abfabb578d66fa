"""Quantization cells: intervals that stand for single values, each of some mass."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass

import numpy as np
import torch
from numpy.polynomial.legendre import leggauss
from scipy.special import ndtr, ndtri

from skebm.utils import uniform_like

#: Points of the rule by which a density is integrated over a cell.
N_NODES = 64
#: Rows added to each category, so that one that was never seen has a cell.
PSEUDO_ROWS = 0.5
#: Standard deviations of an atom's noise from the middle to the ends of its gap.
GAP_DEVIATIONS = 3.0
#: Keeps points of the outer cells finite.
LEAST_SHARE = 1e-9


@dataclass(frozen=True)
class Intervals:
    """The line of a column, cut into intervals that stand for values.

    An interval has noise, a normal density cut off at its ends, or has none: then its
    points stand for themselves.

    Attributes
    ----------
    start : ndarray of shape (n_intervals + 1,)
        Where each begins, infinity last.
    centre, scale : ndarray of shape (n_intervals,)
        Of the normal density; scale 0 where there is no noise.
    quantile, share : ndarray of shape (n_intervals,)
        Its quantile at the start of the interval, and its mass there.
    log_unit : ndarray of shape (n_intervals,)
        What is added to the log density in the column's units.
    """

    start: np.ndarray
    centre: np.ndarray
    scale: np.ndarray
    quantile: np.ndarray
    share: np.ndarray
    log_unit: np.ndarray

    @classmethod
    def of_categories(cls, share):
        """Return an interval for each category, of its share of the standard normal."""
        ends = np.cumsum(share)
        start = np.r_[-np.inf, ndtri(ends[:-1]), np.inf]
        zeros, ones = np.zeros(len(share)), np.ones(len(share))
        return cls(start, zeros, ones, ends - share, share, zeros)

    @classmethod
    def of_atoms(cls, low, width, unit):
        """Return a gap of that width from each of ``low`` on, and what lies between.

        ``unit`` is the column's: a mass, unlike a density, has none.
        """
        zeros = np.zeros(2 * len(low) + 1)
        centre, scale, quantile, log_unit = (zeros.copy() for _ in range(4))
        centre[1::2], scale[1::2] = low + width / 2, width / (2 * GAP_DEVIATIONS)
        quantile[1::2], log_unit[1::2] = ndtr(-GAP_DEVIATIONS), math.log(unit)
        ends = np.stack([low, low + width], axis=1).ravel()
        start = np.r_[-np.inf, ends, np.inf]
        return cls(start, centre, scale, quantile, 1 - 2 * quantile, log_unit)


class Cells:
    r"""Cells of the space of rows, in each of which all points stand for one row.

    A density p of points gives that row the mass of its cell C, in some columns:

    .. math:: \log \int_C p(z)\, dz = \sum_j \log f_j + \log \sum_m w_m
              \frac{p(z_m)}{\prod_j b_j(z_{mj})}

    where :math:`b_j` is the noise by which points are drawn in the cell and
    :math:`f_j` its mass there, before it is cut off. The 64 points :math:`z_m` are at
    the same quantiles of the noise in each cell: those of Gauss and Legendre where up
    to three columns have cells, else a scrambled Sobol net of fixed seed.

    Parameters
    ----------
    columns : ndarray of int of shape (n_columns,)
        Indices of the columns that have cells.
    intervals : list of Intervals
        Of each.

    References
    ----------
    Rueschendorf. On the distributional transform, Sklar's theorem, and the empirical
    copula process. Journal of Statistical Planning and Inference 139, 2009. Theis, van
    den Oord, Bethge. A note on the evaluation of generative models. ICLR 2016.
    """

    def __init__(self, columns, intervals):
        self.columns = np.asarray(columns)
        n_intervals = max(len(one.share) for one in intervals)
        # Padding lies beyond infinity, where no point is.
        fillers = np.inf, 0.0, 0.0, 0.0, 1.0, 0.0
        start, *rest = (
            np.stack([_padded(table, n_intervals, filler) for table in tables])
            for filler, tables in zip(
                fillers, zip(*map(astuple, intervals), strict=True), strict=True
            )
        )
        self._start, self._tables = start.astype(np.float32), rest
        self._rule = _rule(len(intervals))

    def indices(self, Z):
        """Return the indices of the intervals that hold the points, (n, n_columns)."""
        indices, _ = self._find(torch.from_numpy(Z))
        return indices.numpy()

    def midpoints(self, Z, indices):
        """Return Z, its points moved into the intervals of these indices.

        To the midpoint, where the interval has noise; else inside, as near as can be.
        """
        z = torch.from_numpy(Z)
        found = self._look_up(torch.from_numpy(indices), z.device)
        return self._place(z, found, torch.tensor(0.5))[0].numpy()

    def nodes(self, z):
        """Return the quadrature nodes of a row in its cells: the points of `log_mass`.

        Parameters
        ----------
        z : Tensor of shape (n_features,)
            A row, NaN where it misses an entry.

        Returns
        -------
        in_cell : Tensor of bool of shape (n_features,)
            The columns in which it has a cell with noise.
        points : Tensor of shape (n_nodes, n_features)
            The row at each node.
        log_weights : Tensor of shape (n_nodes,)
            The log of the weight of p there, in the units of X.
        """
        row = z[None]
        _, found = self._find(row)
        kept = (found[3][0] > 0) & ~z[self.columns].isnan()
        in_cell = torch.zeros_like(z, dtype=torch.bool)
        in_cell[self.columns] = kept
        points, weights = [], []
        for place, log_weight in zip(*self._rule, strict=True):
            placed, log_noise = self._place(
                row, found, torch.from_numpy(place).to(z.device)
            )
            points.append(placed)
            weights.append(log_weight - log_noise)
        # Nodes that differ in missing columns alone are one.
        points, number = torch.cat(points).unique(dim=0, return_inverse=True)
        weights = torch.cat(weights)
        mass = (weights - weights.max()).exp()
        total = mass.new_zeros(len(points)).index_add(0, number, mass).log()
        share, log_unit = (table[0, kept] for table in found[-2:])
        return in_cell, points, total + weights.max() + (share.log() + log_unit).sum()

    def redraw(self, z, generator):
        """Return rows of points drawn anew within their cells; NaN stays NaN."""
        points = z[:, self.columns].double()
        _, found = self._find(z)
        return self._place(z, found, uniform_like(points, generator))[0]

    def log_mass(self, log_density):
        """Return the function of points that integrates exp(log_density) over cells."""

        def integrated(z):
            _, found = self._find(z)
            share, log_unit = found[-2:]
            total = torch.full_like(share[:, 0], -math.inf)
            for place, log_weight in zip(*self._rule, strict=True):
                place = torch.from_numpy(place).to(z.device)
                points, log_noise = self._place(z, found, place)
                term = log_density(points).double() - log_noise + log_weight
                total = torch.logaddexp(total, term)
            return total + (share.log() + log_unit).sum(dim=1)

        return integrated

    def _find(self, z):
        """Return the intervals of points: indices, and what `_look_up` returns."""
        start = torch.from_numpy(self._start[:, 1:-1].copy()).to(z.device)
        points = z[:, self.columns].float().T.contiguous()
        indices = torch.searchsorted(start, points, right=True).T
        return indices, self._look_up(indices, z.device)

    def _look_up(self, indices, device):
        """Return first and last point, and the tables, of intervals of these indices."""
        start = torch.from_numpy(self._start)
        last = torch.nextafter(start[:, 1:], start.new_tensor(-math.inf))
        tables = [start[:, :-1], last, *map(torch.from_numpy, self._tables)]
        return [table.to(device).gather(1, indices.T).T for table in tables]

    def _place(self, z, found, place):
        """Return z at a quantile of each cell's noise, and the log of its density."""
        first, last, centre, scale, quantile, share, _ = found
        noisy = (scale > 0) & ~z[:, self.columns].isnan()
        noise = _normal_score(quantile + place * share)
        points = torch.where(noisy, centre + scale * noise, z[:, self.columns].double())
        points = torch.maximum(torch.minimum(points.float(), last), first)
        placed = z.clone()
        placed[:, self.columns] = points.to(z.dtype)
        log_noise = -0.5 * (noise.square() + math.log(2 * math.pi)) - scale.log()
        return placed, torch.where(noisy, log_noise, 0.0).sum(dim=1)


def _normal_score(quantile):
    """Return the normal quantile, finite at 0 and 1."""
    return torch.special.ndtri(quantile.clamp(LEAST_SHARE, 1 - LEAST_SHARE))


def _padded(table, n_intervals, filler):
    """Return the table of intervals lengthened to so many (starts: one more)."""
    n_more = n_intervals + (filler == np.inf) - len(table)
    return np.r_[table, np.full(n_more, filler)]


def _rule(n_columns):
    """Return points of the unit cube, (N_NODES, n_columns), and their log weights."""
    if n_columns > 3:
        net = torch.quasirandom.SobolEngine(n_columns, scramble=True, seed=0)
        points = net.draw(N_NODES, dtype=torch.float64).numpy()
        return points, np.full(N_NODES, -math.log(N_NODES))
    points, weights = leggauss(round(N_NODES ** (1 / n_columns)))
    grid = np.meshgrid(*[points] * n_columns)
    weights = np.meshgrid(*[np.log(weights / 2)] * n_columns)
    return (
        (np.stack(grid, axis=-1).reshape(-1, n_columns) + 1) / 2,
        np.sum(weights, axis=0).ravel(),
    )
