"""Rows of mixed tables with missing entries, where some columns have cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor

from skebm.evaluation.conditionals._incomplete import (
    IncompleteRow,
    by_pattern,
    row_seed,
)
from skebm.references import Density
from skebm.samplers._point import Energy
from skebm.utils import pick


class DiscreteContinuousMixture(Density):
    r"""Mixture of nodes in some columns with a density of the other columns at each.

    .. math:: r(z_C = c_m, z_M) = \omega_m \, q_m(z_M)

    Parameters
    ----------
    is_node : Tensor of bool of shape (n_free,)
        Mask of the columns C among the columns C and M.
    nodes : Tensor of shape (n_nodes, n_node_columns)
        c, distinct.
    weights : Tensor of shape (n_nodes,)
        omega, of sum one.
    densities : list of Density
        q.
    """

    is_discrete: ClassVar[bool] = True

    def __init__(
        self,
        is_node: Tensor,
        nodes: Tensor,
        weights: Tensor,
        densities: list[Density],
    ) -> None:
        super().__init__()
        self.is_node: Tensor
        self.nodes: Tensor
        self.weights: Tensor
        self.register_buffer("is_node", is_node)
        self.register_buffer("nodes", nodes)
        self.register_buffer("weights", weights)
        self.densities = densities
        self.has_transitions = densities[0].has_transitions  # type: ignore[misc]

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log r(x) in nats, of rows at nodes."""
        node, result = self._nearest_nodes(x), x.new_empty(len(x))
        for m, rows in _rows_by_node(node):
            log_prob = self.densities[m].log_prob(x[rows][:, ~self.is_node])
            result[rows] = log_prob.to(result)
        return result + self.weights.log()[node]

    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Return draws of shape (n_samples, n_free)."""
        node = pick(self.weights[None], generator, n_samples)[0]
        x = self.nodes.new_empty(n_samples, len(self.is_node))
        x[:, self.is_node] = self.nodes[node]
        return self._write(x, node, lambda q, rows: q.sample(len(rows), generator))

    def transition(
        self, x: Tensor, scale: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Return rows after a step of the density at the node of each."""
        z = x[:, ~self.is_node]

        def step(density: Density, rows: Tensor) -> Tensor:
            return density.transition(z[rows], scale[rows], generator)

        return self._write(x.clone(), self._nearest_nodes(x), step)

    def _write(
        self, x: Tensor, node: Tensor, values_of: Callable[[Density, Tensor], Tensor]
    ) -> Tensor:
        """Write values into the columns M of x, those of each node's rows together.

        They are a function of the density at the node and of the rows' indices.
        """
        columns = (~self.is_node).nonzero()[:, 0]
        for m, rows in _rows_by_node(node):
            x[rows[:, None], columns] = values_of(self.densities[m], rows).to(x)
        return x

    def _nearest_nodes(self, x: Tensor) -> Tensor:
        """Return the index of each row's node, shape (n,).

        Distances are taken of differences: matrix products would blur close nodes.
        """
        exact = "donot_use_mm_for_euclid_dist"
        distances = torch.cdist(x[:, self.is_node], self.nodes, compute_mode=exact)
        return distances.argmin(dim=1)


def _rows_by_node(node: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield the index of each node that occurs, with the indices of its rows."""
    for m in node.unique().tolist():
        yield m, (node == m).nonzero()[:, 0]


def incomplete_mixed_rows(
    cells: Any, z: Tensor, energy: Energy, reference: Density
) -> Iterator[IncompleteRow]:
    r"""Yield rows as `incomplete_rows` does, with their points in their cells free too.

    .. math:: \log p(x_O) = \log \sum_m w_m q_0(z_O, c_m) + \log E_r[e^{-E}] - \log Z,
              \qquad r = \omega_m \, q_0(z_M | z_O, c_m), \qquad
              \omega_m \propto w_m q_0(z_O, c_m)

    with the nodes c and weights w by which `Cells.log_mass` integrates over the cells
    of a complete row. Draws are left with the energy alone, as in other tables.

    Parameters
    ----------
    cells : Cells
        Cells of the table.
    z, energy, reference
        As for `incomplete_rows`; observed cells are given by their midpoints.
    """
    for i, observed, marginal, conditional in by_pattern(z, reference):
        in_cell, points, log_weights = cells.nodes(z[i])
        given = points[:, observed]
        log_terms = log_weights + marginal.log_prob(given.double())
        log_reference = log_terms.logsumexp(0).item()
        if in_cell.any():
            # Where the reference is zero all nodes are alike.
            weights = log_terms.softmax(0).nan_to_num(1 / len(points))
            densities = [conditional(node) for node in given]
            is_node = in_cell[in_cell | ~observed]
            start: Density = DiscreteContinuousMixture(
                is_node, points[:, in_cell], weights, densities
            )
        else:
            start = conditional(given[0])
        x = z[i].masked_fill(in_cell, torch.nan)
        yield IncompleteRow(i, row_seed(z[i]), x, log_reference, start, energy)
