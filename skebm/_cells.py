"""Intervals that stand for single values, so that a density gives them a mass."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass

import numpy as np
import torch
from numpy.polynomial.legendre import leggauss
from scipy.special import ndtr, ndtri

from skebm.references import Density
from skebm.utils import normal_like, uniform_like

#: Points of the rule by which a density is integrated over a cell.
N_NODES = 64
#: Rows added to each category, so that one that was never seen has a cell.
PSEUDO_ROWS = 0.5
#: Standard deviations of an atom's noise from the middle to the ends of its gap.
GAP_DEVIATIONS = 3.0
#: Keeps points of the outer cells finite.
LEAST_SHARE = 1e-9


@dataclass(frozen=True)
class Pieces:
    """The line of a column, cut into pieces that stand for values.

    A piece has noise, a normal density cut off at its ends, or has none: then its
    points stand for themselves.

    Attributes
    ----------
    start : ndarray of shape (n_pieces + 1,)
        Where each begins, infinity last.
    centre, scale : ndarray of shape (n_pieces,)
        Of the normal density; scale 0 where there is no noise.
    quantile, share : ndarray of shape (n_pieces,)
        Its quantile at the start of the piece, and its mass there.
    log_unit : ndarray of shape (n_pieces,)
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
        """Return a piece for each category, of its share of the standard normal."""
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
        Numbers of the columns that have cells.
    pieces : list of Pieces
        Of each.

    References
    ----------
    Rueschendorf. On the distributional transform, Sklar's theorem, and the empirical
    copula process. Journal of Statistical Planning and Inference 139, 2009. Theis, van
    den Oord, Bethge. A note on the evaluation of generative models. ICLR 2016.
    """

    def __init__(self, columns, pieces):
        self.columns = np.asarray(columns)
        n_pieces = max(len(one.share) for one in pieces)
        # Padding lies beyond infinity, where no point is.
        fillers = np.inf, 0.0, 0.0, 0.0, 1.0, 0.0
        start, *rest = (
            np.stack([_padded(table, n_pieces, filler) for table in tables])
            for filler, tables in zip(
                fillers, zip(*map(astuple, pieces), strict=True), strict=True
            )
        )
        self._start, self._tables = start.astype(np.float32), rest
        self._rule = _rule(len(pieces))

    def numbers(self, Z):
        """Return the numbers of the pieces that hold the points, (n, n_columns)."""
        numbers, _ = self._find(torch.from_numpy(Z))
        return numbers.numpy()

    def middles(self, Z, numbers):
        """Return Z, its points moved into pieces of these numbers.

        Into the middle, where the piece has noise; else inside, as near as can be.
        """
        z = torch.from_numpy(Z)
        found = self._look_up(torch.from_numpy(numbers), z.device)
        return self._place(z, found, torch.tensor(0.5))[0].numpy()

    def noise(self, z):
        """Return the noise in the cells of a row, NaN where it misses an entry.

        As the columns of the row in which there is some, a `CellNoise` of these, and
        the sum of what they add to a log density in the units of X.
        """
        _, found = self._find(z[None])
        *tables, log_unit = (table[0] for table in found)
        observed = ~z[self.columns].isnan()
        kept = observed & (tables[3] > 0)
        columns = torch.from_numpy(self.columns).to(z.device)[kept]
        noise = CellNoise(*(table[kept].double() for table in tables))
        return columns, noise, float(log_unit[kept].sum())

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
        """Return the pieces of points: their numbers, and what `_look_up` returns."""
        start = torch.from_numpy(self._start[:, 1:-1].copy()).to(z.device)
        points = z[:, self.columns].float().T.contiguous()
        numbers = torch.searchsorted(start, points, right=True).T
        return numbers, self._look_up(numbers, z.device)

    def _look_up(self, numbers, device):
        """Return first and last point, and the tables, of pieces of these numbers."""
        start = torch.from_numpy(self._start)
        last = torch.nextafter(start[:, 1:], start.new_tensor(-math.inf))
        tables = [start[:, :-1], last, *map(torch.from_numpy, self._tables)]
        return [table.to(device).gather(1, numbers.T).T for table in tables]

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


class CellNoise(Density):
    r"""Normal densities, each cut off at the ends of a cell.

    .. math:: b_j(z) = \frac{1}{f_j s_j} \varphi\Big(\frac{z - c_j}{s_j}\Big), \qquad
              z \in C_j

    Parameters
    ----------
    first, last : Tensor of shape (n_cells,)
        The outermost points of each.
    centre, scale, quantile, share : Tensor of shape (n_cells,)
        As in `Pieces`: c, s, where the cell begins, and f.
    """

    has_walls = True
    has_transitions = True

    def __init__(self, first, last, centre, scale, quantile, share):
        super().__init__()
        self.register_buffer("first", first)
        self.register_buffer("last", last)
        self.register_buffer("centre", centre)
        self.register_buffer("scale", scale)
        self.register_buffer("quantile", quantile)
        self.register_buffer("share", share)

    def log_prob(self, x):
        """Return log b(x) in nats, -inf outside the cells."""
        inside = ((x >= self.first) & (x <= self.last)).all(dim=1)
        return torch.where(inside, self.extended_log_prob(x), -math.inf)

    def extended_log_prob(self, x):
        """Return log b(x) as if the normal densities were not cut off."""
        squares = ((x - self.centre) / self.scale).square()
        constant = 0.5 * math.log(2 * math.pi) + (self.scale * self.share).log()
        return -(0.5 * squares + constant).sum(dim=1)

    def sample(self, n_samples, generator):
        """Return draws of shape (n_samples, n_cells)."""
        return self._place(uniform_like(self.centre.expand(n_samples, -1), generator))

    def transition(self, x, scale, generator):
        """Return points after a Crank-Nicolson step of their normal scores."""
        scale = scale.unsqueeze(1).double()
        quantile = torch.special.ndtr((x.double() - self.centre) / self.scale)
        score = _normal_score((quantile - self.quantile) / self.share)
        noise = normal_like(score, generator)
        moved = (1 - scale.square()).sqrt() * score + scale * noise
        return self._place(torch.special.ndtr(moved)).to(x)

    def _place(self, place):
        """Return the points at these quantiles of the noise in the cells."""
        noise = _normal_score(self.quantile + place * self.share)
        points = self.centre + self.scale * noise
        return torch.maximum(torch.minimum(points, self.last), self.first)


def _normal_score(quantile):
    """Return the normal quantile, finite at 0 and 1."""
    return torch.special.ndtri(quantile.clamp(LEAST_SHARE, 1 - LEAST_SHARE))


def _padded(table, n_pieces, filler):
    """Return the table of pieces lengthened to so many (starts: one more)."""
    n_more = n_pieces + (filler == np.inf) - len(table)
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
