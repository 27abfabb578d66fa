"""How strange each entry of a row is, given the other ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skebm.evaluation.explanations._line import (
    Conditionals,
    LogDensity,
    conditionals,
)
from skebm.models._completions import weighted_completions
from skebm.models._conditioning import TableModel
from skebm.models._substitution import Substitution
from skebm.tables._constants import Constants
from skebm.utils import make_generator

#: Copies of an incomplete row, each completed.
N_COPIES = 16
#: Copies that conditionals are computed of at once.
CHUNK_COPIES = 512
#: Draws of the reference whose quantiles are the first points of each line.
N_DRAWS = 2000
LEVELS = (0.0, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 1.0)
#: Points beyond the draws, in ranges of these.
WINGS = (0.25,)
#: Entries that lie so many ranges of the draws beyond them say nothing of others.
FAR_RANGES = 1.0
#: From the edge of a gap to the points on its sides.
EDGE = 1e-4
LOWER, UPPER = 0.05, 0.95
#: Log densities below it are those of points outside the support.
LEAST_LOG_DENSITY = -1e8

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Explanation:
    """What the model expects of each entry given the others, arrays (n, n_features).

    NaN where an entry is missing.

    Attributes
    ----------
    log_p : ndarray
        log p(x_j | the other entries), in nats and the units of X.
    tail : ndarray
        Probability, by the model, of a value of a density no higher.
    expected : ndarray
        The conditional mean; of categories the index of the likeliest one.
    lower, upper : ndarray
        Conditional quantiles of 5 and 95 %; NaN for categories.
    share : ndarray
        Probability of the expected category; NaN for numbers.
    far : ndarray
        1 where an entry is so far outside that the others are explained without it;
        else NaN.
    """

    log_p: NDArray[np.float64]
    tail: NDArray[np.float64]
    expected: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    share: NDArray[np.float64]
    far: NDArray[np.float64]

    @classmethod
    def empty(cls, shape: tuple[int, ...]) -> Explanation:
        """Return an explanation to write into, of NaN."""
        return cls(*(np.full(shape, np.nan) for _ in fields(cls)))


@torch.no_grad()
def explain(model: TableModel, X: Array) -> Explanation:
    """Return how strange each entry of rows X is, given the other observed ones.

    Entries far outside of what the model draws are left out of the given ones.
    """
    encoder = model.encoder
    X = encoder.without_codes(X)
    found = Explanation.empty(X.shape)
    z = torch.from_numpy(encoder.encode(X)).to(model.device)
    draws = model.energy_model.reference.sample(
        N_DRAWS, make_generator(0, model.device)
    )
    constant = constants_of(encoder.kinds)
    far = _far(model, z, draws)
    found.far[far.cpu().numpy()] = 1.0
    for j in range(X.shape[1]):
        known = ~np.isnan(X[:, j])
        known &= ~z[:, j].isnan().cpu().numpy()
        # A category that says the missing number is all that is known of both.
        for pair in encoder.determined.pairs:
            if pair.column == j:
                known &= ~np.isnan(X[:, pair.by])
        rows = np.flatnonzero(known)
        if j in constant:
            explain_constant(found, rows, j, constant[j], z[rows, j].cpu().numpy())
            continue
        column = Substitution(encoder, j, model.energy_model)
        start = _first_points(draws[:, j].double())
        others = far.clone()
        others[:, j] = False
        given = z.masked_fill(others, torch.nan)
        for part, copies in _copies(model, given, rows, j):
            own = z[part, j].double()
            log_density = column.log_density_of(copies, X[part])
            points = _with_edges(start, column, X[part], own)
            like = copies[:, 0]
            explain_column(found, column, part, log_density, own, points, like)
    return found


def constants_of(kinds: Any) -> dict[int, float]:
    """Return the columns that have one value, and the value."""
    pairs = [(k.columns, k.values) for k in kinds if isinstance(k, Constants)]
    return {
        int(j): float(value)
        for columns, values in pairs
        for j, value in zip(columns, values, strict=True)
    }


def explain_constant(
    found: Explanation, rows: Array, j: int, value: float, z: Array
) -> None:
    """Write the explanation of a column that had one value."""
    is_same = z == 0
    found.log_p[rows, j] = np.where(is_same, 0.0, -np.inf)
    found.tail[rows, j] = is_same
    for part in (found.expected, found.lower, found.upper):
        part[rows, j] = value


def _far(model: TableModel, z: Tensor, draws: Tensor) -> Tensor:
    """Return a mask of numbers that lie far beyond all draws of the reference."""
    encoder, far = model.encoder, torch.zeros_like(z, dtype=torch.bool)
    bound = {*encoder.category_columns, *constants_of(encoder.kinds)}
    bound |= {j for pair in encoder.determined.pairs for j in (pair.by, pair.column)}
    for j in set(range(z.shape[1])) - bound:
        column = draws[:, j][draws[:, j].isfinite()]
        if len(column):
            low, high = column.min(), column.max()
            reach = FAR_RANGES * (high - low)
            far[:, j] = (z[:, j] < low - reach) | (z[:, j] > high + reach)
    return far


def _first_points(draws: Tensor) -> Tensor:
    """Return quantiles of draws, and points beyond them."""
    levels = torch.tensor(LEVELS).to(draws)
    points = draws[draws.isfinite()].quantile(levels)
    wings = torch.tensor(WINGS).to(draws) * (points[-1] - points[0])
    return torch.cat([points[0] - wings, points, points[-1] + wings])


def _copies(
    model: TableModel, z: Tensor, rows: Array, j: int
) -> Iterator[tuple[Array, Tensor]]:
    """Yield rows and their copies (n, n_copies, n_features), of column j or not.

    One copy of a complete row; of others, completions given all but column j.
    """
    others = z[rows].isnan().any(1).cpu().numpy()
    complete = rows[~others]
    for start in range(0, len(complete), CHUNK_COPIES):
        part = complete[start : start + CHUNK_COPIES]
        yield part, z[part][:, None]
    incomplete = rows[others]
    if not len(incomplete):
        return
    without = z[incomplete].clone()
    without[:, j] = torch.nan
    for done in weighted_completions(model, without.cpu().numpy()):
        # In the order of the column's own draws, the chosen ones stand for all.
        order = done.z[:, :, j].argsort(dim=1)
        ends = done.weights.gather(1, order).cumsum(1)
        place = (torch.arange(N_COPIES).to(ends) + 0.5) / N_COPIES * ends[:, -1:]
        chosen = torch.searchsorted(ends, place).clamp(max=ends.shape[1] - 1)
        chosen = order.gather(1, chosen)
        copies = done.z.gather(1, chosen[..., None].expand(-1, -1, z.shape[1]))
        for k in range(0, len(copies), CHUNK_COPIES // N_COPIES):
            some = slice(k, k + CHUNK_COPIES // N_COPIES)
            part = incomplete[done.rows[some]]
            copied = copies[some].clone()
            copied[:, :, j] = z[part, j, None]
            yield part, copied


def _with_edges(start: Tensor, column: Substitution, X: Array, own: Tensor) -> Tensor:
    """Return first points for each row, with those beside the edges of gaps."""
    points = [start.expand(len(own), -1)]
    edges = [column.edges(X).to(own), column.gaps.to(own).expand(len(own), -1)]
    points += [edge + side * EDGE for edge in edges for side in (-1, 1)]
    return torch.cat(points, 1)


def explain_column(
    found: Explanation,
    column: Substitution,
    rows: Array,
    log_density: LogDensity,
    own: Tensor,
    start: Tensor,
    like: Tensor,
) -> None:
    """Write the explanation of one column of some rows.

    Parameters
    ----------
    found : Explanation
        Where to write.
    column : Substitution
        The column.
    rows : ndarray of int of shape (n,)
        Numbers of the rows.
    log_density : callable
        Takes standardised points (n, n_points) of the column to log p, up to a factor,
        of copies of the rows, (n, n_copies, n_points).
    own : Tensor of shape (n,)
        The rows' own points.
    start : Tensor of shape (n, n_start)
        First points of the line.
    like : Tensor of shape (n, n_features)
        Standardised rows, which may say what a point of the column means.
    """
    j = column.j
    singles = column.singles.to(own)
    at = singles.expand(len(own), -1)
    log_masses = log_density(at) - column.log_scale
    line = None
    if column.has_line:
        start = torch.cat([start, own[:, None]], 1)
        line = lambda t: column.outside_gaps(t, log_density(t))  # noqa: E731
    given = conditionals(line, start, singles, log_masses)
    level, is_single = _own_level(given, own, column)
    jacobian = column.log_jacobian(own)
    found.log_p[rows, j] = (level + torch.where(is_single, 0.0, jacobian)).cpu().numpy()
    found.tail[rows, j] = given.tail(level).cpu().numpy()
    if not column.has_line:
        best = given.log_share.argmax(1)
        found.expected[rows, j] = column.values_in_rows(like, singles[best])
        share = given.log_share.exp().amax(1)
        found.share[rows, j] = share.cpu().numpy()
        return
    values_of = column.values_of
    mean = column.in_support(given.mean(values_of, values_of(singles)))
    found.expected[rows, j] = mean.cpu().numpy()
    for part, share_below in ((found.lower, LOWER), (found.upper, UPPER)):
        bound = column.in_support(values_of(given.quantile(share_below)))
        part[rows, j] = bound.cpu().numpy()


def _own_level(
    given: Conditionals, own: Tensor, column: Substitution
) -> tuple[Tensor, Tensor]:
    """Return the log density at the rows' own values, or their log probabilities."""
    single = column.single_of(own)
    is_single = single >= 0
    level = own.new_full(own.shape, -torch.inf)
    if given.log_share.shape[1]:
        shares = given.log_share.gather(1, single.clamp(min=0)[:, None])[:, 0]
        level = torch.where(is_single, shares, level)
    if given.points.shape[1]:
        place = (given.points - own[:, None]).abs().argmin(1, keepdim=True)
        density = given.log_density.gather(1, place)[:, 0]
        density = density.masked_fill(density < LEAST_LOG_DENSITY, -torch.inf)
        density = density.masked_fill(given.log_mass.isnan().any(1), torch.nan)
        level = torch.where(is_single, level, density)
    return level, is_single
