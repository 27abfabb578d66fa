"""Kernel density estimates as references."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from skebm.references._base import Density, Reference
from skebm.references._kernels import RoundMixture
from skebm.utils import VARIANCE_FLOOR, check_range, column_units, in_parts, is_count

MIN_BANDWIDTH, MAX_BANDWIDTH, N_BANDWIDTHS = math.sqrt(VARIANCE_FLOOR), 2.0, 24
MAX_LEFT_OUT = 1000
#: A kernel so near to a row is the row's own.
OWN_DISTANCE = 1e-6
EXACT = "donot_use_mm_for_euclid_dist"
#: Elements of the matrix of kernels, rows times points, held at a time.
MAX_KERNELS = 4_000_000


class KernelDensity(Density):
    r"""Mean of Gaussian kernels centred on points.

    .. math:: q_0(x) = \sum_i w_i \prod_j N(x_j; y_{ij}, h_j^2)

    Parameters
    ----------
    points : Tensor of shape (n_points, n_features)
        y.
    weights : Tensor of shape (n_points,)
        w, of sum one.
    bandwidth : Tensor of shape (n_features,)
        h.

    Examples
    --------
    >>> import torch
    >>> rows = torch.zeros(3, 2)
    >>> density = KernelDensity(rows, torch.full((3,), 1 / 3), torch.ones(2))
    >>> round(density.log_prob(rows[:1]).item(), 4)
    -1.8379
    """

    def __init__(self, points: Tensor, weights: Tensor, bandwidth: Tensor) -> None:
        super().__init__()
        self.points: Tensor
        self.weights: Tensor
        self.bandwidth: Tensor
        self.register_buffer("points", points)
        self.register_buffer("weights", weights)
        self.register_buffer("bandwidth", bandwidth)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log q0(x) in nats, shape (n,)."""
        kernels = self._kernels(torch.float64)  # squares of far rows cancel
        rows = x.double() / self.bandwidth
        chunks = in_parts(rows, MAX_KERNELS // len(self.points))
        log_density = torch.cat([kernels.log_density(chunk) for chunk in chunks])
        return (log_density - self.bandwidth.log().sum()).to(x.dtype)

    def left_out_log_prob(self, x: Tensor) -> Tensor:
        """Return log q0 of the rows it was fitted to, each without its own kernel."""
        log_density = self.log_prob(x).double()
        points = self.points.double()
        nearest = [
            torch.cdist(rows, points, compute_mode=EXACT).min(dim=1)
            for rows in x.double().split(max(1, MAX_KERNELS // len(points)))
        ]
        distance = torch.cat([near.values for near in nearest])
        own = torch.cat([near.indices for near in nearest])
        share = torch.where(distance < OWN_DISTANCE, self.weights.double()[own], 0.0)
        share = share.clamp(max=1 - 1e-9)
        scale = self.bandwidth.double()
        peak = -scale.log().sum() - 0.5 * len(scale) * math.log(2 * math.pi)
        kernel = (share * (peak - log_density).exp()).clamp(max=1 - 1e-12)
        return log_density + torch.log1p(-kernel) - torch.log1p(-share)

    @property
    def narrowest_scale(self) -> float:
        """The smallest bandwidth of a column."""
        return float(self.bandwidth.min())

    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Return draws of shape (n_samples, n_features)."""
        kernels = self._kernels(self.points.dtype)
        return self.bandwidth * kernels.sample(n_samples, generator)

    def _kernels(self, dtype: torch.dtype) -> RoundMixture:
        """Return the kernels of columns that are divided by their bandwidth."""
        points = self.points.to(dtype) / self.bandwidth
        return RoundMixture.about(points, 1.0, self.weights.to(dtype))


class KernelDensityReference(Reference):
    r"""Kernel density estimate with the bandwidth of best leave-one-out likelihood.

    .. math:: h = \arg\max_h \sum_i \log \frac{1}{1 - w_i} \sum_{k \ne i}
              w_k N(x_i; x_k, h^2 u^2), \qquad u_j \text{ the unit of column } j

    One bandwidth for all standardised columns, wider where a column lies on a grid, and
    the least where it is constant. It is chosen on at most 1000 rows.

    Parameters
    ----------
    max_rows : int, default=10_000
        Rows used, chosen at random where there are more, since each of them adds to
        the cost of evaluating the density.

    References
    ----------
    Habbema, Hermans, van den Broek. A stepwise discrimination analysis program using
    density estimation. COMPSTAT 1974.

    Examples
    --------
    >>> import torch
    >>> from skebm.references import KernelDensityReference
    >>> rng = torch.Generator().manual_seed(0)
    >>> x = torch.randn(100, 2, generator=rng)
    >>> density = KernelDensityReference().fit(x, weight=None, generator=rng)
    >>> density.log_prob(x).shape
    torch.Size([100])
    """

    def __init__(self, max_rows: int = 10_000) -> None:
        self.max_rows = max_rows

    def check_options(self) -> None:
        """Raise ValueError naming an option that is out of its range."""
        right = is_count(self.max_rows, 2)
        check_range(self, "max_rows", right, "an integer, at least 2")

    def fit(
        self, x: Tensor, *, weight: Tensor | None, generator: torch.Generator
    ) -> KernelDensity:
        """Return the kernel density of the weighted rows."""
        chosen = torch.randperm(len(x), generator=generator)[: self.max_rows]
        x = x[chosen]
        weight = torch.ones(len(x)) if weight is None else weight[chosen].float()
        weight = weight / weight.sum()
        unit = torch.from_numpy(column_units(x.double().numpy())).float()
        varies = (x != x[0]).any(dim=0)
        grid = torch.logspace(
            math.log10(MIN_BANDWIDTH), math.log10(MAX_BANDWIDTH), N_BANDWIDTHS
        )
        scores = _leave_one_out((x / unit)[:, varies], weight, grid)
        widths = torch.where(varies, grid[scores.argmax()], grid[0])
        return KernelDensity(x, weight, widths * unit)


def _leave_one_out(x: Tensor, weight: Tensor, bandwidths: Tensor) -> Tensor:
    """Return the mean leave-one-out log density for each bandwidth."""
    x, weight = x.double(), weight.double()
    chosen = torch.arange(len(x))[weight < 1][:MAX_LEFT_OUT]
    if not len(chosen):
        return bandwidths  # a single row: the widest
    totals = torch.zeros(len(bandwidths), dtype=torch.float64)
    for rows in chosen.split(max(1, MAX_KERNELS // (4 * len(x)))):
        squares = torch.cdist(x[rows], x).square()
        log_weight = weight.log().expand_as(squares).clone()
        log_weight[torch.arange(len(rows)), rows] = -math.inf
        rest = torch.log1p(-weight[rows])
        for k, h in enumerate(bandwidths.tolist()):
            kernels = torch.logsumexp(log_weight - 0.5 * squares / h**2, dim=1)
            score = kernels - rest - x.shape[1] * math.log(h)
            totals[k] += weight[rows] @ score
    return totals / weight[chosen].sum()
