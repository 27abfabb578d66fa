"""Monotone maps of single columns to nearly normal ones."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_ndtr, logsumexp, ndtri_exp
from torch import Tensor, nn

Array = NDArray[np.float64]

#: Kernels of a column, relative to the root of the number of rows, and their maximum.
KERNELS_PER_ROOT, MAX_KERNELS = 4, 256
#: Width of a kernel in distances to its neighbours.
RELATIVE_WIDTH = 4.0
#: Least width in standard deviations, so that no density is infinite.
LEAST_WIDTH = 1e-3
#: In a column without ties: least share of distinct values, most of one value.
MIN_DISTINCT, MAX_TIES = 0.9, 0.02
#: Ratio of neighbouring ranks at which the outermost rows are knots.
TAIL_RATIO = 1.7


class MarginalMaps(nn.Module):
    r"""Monotone rational-quadratic splines, one for each column, with linear tails.

    .. math:: z_j = T_j(x_j), \qquad \log p(x) = \log p(z) + \sum_j \log T_j'(x_j)

    Parameters
    ----------
    knots, values, slopes : Tensor of shape (n_features, n_knots)
        Positions of the knots, with the values and derivatives of the map there.

    References
    ----------
    Gregory, Delbourgo. Piecewise rational quadratic interpolation to monotonic data.
    IMA Journal of Numerical Analysis 1982. Durkan, Bekasov, Murray, Papamakarios.
    Neural spline flows. NeurIPS 2019.

    Examples
    --------
    >>> import torch
    >>> knots = torch.tensor([[-1.0, 0.0, 1.0]])
    >>> maps = MarginalMaps(knots, 2 * knots, torch.full((1, 3), 2.0))
    >>> z, log_slope = maps(torch.tensor([[0.5], [3.0]]))
    >>> z[:, 0].tolist(), maps.inverse(z)[:, 0].tolist()
    ([1.0, 6.0], [0.5, 3.0])
    """

    def __init__(self, knots: Tensor, values: Tensor, slopes: Tensor) -> None:
        super().__init__()
        self.knots: Tensor
        self.values: Tensor
        self.slopes: Tensor
        self.register_buffer("knots", knots)
        self.register_buffer("values", values)
        self.register_buffer("slopes", slopes)

    def of_columns(self, columns: Tensor) -> MarginalMaps:
        """Return the maps of some columns."""
        return MarginalMaps(
            self.knots[columns], self.values[columns], self.slopes[columns]
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z of shape (n, n_features) and the log of dz/dx, of shape (n,)."""
        low, high, below, above, start, end = self._pieces(x, self.knots)
        width, height = high - low, above - below
        steepness = height / width
        inside = x.T.clamp(self.knots[:, :1], self.knots[:, -1:])
        t = ((inside - low) / width).clamp(0, 1)
        product = t * (1 - t)
        scale = steepness + (start + end - 2 * steepness) * product
        z = below + height * (steepness * t.square() + start * product) / scale
        slope = end * t.square() + 2 * steepness * product + start * (1 - t).square()
        log_slope = 2 * (steepness.log() - scale.log()) + slope.log()
        # Beyond the knots the slope is that of the last one.
        z = z + (x.T - inside) * torch.where(x.T < inside, start, end)
        return z.T, log_slope.sum(dim=0)

    def inverse(self, z: Tensor) -> Tensor:
        """Return the rows that are mapped to z."""
        low, high, below, above, start, end = self._pieces(z, self.values)
        width, height = high - low, above - below
        steepness = height / width
        inside = z.T.clamp(self.values[:, :1], self.values[:, -1:])
        rise = (inside - below).clamp(min=0)
        bend = start + end - 2 * steepness
        a = height * (steepness - start) + rise * bend
        b = height * start - rise * bend
        c = -steepness * rise
        root = (b.square() - 4 * a * c).clamp(min=0).sqrt()
        x = low + (2 * c / (-b - root)).clamp(0, 1) * width
        x = x + (z.T - inside) / torch.where(z.T < inside, start, end)
        return x.T

    def _pieces(self, x: Tensor, edges: Tensor) -> tuple[Tensor, ...]:
        """Return knots, values and slopes at both ends of each entry's interval."""
        right = _n_below(edges[:, 1:-1].contiguous(), x.T.contiguous()) + 1
        return tuple(
            table.gather(1, place)
            for table in (self.knots, self.values, self.slopes)
            for place in (right - 1, right)
        )


def _n_below(edges: Tensor, x: Tensor) -> Tensor:
    """Return the number of sorted edges (d, k) that are below entries x (d, n)."""
    if torch.compiler.is_compiling():  # ONNX has no searchsorted
        return (edges.unsqueeze(1) < x.unsqueeze(2)).sum(dim=2)
    return torch.searchsorted(edges, x)


def tied_columns(x: Array) -> NDArray[np.bool_]:
    """Return a mask of the columns with many repeated values or one frequent value."""
    n = len(x)
    counts = [np.unique(column, return_counts=True)[1] for column in x.T]
    few = [len(c) < MIN_DISTINCT * n or c.max() > max(1, MAX_TIES * n) for c in counts]
    return np.array(few)


def fit_marginals(x: Array, tied: NDArray[np.bool_] | None = None) -> MarginalMaps:
    r"""Return maps that make each column nearly standard normal.

    .. math:: T(x) = \Phi^{-1}\Big(\frac1m \sum_i \Phi\Big(\frac{x - q_i}{h_i}
              \Big)\Big)

    at the knots of a spline: a column's density is estimated by kernels at m of its
    quantiles :math:`q_i`, with widths in proportion to the local distances of rows, so
    that peaks stay narrow and tails wide. Columns with ties (a tenth of the values are
    repeated, or a fiftieth of the rows have the same one) are standardised only: each
    of their values would become a spike, which a net learns to tell from draws beside
    it.

    Parameters
    ----------
    x : ndarray of shape (n, n_features)
        Rows.
    tied : ndarray of bool of shape (n_features,) or None, default=None
        Columns with ties; None looks for them.
    """
    tied = tied_columns(x) if tied is None else tied
    columns = [
        _straight(column) if is_tied else _fit_column(np.sort(column))
        for column, is_tied in zip(x.T, tied, strict=True)
    ]
    n_knots = max(len(knots) for knots, _, _ in columns)
    parts = zip(*(_lengthened(*column, n_knots) for column in columns), strict=True)
    return MarginalMaps(*(torch.tensor(np.stack(part)).float() for part in parts))


def _straight(column: Array) -> tuple[Array, Array, Array]:
    """Return knots, values and slopes of the linear map that standardises."""
    spread, ends = column.std() or 1.0, np.array([-1.0, 1.0])
    return column.mean() + spread * ends, ends, np.full(2, 1 / spread)


def _fit_column(ordered: Array) -> tuple[Array, Array, Array]:
    """Return knots, values and slopes of the map of a sorted column."""
    n, least = len(ordered), LEAST_WIDTH * (ordered.std() or 1.0)
    m = min(MAX_KERNELS, max(8, round(KERNELS_PER_ROOT * math.sqrt(n))))
    centres = np.quantile(ordered, (np.arange(m) + 0.5) / m)
    gaps = np.gradient(centres)
    nearby = np.convolve(np.pad(gaps, 2, mode="edge"), np.full(5, 0.2), "valid")
    widths = np.maximum(RELATIVE_WIDTH * np.maximum(gaps, nearby), least)
    tail = (TAIL_RATIO ** np.arange(64)).astype(int) - 1
    tail = tail[tail < n / m]
    knots = np.concatenate([centres, ordered[tail], ordered[n - 1 - tail]])
    knots = _spaced(np.sort(knots), 0.1 * least)
    u = (knots[:, None] - centres) / widths
    log_density = logsumexp(-0.5 * u**2, b=1 / widths, axis=1)
    below, above = logsumexp(log_ndtr(u), axis=1), logsumexp(log_ndtr(-u), axis=1)
    left = below < above
    values = np.where(left, 1, -1) * ndtri_exp(np.minimum(below, above) - math.log(m))
    log_slope = log_density - math.log(m) + 0.5 * values**2
    return knots, values, np.exp(log_slope)


def _spaced(ordered: Array, spacing: float) -> Array:
    """Return values at least `spacing` apart, and no fewer than two."""
    kept = [ordered[0]]
    for value in ordered[1:]:
        if value >= kept[-1] + spacing:
            kept.append(value)
    return np.array(kept if len(kept) > 1 else [kept[0], kept[0] + spacing])


def _lengthened(
    knots: Array, values: Array, slopes: Array, n_knots: int
) -> tuple[Array, Array, Array]:
    """Return the same map with further knots on its linear upper tail."""
    more = np.arange(1, n_knots - len(knots) + 1) * (knots[-1] - knots[-2])
    return (
        np.r_[knots, knots[-1] + more],
        np.r_[values, values[-1] + more * slopes[-1]],
        np.r_[slopes, np.full(len(more), slopes[-1])],
    )
