"""Wild values: what tells them from the others, and a map that draws them near."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skebm.tables._atoms import atoms_among, distinct
from skebm.tables._kinds import Array, Columns, observed
from skebm.tables._wild_column import WildColumn

#: Interquartile ranges from the quartiles to the fences, beyond which the line bends,
#: and to where a value is wild.
FENCE, WILD = 3.0, 20.0
#: Interquartile ranges up to which a tail without gaps is heavy, not wild: it stays on
#: the linear line, on which outliers are told better.
HEAVY = 100.0
#: Width of the logarithmic tails in standard deviations of the core.
WIDTH = 0.25
#: Ratio of the distances from the core at which wild values stand apart from the rest.
APART = 4.0
#: With fewer rows than this the quartiles say nothing.
MIN_ROWS = 10
#: With no more distinct values than this, a frequent one is part of the core.
MIN_VALUES = 5
#: A sentinel is a wild value of at least so many rows and so large a share of them,
#: with no other value within so many interquartile ranges.
SENTINEL_ROWS, SENTINEL_SHARE, SENTINEL_GAP = 5, 0.01, 5.0
#: Wild values so many interquartile ranges away, so many times as far as the next one,
#: and in no larger share of the rows, are none of the column's.
STRAY, STRAY_APART, STRAY_SHARE = 300.0, 100.0, 0.05
#: Keeps points far beyond all rows finite when they are mapped back.
MAX_EXPONENT = 600.0


@dataclass(frozen=True, eq=False)
class Tails:
    r"""A smooth map of several columns that draws their wild values near.

    The identity between two fences, logarithmic beyond them:

    .. math:: t(x) = b + w \log\Big(1 + \frac{x - b}{w}\Big), \quad x > b, \qquad
              \log t'(x) = -\frac{t - b}{w}

    and likewise below the lower fence.

    Attributes
    ----------
    low, high : ndarray of shape (n_columns,)
        The fences b; infinite where a column has no wild values.
    width : ndarray of shape (n_columns,)
        w.
    span : ndarray of shape (n_columns,)
        Range of the values between the fences.
    reach : ndarray of shape (2, n_columns) or None
        Bounds beyond which values stand apart from the others; infinite where none do.
        None in states of a former version.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    width: NDArray[np.float64]
    span: NDArray[np.float64]
    reach: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, wild: Mapping[int, WildColumn], columns: Columns) -> Self | None:
        """Return the map of some columns; None where none of them is wild."""
        if not any(int(j) in wild for j in columns):
            return None
        tame = -np.inf, np.inf, 1.0, np.inf, -np.inf, np.inf
        found = [wild.get(int(j)) for j in columns]
        rows = [
            (w.low, w.high, WIDTH * w.spread, w.span, *w.reach) if w else tame
            for w in found
        ]
        low, high, width, span, *reach = np.array(rows).T.copy()
        return cls(low, high, width, span, np.stack(reach))

    def compress(self, x: Array) -> Array:
        """Return the points t of values."""
        inside = np.clip(x, self.low, self.high)
        excess = x - inside
        distance = np.log1p(np.abs(excess) / self.width)
        return inside + np.sign(excess) * self.width * distance

    def expand(self, t: Array) -> Array:
        """Return the values of points t."""
        inside = np.clip(t, self.low, self.high)
        excess = t - inside
        distance = np.expm1(np.minimum(np.abs(excess) / self.width, MAX_EXPONENT))
        return inside + np.sign(excess) * self.width * distance

    def log_slope(self, t: Tensor) -> Tensor:
        """Return log t' at points t, (n, n_columns)."""
        low, high, width = (
            torch.from_numpy(bound).to(t.device)
            for bound in (self.low, self.high, self.width)
        )
        return ((t - high).clamp(min=0) + (low - t).clamp(min=0)) / -width

    def apart(self) -> NDArray[np.float64]:
        """Return the points of `reach`, (2, n_columns)."""
        if self.reach is None:
            return np.outer([-np.inf, np.inf], np.ones(len(self.low)))
        reaches = np.isfinite(self.reach)
        points = self.compress(np.where(reaches, self.reach, 0.0))
        return np.where(reaches, points, self.reach)

    def to_arrays(self) -> dict[str, NDArray[np.float64]]:
        """Return the arrays by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any] | None) -> Self | None:
        """Return the map that `to_arrays` described; None for None."""
        return None if arrays is None else cls(**arrays)


def wild_columns(
    X: Array, weight: Array | None, columns: Columns
) -> dict[int, WildColumn]:
    """Return the columns that have wild values, among some columns of X."""
    found = {j: find_wild(X[:, j], weight) for j in columns.tolist()}
    return {j: wild for j, wild in found.items() if wild is not None}


def find_wild(x: Array, weight: Array | None = None) -> WildColumn | None:
    """Return the fences of a column's core, if it has values far beyond them.

    The core is measured by the quartiles of the values without the very frequent ones,
    as those may be wild themselves.
    """
    x, weight = observed(x, weight)
    if len(x) < MIN_ROWS:
        return None
    values, mass = distinct(x, weight)
    quartiles = _quartiles(values, mass)
    if quartiles is None:
        return None
    (first, third), eps = quartiles, np.finfo(x.dtype).eps
    unit = third - first
    is_wild = (values < first - WILD * unit) | (values > third + WILD * unit)
    if not is_wild.any() or unit <= 10 * eps * max(abs(first), abs(third)):
        return None
    low, high = first - FENCE * unit, third + FENCE * unit
    core = (values >= low) & (values <= high)
    mean, spread = _moments(values[core], mass[core])
    share = mass / mass.sum()
    gaps = np.diff(values)
    near = np.minimum(np.r_[np.inf, gaps], np.r_[gaps, np.inf])
    repeats = (share >= SENTINEL_SHARE) & (share * len(x) >= SENTINEL_ROWS)
    repeats &= is_wild & (near >= SENTINEL_GAP * unit)
    sentinels = dict(
        zip(values[repeats].tolist(), share[repeats].tolist(), strict=True)
    )
    ends = float(values[core].min()), float(values[core].max())
    in_core = float(share[core].sum())
    reach = -_reach(-values[::-1], -first, unit), _reach(values, third, unit)
    is_heavy = values[0] >= first - HEAVY * unit and values[-1] <= third + HEAVY * unit
    if is_heavy and not sentinels and np.isinf(reach).all():
        return None
    strays = () if sentinels else _strays(values, share, len(x), quartiles)
    return WildColumn(low, high, mean, spread, in_core, sentinels, ends, reach, strays)


def _strays(
    values: Array, share: Array, n_rows: int, quartiles: tuple[float, float]
) -> tuple[tuple[float, int], ...]:
    """Return the values that are surely none of the column's, and numbers of rows."""
    (first, third), unit = quartiles, quartiles[1] - quartiles[0]
    distance = np.maximum(first - values, values - third) / unit
    order = np.argsort(distance)
    far = distance[order]
    before = np.maximum(np.r_[FENCE, far[:-1]], FENCE)
    begin = np.flatnonzero((far >= STRAY) & (far >= STRAY_APART * before))
    if not len(begin):
        return ()
    out = order[begin[0] :]
    if share[out].sum() > STRAY_SHARE:
        return ()
    counts = np.maximum(np.round(share[out] * n_rows), 1).astype(int)
    return tuple(zip(values[out].tolist(), counts.tolist(), strict=True))


def _reach(values: Array, third: float, unit: float) -> float:
    """Return the bound beyond which wild values above stand apart; inf without any.

    The first wild value that is several times as far from the quartile as the one
    before, and as the fence, is beyond it.
    """
    distance = (values - third) / unit
    before = np.maximum(np.r_[FENCE, distance[:-1]], FENCE)
    apart = np.flatnonzero((distance >= WILD) & (distance >= APART * before))
    if not len(apart):
        return float(np.inf)
    return float(third + unit * np.sqrt(distance[apart[0]] * before[apart[0]]))


def _quartiles(values: Array, mass: Array) -> tuple[float, float] | None:
    """Return the quartiles of sorted distinct values that are far from frequent.

    Where they are the same value, the column takes it more often than not: then they
    are widened to reach the quartiles of the other values. None for a constant.
    """
    tame = ~atoms_among(values, mass, MIN_VALUES)
    values, mass = values[tame], mass[tame]
    first, third = _quantiles(values, mass)
    if first < third:
        return first, third
    others = values != first
    if not others.any():
        return None
    ends = [first, *_quantiles(values[others], mass[others])]
    return min(ends), max(ends)


def _quantiles(values: Array, mass: Array) -> tuple[float, float]:
    """Return the weighted quartiles of sorted distinct values."""
    below = np.cumsum(mass)
    first, third = np.searchsorted(below, np.array([0.25, 0.75]) * below[-1])
    return float(values[first]), float(values[third])


def _moments(values: Array, mass: Array) -> tuple[float, float]:
    """Return the weighted mean and standard deviation."""
    share = mass / mass.sum()
    mean = values[0] + share @ (values - values[0])
    return float(mean), float(np.sqrt(share @ (values - mean) ** 2))
