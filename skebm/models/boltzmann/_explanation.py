"""How strange each entry of a row is to an RBM, given the other ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from skebm.evaluation import conditional_means
from skebm.evaluation.conditionals._rbm import MAX_STATES, completions, n_completions
from skebm.evaluation.explanations._line import LogDensity, conditionals
from skebm.models._explanation import (
    Explanation,
    constants_of,
    explain_column,
    explain_constant,
)
from skebm.models._substitution import Substitution
from skebm.models.boltzmann._chains import clamped_chains
from skebm.models.boltzmann._rows import to_tensor
from skebm.networks import RBM
from skebm.networks.boltzmann._rbm import binary_digits, n_binary_states
from skebm.tables import TableEncoder
from skebm.utils import make_generator

#: Draws of the missing entries of a row of real columns, and Gibbs steps to them.
N_COPIES, N_STEPS = 64, 200
#: Numbers that a chunk of rows may take.
CHUNK_ELEMENTS = 2**22
#: First points of a line: from each other, beyond the means of v given h, and how many,
#: in standard deviations of v given h.
STEP, MARGIN, MOST_POINTS = 0.5, 4.0, 300

Array = NDArray[Any]
#: Takes c + W s(v) of rows to the log of the sum over h, and over classes.
Pull = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Column:
    """A column of a table of binary values or categories.

    Attributes
    ----------
    units : Tensor of int64 of shape (n_units,)
        Its visible units.
    states : Tensor of shape (n_states, n_units)
        Their values for each value of the column.
    """

    units: Tensor
    states: Tensor

    def shares(self, v: Tensor) -> Tensor:
        """Return the share of each value in the entries of rows, (n, n_states).

        A grey value between 0 and 1 is the share of ones.
        """
        own = v[:, self.units]
        if len(self.states) == len(self.units):  # one-hot
            return own
        return torch.cat([1 - own, own], 1).clamp(0, 1)


def sum_over_hidden(field: Tensor) -> Tensor:
    """Return the log of the sum over h of rows with c + W s(v)."""
    return functional.softplus(field).sum(1)


def explain_values(rbm: RBM, v: Array, pull: Pull = sum_over_hidden) -> Explanation:
    """Return how strange binary entries or categories are, by enumeration.

    Of a grey value between 0 and 1, the mean over draws of 0 and 1. Missing entries are
    summed out.

    Parameters
    ----------
    rbm : RBM
        Of float64, of columns with values.
    v : ndarray of shape (n, n_units)
        Rows; NaN where missing.
    pull : callable
        Takes c + W s(v) of rows to the log of the sum over what is hidden.
    """
    columns = [
        Column(units.to(rbm.weight.device), states.to(rbm.weight))
        for units, states in rbm.visible.values_by_column(len(rbm.visible_bias))
    ]
    found = Explanation.empty((len(v), len(columns)))
    counts = _completion_counts(rbm, v)
    log_weights: Callable[[RBM, Tensor, list[Column]], Iterator[Tensor]]
    for count in np.unique(counts):
        numbers = np.flatnonzero(counts == count)
        if count <= MAX_STATES:
            n_states = int(count)
            log_weights = partial(_over_completions, pull=pull)
        elif n_binary_states(len(rbm.weight)) <= MAX_STATES and rbm.visible.is_product:
            n_states, log_weights = 2 ** len(rbm.weight), _over_hiddens
        else:
            n_states, log_weights = 1, _over_chains
        most = max((len(column.states) for column in columns), default=1)
        size = max(len(rbm.weight) * most, len(rbm.visible_bias)) * n_states
        step = max(1, CHUNK_ELEMENTS // size)
        for part in np.split(numbers, range(step, len(numbers), step)):
            x = to_tensor(v[part], np.float64, rbm.weight.device)
            for j, log_weight in enumerate(log_weights(rbm, x, columns)):
                _write_values(found, part, j, log_weight, columns[j].shares(x))
    return found


def _completion_counts(rbm: RBM, v: Array) -> NDArray[np.float64]:
    """Return how many states the missing entries of rows have: 1 of complete rows."""
    counts = np.ones(len(v))
    for i in np.flatnonzero(np.isnan(v).any(axis=1)):
        row = to_tensor(v[i], np.float64, rbm.weight.device)
        counts[i] = n_completions(rbm, row)
    return np.where(counts <= MAX_STATES, counts, np.inf)


def _over_completions(
    rbm: RBM, x: Tensor, columns: list[Column], pull: Pull
) -> Iterator[Tensor]:
    """Yield for each column log weights of its values, (n, n_states).

    By one sum over the completions of each row, of which all rows have equally many.
    """
    weight, bias, gaps = rbm.weight, rbm.visible_bias, x.isnan()
    copies = x[:, None]
    if gaps.any():
        copies = torch.stack([torch.cat(list(completions(rbm, row))) for row in x])
    drawn = torch.where(gaps[:, None], copies, 0.0) @ bias
    field = rbm.hidden_bias + copies @ weight.mT
    for column in columns:
        units = column.units
        rest = (field - copies[..., units] @ weight[:, units].mT).flatten(0, 1)
        shift = column.states @ weight[:, units].mT
        log_weight = torch.stack([pull(rest + part) for part in shift], 1)
        log_weight = log_weight + column.states @ bias[units]
        log_weight = log_weight.unflatten(0, copies.shape[:2])
        if not rbm.visible.is_product:
            log_weight = log_weight + _log_bases(rbm, copies, column)
        yield (log_weight + drawn[..., None]).logsumexp(1)


def _log_bases(rbm: RBM, copies: Tensor, column: Column) -> Tensor:
    """Return the log base measure with each value of a column, (..., n_states)."""
    parts = []
    for state in column.states:
        rows = copies.clone()
        rows[..., column.units] = state
        parts.append(torch.as_tensor(rbm.visible.log_base(rows)))
    return torch.stack(parts, -1)


def _over_hiddens(rbm: RBM, x: Tensor, columns: list[Column]) -> Iterator[Tensor]:
    """Yield for each column log weights of its values, by a sum over all h.

    Given h columns are independent: a missing one gives the sum over its values.
    """
    n_hidden = len(rbm.weight)
    h = binary_digits(torch.arange(2**n_hidden).to(x.device), n_hidden).to(x)
    field, known = rbm.visible_field(h), x.nan_to_num()
    of_values = [field[:, column.units] @ column.states.mT for column in columns]
    log_sums = torch.stack([values.logsumexp(1) for values in of_values])
    gaps = torch.stack([x[:, column.units].isnan().any(1) for column in columns], 1)
    joint = h @ rbm.hidden_bias + known @ field.mT + gaps.to(x) @ log_sums
    for column, values in zip(columns, of_values, strict=True):
        rest = joint - known[:, column.units] @ field[:, column.units].mT
        yield torch.stack([(rest + part).logsumexp(1) for part in values.mT], 1)


def _over_chains(rbm: RBM, x: Tensor, columns: list[Column]) -> Iterator[Tensor]:
    """Yield for each column log probabilities of its values, by Gibbs chains."""
    for column in columns:
        yield _given_observed(rbm, x, column)


def _given_observed(rbm: RBM, v: Tensor, column: Column) -> Tensor:
    """Return log probabilities of the values given the observed entries of rows."""
    rows = v.clone()
    rows[:, column.units] = torch.nan
    mean, _ = conditional_means(rbm, rows, make_generator(0, v.device))
    return column.shares(mean).log()


def _write_values(
    found: Explanation, rows: Array, j: int, log_weight: Tensor, own: Tensor
) -> None:
    """Write the explanation of one column of some rows; ``own`` are its shares."""
    places = torch.arange(log_weight.shape[1]).to(log_weight)
    given = conditionals(None, log_weight, places, log_weight[:, None])
    log_share = given.log_share
    tails = torch.stack([given.tail(level) for level in log_share.mT], 1)
    log_p = torch.where(own > 0, own * log_share, 0.0).sum(1)
    known = ~own.isnan().any(1)
    for part, value in (
        (found.log_p, log_p),
        (found.tail, (own * tails).sum(1)),
        (found.expected, log_share.argmax(1).double()),
        (found.share, log_share.exp().amax(1)),
    ):
        part[rows, j] = value.masked_fill(~known, torch.nan).cpu().numpy()


def explain_numbers(
    rbm: RBM, base_bias: Tensor, encoder: TableEncoder, v: Array
) -> Explanation:
    """Return how strange real entries are, by quadrature.

    Of a row with missing entries, the mean over 64 Gibbs draws of these.

    Parameters
    ----------
    rbm : RBM
        Of float64, with real units.
    base_bias : Tensor of shape (n_statistics,)
        Where chains begin; see `skebm.models.boltzmann.FittedRBM`.
    encoder : TableEncoder
        Between the table and rows v.
    v : ndarray of shape (n, n_features)
        Standardised rows; NaN where missing.
    """
    found = Explanation.empty(v.shape)
    rows = to_tensor(v, np.float64, rbm.weight.device)
    constant = constants_of(encoder.kinds)
    for j in range(v.shape[1]):
        known = ~np.isnan(v[:, j])
        if j in constant:
            numbers = np.flatnonzero(known)
            explain_constant(found, numbers, j, constant[j], v[numbers, j])
            continue
        column = Substitution(encoder, j)
        gaps = np.isnan(v).any(axis=1)
        for numbers, n_copies in (
            (np.flatnonzero(known & ~gaps), 1),
            (np.flatnonzero(known & gaps), N_COPIES),
        ):
            n = max(1, CHUNK_ELEMENTS // (MOST_POINTS * len(rbm.weight) * n_copies))
            for start in range(0, len(numbers), n):
                part = numbers[start : start + n]
                copies = rows[part, None]
                if n_copies > 1:
                    copies = _completed(rbm, base_bias, rows[part], j)
                line, points = _line(rbm, copies, j)
                own, like = rows[part, j], copies[:, 0]
                explain_column(found, column, part, line, own, points, like)
    return found


def _completed(rbm: RBM, base_bias: Tensor, rows: Tensor, j: int) -> Tensor:
    """Return draws of the missing entries given all but column j, (n, n_copies, d)."""
    held = rows.clone()
    held[:, j] = torch.nan
    generator = make_generator(0, rows.device)
    base = base_bias.to(rows)
    draws, _ = clamped_chains(rbm, base, held, N_COPIES, N_STEPS, generator)
    return draws.unflatten(0, (len(rows), N_COPIES))


def _line(rbm: RBM, copies: Tensor, j: int) -> tuple[LogDensity, Tensor]:
    """Return log p along column j up to a factor, and first points for each row."""
    units = rbm.visible
    others = copies.clone()
    others[:, :, j] = 0.0
    step = units.statistic(torch.eye(copies.shape[2]).to(copies)[j : j + 1])[0]
    rest = units.statistic(others.flatten(0, 1)).unflatten(0, copies.shape[:2])
    field, weight = rbm.hidden_bias + rest @ rbm.weight.mT, rbm.weight @ step
    precision, slope = step @ step, (rbm.visible_bias - rest) @ step

    def log_density(points: Tensor) -> Tensor:
        t = points[:, None]
        pull = functional.softplus(field[:, :, None] + t[..., None] * weight).sum(-1)
        return pull + slope[..., None] * t - precision / 2 * t.square()

    # The means of the column given h lie between these.
    low, high = (
        (slope + part.sum()) / precision
        for part in (weight.clamp(max=0), weight.clamp(min=0))
    )
    low, high = low.amin(1, keepdim=True), high.amax(1, keepdim=True)
    margin = MARGIN * precision.rsqrt()
    low, high = low - margin, high + margin
    n_points = int(((high - low) / (STEP * precision.rsqrt())).ceil().max()) + 1
    n_points = min(max(n_points, 9), MOST_POINTS)
    place = torch.linspace(0, 1, n_points).to(low)
    return log_density, low + (high - low) * place
