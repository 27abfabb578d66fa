"""Densities on a line that are known up to a factor, by adaptive quadrature."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

#: Points that each of the last passes adds, at even quantiles of what is known.
N_SPREAD = (12,)
#: Points that each of the first passes adds: about the mode, in deviations from it.
ABOUT_MODE = ((-2.0, 0.0, 2.0), (-4.0, -2.5, -1.3, -0.6, 0.6, 1.3, 2.5, 4.0))
#: Log densities so far below the greatest one are zero.
DEPTH = 1e9
#: Bound of the curvature's part of an interval's log mass: kinks have any curvature.
MAX_CURVATURE = 0.5
#: Power of the density that new points are spread by: its tails get some, too.
POWER = 0.5
LEAST_STEP = 1e-12
#: Steps into which intervals are cut in the end, on cubics through the points.
N_BETWEEN = 4
#: Steepest intervals with a cubic, and its greatest distance from the line, in nats.
MAX_RISE, MAX_BUMP = 15.0, 2.0
#: How far beyond the first points a mode may be, in ranges of these.
MAX_REACH = 10.0

#: Takes points (n, n_points) to log densities (n, n_copies, n_points).
LogDensity = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Conditionals:
    r"""Distributions of one entry of each row: points of a line, and single values.

    Between two points the log density is a line; the masses of the intervals have its
    curvature as well.

    Attributes
    ----------
    points : Tensor of shape (n, n_points)
        Sorted; no points where the entry has single values only.
    log_density : Tensor of shape (n, n_points)
    log_mass : Tensor of shape (n, n_points - 1)
        Of the intervals between points; NaN where the others alone are impossible.
    values : Tensor of shape (n_values,)
        Sorted places of the single values.
    log_share : Tensor of shape (n, n_values)
        Logs of their probabilities.
    """

    points: Tensor
    log_density: Tensor
    log_mass: Tensor
    values: Tensor
    log_share: Tensor

    def tail(self, log_level: Tensor) -> Tensor:
        """Return the probability of a density no higher than exp(log_level), (n,).

        A single value counts by its probability.
        """
        level = log_level[:, None]
        single = self.log_share.exp() * (self.log_share <= level + 1e-9)
        low = torch.minimum(self.log_density[:, 1:], self.log_density[:, :-1])
        high = torch.maximum(self.log_density[:, 1:], self.log_density[:, :-1])
        below = -torch.expm1(low - level) / (-torch.expm1(low - high)).clamp(min=1e-300)
        below = below * (level - high).clamp(max=0).exp()
        part = torch.where(high <= level, 1.0, torch.where(low >= level, 0.0, below))
        mass = self.log_mass.exp() * part
        return (single.sum(1) + mass.sum(1)).clamp(0, 1)

    def mean(self, values_of: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
        """Return the mean of values at points, (n,); ``values`` are the single ones."""
        slope = self.log_density.diff(dim=1)
        centre = self.points[:, :-1] + self.points.diff(dim=1) * _centre(slope)
        mean = (self.log_mass.exp() * values_of(centre)).sum(1)
        return mean + self.log_share.exp() @ values

    def quantile(self, level: float) -> Tensor:
        """Return the place below which a share of the mass is, (n,)."""
        place = self.values.expand(len(self.log_share), -1)
        start = torch.cat([self.points[:, :-1], place], 1)
        step = torch.cat([self.points.diff(dim=1), torch.zeros_like(place)], 1)
        slope = torch.cat([self.log_density.diff(dim=1), torch.zeros_like(place)], 1)
        mass = torch.cat([self.log_mass, self.log_share], 1).exp()
        start, order = start.sort(dim=1, stable=True)
        step, slope, mass = (part.gather(1, order) for part in (step, slope, mass))
        end = mass.cumsum(1)
        target = (level * end[:, -1:]).contiguous()
        k = torch.searchsorted(end, target).clamp(max=mass.shape[1] - 1)
        start, step, slope, mass, end = (
            part.gather(1, k)[:, 0] for part in (start, step, slope, mass, end)
        )
        start = start.masked_fill(end.isnan(), torch.nan)
        share = (1 - (end - target[:, 0]) / mass.clamp(min=1e-300)).clamp(0, 1)
        return start + step * _inverse(share, slope)


def conditionals(
    log_density: LogDensity | None,
    start: Tensor,
    values: Tensor,
    log_masses: Tensor,
) -> Conditionals:
    """Return normalised distributions, each a mean over copies of a row.

    Parameters
    ----------
    log_density : callable or None
        Log densities up to a factor of each copy; None without a density.
    start : Tensor of shape (n, n_start)
        First points: they must bracket the mass, and tell the modes.
    values : Tensor of shape (n_values,)
        Places of single values.
    log_masses : Tensor of shape (n, n_copies, n_values)
        Logs of their masses, up to the same factors.
    """
    n, n_copies, _ = log_masses.shape
    if log_density is None:
        empty = start.new_empty(n, 0)
        shares = log_masses.log_softmax(2)
        log_share = shares.logsumexp(1) - math.log(n_copies)
        return Conditionals(empty, empty, empty, values, log_share)
    points, _ = start.sort(dim=1)
    logs = log_density(points)
    impossible = ~torch.cat([logs, log_masses], 2).isfinite().flatten(1).any(1)
    logs = _bounded(logs)
    for added in (*ABOUT_MODE, *N_SPREAD):
        mean, _ = _mean_of_copies(points, logs, log_masses)
        if isinstance(added, int):
            new = _spread(points, mean, added)
        else:
            new = _about_mode(points, mean, added)
        points, order = torch.cat([points, new], 1).sort(dim=1)
        logs = torch.cat([logs, log_density(new)], 2)
        logs = _bounded(logs.gather(2, order[:, None].expand_as(logs)))
    mean, log_share = _mean_of_copies(points, logs, log_masses)
    points, mean = _interpolated(points, mean)
    log_mass = _log_mass(points, mean)
    total = torch.cat([log_mass, log_share], 1).logsumexp(1, keepdim=True)
    log_mass = (log_mass - total).masked_fill(impossible[:, None], torch.nan)
    return Conditionals(points, mean - total, log_mass, values, log_share - total)


def _bounded(logs: Tensor) -> Tensor:
    """Return log densities that are finite, and no NaN."""
    logs = logs.nan_to_num(nan=-math.inf, posinf=-math.inf)
    top = logs.amax(dim=2, keepdim=True).clamp(min=-1e300)
    return torch.maximum(logs, top - DEPTH)


def _mean_of_copies(
    points: Tensor, logs: Tensor, log_masses: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the mean of the copies' densities and probabilities, in logs."""
    line = _log_mass(points[:, None], logs)
    level = torch.cat([line, log_masses], 2).logsumexp(2, keepdim=True)
    less = math.log(logs.shape[1])
    density = (logs - level).logsumexp(1) - less
    return density, (log_masses - level).logsumexp(1) - less


def _log_mass(points: Tensor, logs: Tensor) -> Tensor:
    """Return the log masses of the intervals between points."""
    step = points.diff(dim=-1).clamp(min=LEAST_STEP)
    rise = logs.diff(dim=-1)
    middle = (logs[..., 1:] + logs[..., :-1]) / 2
    flat = middle + step.log() + _log_sinhc(rise / 2)
    if points.shape[-1] < 3:
        return flat
    slope = rise / step
    bend = 2 * slope.diff(dim=-1) / (step[..., 1:] + step[..., :-1])
    bend = torch.cat([bend[..., :1], bend, bend[..., -1:]], -1)
    bend = (bend[..., 1:] + bend[..., :-1]) / 2
    more = -bend * step.square() / 2 * _spread_of(rise)
    return flat + more.clamp(-MAX_CURVATURE, MAX_CURVATURE)


def _about_mode(points: Tensor, logs: Tensor, places: tuple[float, ...]) -> Tensor:
    """Return new points about the vertex of a parabola through the three highest.

    At an end of the line it may lie beyond: what the others say may be far away.
    """
    last = points.shape[1] - 1
    highest = logs.argmax(1, keepdim=True)
    top = highest.clamp(1, last - 1)
    near = top + torch.arange(-1, 2, device=top.device)
    x, y = points.gather(1, near), logs.gather(1, near)
    step = x.diff(dim=1).clamp(min=LEAST_STEP)
    slope = y.diff(dim=1) / step
    width = step.sum(1, keepdim=True)
    bend = (2 * slope.diff(dim=1) / width).clamp(max=-(0.1 / width).square())
    start = (x[:, :1] + x[:, 1:2]) / 2
    reach = MAX_REACH * (points[:, -1:] - points[:, :1])
    low = torch.where(highest == 0, x[:, :1] - reach, x[:, :1])
    high = torch.where(highest == last, x[:, 2:] + reach, x[:, 2:])
    vertex = (start - slope[:, :1] / bend).clamp(low, high)
    return vertex + torch.tensor(places).to(points) * (-bend).rsqrt()


def _interpolated(points: Tensor, logs: Tensor) -> tuple[Tensor, Tensor]:
    """Return more points, between the old ones, on cubics of the slopes there.

    On a line where the log density is steep, as at the end of its support.
    """
    step = points.diff(dim=1).clamp(min=LEAST_STEP)
    rise = logs.diff(dim=1)
    slope = rise / step
    ratio = step[:, :-1] / (step[:, 1:] + step[:, :-1])
    inner = slope[:, :-1] + ratio * slope.diff(dim=1)
    # Beside a steep interval, or one without a length, by the other side alone.
    odd = (rise.abs() > MAX_RISE) | (step <= 2 * LEAST_STEP)
    inner = torch.where(odd[:, :-1], slope[:, 1:], inner)
    inner = torch.where(odd[:, 1:], slope[:, :-1], inner)
    first = 2 * slope[:, :1] - inner[:, :1]
    last = 2 * slope[:, -1:] - inner[:, -1:]
    at = torch.cat([first, inner, last], 1)
    low, high = (part * step - rise for part in (at[:, :-1], at[:, 1:]))
    u = torch.arange(N_BETWEEN, dtype=step.dtype, device=step.device) / N_BETWEEN
    bump = u * (1 - u) * (low[..., None] * (1 - u) - high[..., None] * u)
    steep = rise.abs() > MAX_RISE
    bump = bump.clamp(-MAX_BUMP, MAX_BUMP).masked_fill(steep[..., None], 0.0)
    values = logs[:, :-1, None] + u * rise[..., None] + bump
    places = points[:, :-1, None] + u * step[..., None]
    return (
        torch.cat([places.flatten(1), points[:, -1:]], 1),
        torch.cat([values.flatten(1), logs[:, -1:]], 1),
    )


def _spread(points: Tensor, logs: Tensor, n_added: int) -> Tensor:
    """Return new points at even quantiles of a power of the density."""
    step = points.diff(dim=1).clamp(min=LEAST_STEP)
    rise = POWER * logs.diff(dim=1)
    middle = POWER * (logs[:, 1:] + logs[:, :-1]) / 2
    end = (middle + step.log() + _log_sinhc(rise / 2)).softmax(1).cumsum(1)
    share = (torch.arange(n_added, dtype=end.dtype, device=end.device) + 0.5) / n_added
    target = (share * end[:, -1:]).contiguous()
    k = torch.searchsorted(end, target).clamp(max=end.shape[1] - 1)
    before = torch.cat([torch.zeros_like(end[:, :1]), end], 1).gather(1, k)
    mass = (end.gather(1, k) - before).clamp(min=1e-300)
    part = ((target - before) / mass).clamp(0, 1)
    return points.gather(1, k) + step.gather(1, k) * _inverse(part, rise.gather(1, k))


def _log_sinhc(x: Tensor) -> Tensor:
    """Return log(sinh(x) / x)."""
    size = x.abs().clamp(min=1e-3)
    exact = size + torch.log1p(-torch.exp(-2 * size)) - (2 * size).log()
    return torch.where(x.abs() < 1e-3, x.square() / 6, exact)


def _centre(slope: Tensor) -> Tensor:
    """Return the mean of u in [0, 1] under exp(slope u)."""
    large = torch.where(slope.abs() < 1e-3, 1.0, slope)
    return torch.where(
        slope.abs() < 1e-3,
        0.5 + slope / 12,
        0.5 / torch.tanh(large / 2) + 0.5 - 1 / large,
    )


def _spread_of(slope: Tensor) -> Tensor:
    """Return the mean of u (1 - u) in [0, 1] under exp(slope u)."""
    large = torch.where(slope.abs() < 1e-2, 1.0, slope)
    exact = (large / 2 / torch.tanh(large / 2) - 1) * 2 / large.square()
    return torch.where(slope.abs() < 1e-2, 1 / 6, exact)


def _inverse(share: Tensor, slope: Tensor) -> Tensor:
    """Return the quantile of u in [0, 1] under exp(slope u)."""
    large = torch.where(slope.abs() < 1e-6, 1.0, slope)
    size = large.abs()
    # From the end where the density is high, so that nothing overflows.
    share_up = torch.where(large > 0, 1 - share, share)
    down = -torch.log1p(share_up * torch.expm1(-size)) / size
    exact = torch.where(large > 0, 1 - down, down)
    return torch.where(slope.abs() < 1e-6, share, exact).clamp(0, 1)
