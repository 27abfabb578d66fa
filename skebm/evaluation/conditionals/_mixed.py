"""Rows of a mixed table that miss entries: sums over cells, integrals over gaps."""

from __future__ import annotations

import torch

from skebm.evaluation import IncompleteRow
from skebm.evaluation.conditionals._incomplete import by_pattern, row_seed
from skebm.references import Density
from skebm.utils import pick


class NodesAndRest(Density):
    r"""Some columns at one of a few nodes, the others by a density of each.

    .. math:: r(z_C = c_m, z_M) = \omega_m \, q_m(z_M)

    Parameters
    ----------
    is_node : Tensor of bool of shape (n_free,)
        Which of the columns, those of C and M in their order, are of C.
    nodes : Tensor of shape (n_nodes, n_node_columns)
        The c.
    shares : Tensor of shape (n_nodes,)
        omega.
    rests : list of Density
        The q.
    """

    #: Chains move by transitions alone: between nodes there is nothing.
    is_discrete = True

    def __init__(self, is_node, nodes, shares, rests):
        super().__init__()
        self.register_buffer("is_node", is_node)
        self.register_buffer("nodes", nodes)
        self.register_buffer("shares", shares)
        self.rests = rests
        self.has_transitions = rests[0].has_transitions

    def log_prob(self, x):
        """Return log r(x) in nats, of rows at nodes."""
        number, result = self._numbers(x), x.new_empty(len(x))
        for m, rows in _groups(number):
            result[rows] = self.rests[m].log_prob(x[rows][:, ~self.is_node]).to(result)
        return result + self.shares.log()[number]

    def sample(self, n_samples, generator):
        """Return draws of shape (n_samples, n_free)."""
        number = pick(self.shares[None], generator, n_samples)[0]
        x = self.nodes.new_empty(n_samples, len(self.is_node))
        x[:, self.is_node] = self.nodes[number]
        return self._fill(x, number, lambda q, z: q.sample(len(z), generator))

    def transition(self, x, scale, generator):
        """Return rows after a step of the density at their node."""
        by_row = torch.cat([x[:, ~self.is_node], scale.unsqueeze(1)], dim=1)

        def step(density, rows):
            return density.transition(rows[:, :-1], rows[:, -1], generator)

        return self._fill(x.clone(), self._numbers(x), step, by_row)

    def _fill(self, x, number, values_of, by_row=None):
        """Write into the other columns of x what densities make of rows at nodes."""
        by_row = x if by_row is None else by_row
        for m, rows in _groups(number):
            values = values_of(self.rests[m], by_row[rows])
            x[rows[:, None], (~self.is_node).nonzero()[:, 0]] = values.to(x)
        return x

    def _numbers(self, x):
        """Return the number of the node that each row is at."""
        return torch.cdist(x[:, self.is_node], self.nodes).argmin(dim=1)


def _groups(number):
    """Yield each node's number with the rows that are at it."""
    for m in number.unique().tolist():
        yield m, (number == m).nonzero()[:, 0]


def incomplete_mixed_rows(cells, z, energy, reference):
    r"""Yield rows as `incomplete_rows` does, the points in their cells left free too.

    .. math:: \log p(x_O) = \log \sum_m w_m q_0(z_O, c_m) + \log E_r[e^{-E}] - \log Z,
              \qquad r = \omega_m \, q_0(z_M | z_O, c_m), \qquad
              \omega_m \propto w_m q_0(z_O, c_m)

    with the nodes c and weights w by which `Cells.log_mass` integrates over the cells
    of a complete row. So what is left to the draws is the energy, as elsewhere.

    Parameters
    ----------
    cells : Cells
        Of the table.
    z, energy, reference
        As for `incomplete_rows`; observed cells are given by their middles.
    """
    for i, observed, marginal, conditional in by_pattern(z, reference):
        in_cell, points, log_weights = cells.nodes(z[i])
        given = points[:, observed]
        log_terms = log_weights + marginal.log_prob(given.double())
        log_reference = log_terms.logsumexp(0).item()
        start = conditional(given[0])
        if in_cell.any():
            # Where the reference is zero all nodes are alike.
            shares = log_terms.softmax(0).nan_to_num(1 / len(points))
            rests = [conditional(node) for node in given]
            free = in_cell | ~observed
            start = NodesAndRest(in_cell[free], points[:, in_cell], shares, rests)
        x = z[i].masked_fill(in_cell, torch.nan)
        yield IncompleteRow(i, row_seed(z[i]), x, log_reference, start, energy)
