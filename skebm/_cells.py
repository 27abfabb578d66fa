"""Intervals that stand for single values, so that a density gives them a mass."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.polynomial.legendre import leggauss
from scipy.special import ndtri

from skebm._table import Standardizer
from skebm.utils import uniform_like

#: Points of the rule by which a density is integrated over a cell.
N_NODES = 64
#: Rows added to each category, so that one that was never seen has a cell.
PSEUDO_ROWS = 0.5
#: Keeps points of the outer cells finite.
LEAST_SHARE = 1e-9


class Cells:
    r"""Cells of columns of categories, which share out the real line.

    .. math:: C_k = [\Phi^{-1}(F_{k-1}), \Phi^{-1}(F_k)), \qquad
              F_k = \sum_{l \le k} f_l

    Category k, of share :math:`f_k` among the rows, stands for the points of
    :math:`C_k`. A row's point is drawn from the standard normal density on its cell, so
    that the points of a column are standard normal. A density p of such points gives
    the row the mass

    .. math:: \log \int_C p(z)\, dz = \sum_j \log f_{k_j}
              + \log \sum_m w_m \frac{p(z_m)}{\prod_j \varphi(z_{mj})}

    by 64 points :math:`z_m` at the same quantiles of the normal density in each cell:
    those of Gauss and Legendre where up to three columns are categories, else a
    scrambled Sobol net of fixed seed.

    Parameters
    ----------
    columns : ndarray of int of shape (n_columns,)
        Numbers of the columns of categories.
    shares : list of ndarray
        f of each, all positive, with sum one.

    References
    ----------
    Rueschendorf. On the distributional transform, Sklar's theorem, and the empirical
    copula process. Journal of Statistical Planning and Inference 139, 2009. Theis, van
    den Oord, Bethge. A note on the evaluation of generative models. ICLR 2016.
    """

    def __init__(self, columns, shares):
        self.columns = np.asarray(columns)
        size = max(map(len, shares))
        self.sizes = np.array([len(share) for share in shares])
        shape = len(shares), size
        # Padding lies beyond infinity, where no point is.
        self._start, self._share = np.ones(shape), np.ones(shape)
        self._edges = np.full((len(shares), size + 1), np.inf, dtype=np.float32)
        for j, share in enumerate(shares):
            ends = np.cumsum(share)
            self._start[j, : len(share)] = ends - share
            self._share[j, : len(share)] = share
            self._edges[j, 0] = -np.inf
            self._edges[j, 1 : len(share)] = ndtri(ends[:-1])
        self._rule = _rule(len(shares))

    @classmethod
    def fit(cls, columns, sizes, codes, weight=None):
        """Return the cells of columns of ``sizes`` categories, from rows of codes."""
        shares = []
        for size, column in zip(sizes, codes.T, strict=True):
            counts = np.bincount(column.astype(np.int64), weight, size) + PSEUDO_ROWS
            shares.append(counts / counts.sum())
        return cls(columns, shares)

    def from_codes(self, Z):
        """Write the middle of its cell in the place of each code of Z, float32."""
        for j, column in enumerate(self.columns):
            middle = ndtri(self._start[j] + 0.5 * self._share[j])
            Z[:, column] = middle[Z[:, column].astype(np.int64)]
        return Z

    def to_codes(self, Z):
        """Write its cell's number in the place of each point of Z, float64."""
        for j, column in enumerate(self.columns):
            inner = self._edges[j, 1 : self.sizes[j]]
            points = Z[:, column].astype(np.float32)
            Z[:, column] = np.searchsorted(inner, points, side="right")
        return Z

    def redraw(self, z, generator):
        """Return rows of points drawn anew within their cells."""
        points = z[:, self.columns].double()
        return self._place(z, self._find(z), uniform_like(points, generator))[0]

    def log_mass(self, log_density):
        """Return the function of points that integrates exp(log_density) over cells."""

        def integrated(z):
            found = self._find(z)
            _, share, _, _ = found
            total = torch.full_like(share[:, 0], -math.inf)
            for quantile, log_weight in zip(*self._rule, strict=True):
                place = torch.from_numpy(quantile).to(z.device)
                points, log_base = self._place(z, found, place)
                term = log_density(points).double() - log_base + log_weight
                total = torch.logaddexp(total, term)
            return total + share.log().sum(dim=1)

        return integrated

    def _find(self, z):
        """Return start and share of each point's cell, and its least and last point."""
        edges, start, share = (
            torch.from_numpy(table).to(z.device)
            for table in (self._edges, self._start, self._share)
        )
        points = z[:, self.columns].float().T.contiguous()
        number = torch.searchsorted(edges[:, 1:-1].contiguous(), points, right=True)
        last = torch.nextafter(edges[:, 1:], edges.new_tensor(-math.inf))
        tables = (start, share, edges[:, :-1], last)
        return tuple(table.gather(1, number).T for table in tables)

    def _place(self, z, found, quantile):
        """Return z at a quantile of each cell, and the log of the normal density."""
        start, share, least, last = found
        u = (start + quantile * share).clamp(LEAST_SHARE, 1 - LEAST_SHARE)
        points = torch.special.ndtri(u)
        log_base = -0.5 * points.square() - 0.5 * math.log(2 * math.pi)
        placed = z.clone()
        rounded = torch.maximum(torch.minimum(points.float(), last), least)
        placed[:, self.columns] = rounded.to(z.dtype)
        return placed, log_base.sum(dim=1)


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


class CellStandardizer(Standardizer):
    """`Standardizer` of a table some columns of which are codes of categories.

    Rows become points within the cells of their categories: here the middle ones.

    Parameters
    ----------
    range_share : float
        As in `Standardizer`.
    columns : ndarray of int
        Numbers of the columns of codes.
    sizes : list of int
        Their numbers of categories.
    """

    def __init__(self, range_share, columns, sizes):
        super().__init__(range_share)
        self.columns, self.sizes = columns, sizes

    def fit(self, X, sample_weight=None, names=None):
        """Learn moments and cells from X."""
        super().fit(X, sample_weight, names)
        self.mean_[self.columns], self.scale_[self.columns] = 0.0, 1.0
        codes = X[:, self.columns]
        self.cells = Cells.fit(self.columns, self.sizes, codes, sample_weight)
        return self

    def transform(self, X):
        """Return standardised rows, in the middle of their cells."""
        return self.cells.from_codes(super().transform(X))

    def inverse_transform(self, Z):
        """Return rows in the units of X, codes where X has codes."""
        return self.cells.to_codes(super().inverse_transform(Z))

    def log_mass(self, log_density):
        """Return the function that integrates exp(log_density) over cells."""
        return self.cells.log_mass(log_density)
