"""Weighted completions of many rows at once, and averages over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skebm.models._conditioning import TableModel
from skebm.references._pattern import PatternConditionals

#: Completions of a row. Their quasi-random numbers are the same for every row.
N_COMPLETIONS = 64
#: Most completed rows that the net is asked about at once.
CHUNK_ROWS = 2**15
#: Least log weight: where all are zero, completions are alike.
LEAST_LOG_WEIGHT = -1e9

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Completions:
    r"""Completions of rows that miss the same columns, with importance weights.

    .. math:: w_k \propto \frac{q_0(z^k) e^{-E(z^k)}}{r(z^k_M | z_O^k) \, b(z_O^k)}

    of :math:`z_M^k \sim r` and points :math:`z_O^k \sim b` of the observed cells.

    Attributes
    ----------
    rows : ndarray of int of shape (n,)
        Indices of the rows.
    z : Tensor of shape (n, n_completions, n_features)
    weights : Tensor of shape (n, n_completions)
        Of sum one.
    """

    rows: NDArray[np.int64]
    z: Tensor
    weights: Tensor


def mean_over_completions(
    model: TableModel, z: Array, function: Callable[[Tensor], Tensor], n_outputs: int
) -> NDArray[np.float64]:
    r"""Return the conditional mean of a function of rows, given what is observed.

    .. math:: E_{p(z_M | z_O)}[f(z_O, z_M)] \approx \sum_k w_k f(z^k)

    Parameters
    ----------
    model : TableModel
        p.
    z : ndarray of shape (n, n_features)
        Standardised rows, each with at least one NaN.
    function : callable, (m, n_features) -> (m, n_outputs)
        f.
    n_outputs : int
        Number of its values.
    """
    means = np.empty((len(z), n_outputs))
    for part in weighted_completions(model, z):
        values = function(part.z.flatten(0, 1)).double()
        values = values.unflatten(0, part.weights.shape)
        means[part.rows] = (part.weights[:, :, None] * values).sum(1).cpu().numpy()
    return means


def weighted_completions(model: TableModel, z: Array) -> Iterator[Completions]:
    """Yield completions of rows with missing entries, pattern by pattern."""
    patterns, pattern_of_row = np.unique(np.isnan(z), axis=0, return_inverse=True)
    pattern_of_row = pattern_of_row.ravel()
    for k, missing in enumerate(patterns):
        observed = torch.from_numpy(~missing).to(model.device)
        conditionals = PatternConditionals(model.assembly.proposal, observed)
        rows = np.flatnonzero(pattern_of_row == k)
        n_parts = -(-len(rows) * N_COMPLETIONS // CHUNK_ROWS)
        for part in np.array_split(rows, n_parts):
            points = torch.from_numpy(z[part]).to(model.device)
            yield Completions(part, *_complete(model, points, observed, conditionals))


@torch.no_grad()
def _complete(
    model: TableModel, z: Tensor, observed: Tensor, conditionals: PatternConditionals
) -> tuple[Tensor, Tensor]:
    """Return completions of rows of one pattern, and their weights."""
    cells, energy_model = model.encoder.cells, model.energy_model
    proposal = model.assembly.proposal
    n_in_cells = 0 if cells is None else len(cells.columns)
    n_missing = int((~observed).sum())
    uniform = _quasi_random(n_in_cells + 1 + n_missing).to(z.device)
    spread = uniform[:, :n_in_cells].repeat(len(z), 1)
    uniform = uniform[:, n_in_cells:].repeat(len(z), 1)
    x = z.repeat_interleave(N_COMPLETIONS, dim=0)
    log_weight = torch.zeros(len(x), dtype=torch.float64, device=z.device)
    if cells is not None:
        x, log_noise = cells.spread(x, spread)
        log_weight -= log_noise
    drawn, log_marginal = conditionals.draw(x[:, observed], uniform)
    x[:, ~observed] = drawn.to(x)
    log_weight += log_marginal - energy_model.energy(x)
    if proposal is not energy_model.reference:
        log_weight += energy_model.reference.log_prob(x) - proposal.log_prob(x)
    log_weight = log_weight.nan_to_num(LEAST_LOG_WEIGHT).clamp(min=LEAST_LOG_WEIGHT)
    shape = len(z), N_COMPLETIONS
    return x.unflatten(0, shape), log_weight.unflatten(0, shape).softmax(1)


def _quasi_random(n_columns: int) -> Tensor:
    """Return points that fill the unit cube evenly, (n_completions, n_columns)."""
    net = torch.quasirandom.SobolEngine(n_columns, scramble=True, seed=0)
    return net.draw(N_COMPLETIONS, dtype=torch.float64)
