"""Mixtures of trees over columns of finitely many values: sums and draws, exact."""

from __future__ import annotations

import copy
import math
from typing import Self

import torch
from torch import Tensor

from skebm.utils import pick, uniform_like

#: Rows whose probabilities are computed at a time.
CHUNK_ROWS = 4096


class TreeMixture:
    r"""A mixture of distributions whose columns form a tree.

    .. math:: q(x) = \sum_k \pi_k \prod_j T_{kj}(x_j | x_{p_k(j)})

    with the parent :math:`p_k(j)` of column j in tree k. All that the tilt
    :math:`q(x) e^{\sum_j u_j(x_j)}` by *fields* u needs is exact: its sum over all rows
    (messages from the leaves to the root) and draws from it (back to the leaves).

    Parameters
    ----------
    log_weights : Tensor of shape (n_components,)
        log pi.
    parents : Tensor of int64 of shape (n_components, n_features)
        The parent of each column; the root of a tree is its own.
    log_tables : Tensor of shape (n_components, n_features, n_values, n_values)
        log T of each value of the parent, then of the column: -inf where the column has
        no such value. The rows of a root are equal.

    Examples
    --------
    >>> import torch
    >>> from skebm.references._trees import TreeMixture
    >>> table = torch.tensor([[[0.5, 0.5], [0.5, 0.5]], [[0.9, 0.1], [0.1, 0.9]]])
    >>> parents = torch.tensor([[0, 0]])
    >>> tree = TreeMixture(torch.zeros(1), parents, table.log()[None])
    >>> tree.log_prob(torch.tensor([[1, 1]])).exp()
    tensor([0.4500])
    >>> tree.log_partition(torch.zeros(1, 2, 2)).abs() < 1e-6
    tensor([True])
    """

    def __init__(self, log_weights: Tensor, parents: Tensor, log_tables: Tensor):
        self.log_weights, self.parents = log_weights, parents
        self.log_tables = log_tables
        depth, above = torch.zeros_like(parents), parents
        own = torch.arange(parents.shape[1], device=parents.device).expand_as(parents)
        below = own
        while (moved := above != below).any():
            depth += moved
            below, above = above, self.parents.gather(1, above)
        #: Edges between the root of a tree and its farthest leaf.
        self.depth = int(depth.max())
        #: Numbers of columns, over all trees, and of their parents, leaves first.
        self.levels = []
        n_features = parents.shape[1]
        for level in range(self.depth, 0, -1):
            tree, column = (depth == level).nonzero(as_tuple=True)
            start = tree * n_features
            self.levels.append((start + column, start + parents[tree, column]))
        #: The root of each tree.
        self.roots = (parents == own).int().argmax(1)

    def to(self, place: torch.device | torch.dtype) -> Self:
        """Return the mixture with probabilities on a device or of a dtype."""
        moved = copy.copy(self)
        moved.log_weights = self.log_weights.to(place)
        moved.log_tables = self.log_tables.to(place)
        if not isinstance(place, torch.dtype):
            moved.parents, moved.roots = self.parents.to(place), self.roots.to(place)
            moved.levels = [(a.to(place), b.to(place)) for a, b in self.levels]
        return moved

    def log_joint(self, x: Tensor) -> Tensor:
        """Return log pi_k plus the log probability by each tree, (n, n_components)."""
        parts = [self._log_joint(rows) for rows in x.split(CHUNK_ROWS)]
        return torch.cat(parts) if parts else self.log_weights.new_empty(0, 1)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log probability of rows of value indices, shape (n,)."""
        return self.log_joint(x).logsumexp(1)

    def _log_joint(self, x: Tensor) -> Tensor:
        n_values = self.log_tables.shape[2]
        start = n_values**2 * torch.arange(x.shape[1], device=x.device)
        terms = []
        for parents, tables in zip(self.parents, self.log_tables, strict=True):
            place = start + n_values * x[:, parents] + x
            terms.append(tables.flatten()[place].sum(1))
        return torch.stack(terms, 1) + self.log_weights

    def log_partition(self, fields: Tensor) -> Tensor:
        """Return the log of the sum of q(x) exp(u(x)) over all rows x.

        Parameters
        ----------
        fields : Tensor of shape (n, n_features, n_values)
            u; -inf forbids a value.
        """
        return self.log_partitions(fields).logsumexp(1)

    def log_partitions(self, fields: Tensor) -> Tensor:
        """Return log pi_k plus that of each tree alone, (n, n_components)."""
        return self._upward(fields)[1]

    def _upward(self, fields: Tensor) -> tuple[Tensor, Tensor]:
        """Return fields plus the messages of all children, and `log_partitions`.

        The former have shape (n, n_components, n_features, n_values).
        """
        shape = len(fields), *self.log_tables.shape[:3]
        belief = fields[:, None].expand(shape).flatten(1, 2).clone()
        tables = self.log_tables.flatten(0, 1)
        for nodes, parents in self.levels:
            message = _log_sum(tables[nodes] + belief[:, nodes, None])
            belief = belief.index_add(1, parents, message)
        belief = belief.view(shape)
        trees = torch.arange(shape[1], device=fields.device)
        at_root = belief[:, trees, self.roots] + self.log_tables[trees, self.roots, 0]
        return belief, at_root.logsumexp(-1) + self.log_weights

    @torch.no_grad()
    def draw(self, fields: Tensor, generator: torch.Generator) -> Tensor:
        """Return draws of q(x) exp(u(x)), one for each row of fields, as indices."""
        belief, log_joint = self._upward(fields)
        tree = pick(log_joint.softmax(1), generator)
        belief = belief[torch.arange(len(tree), device=tree.device), tree]
        # A value of each column for every value of its parent, of which one counts.
        value = _drawn(self.log_tables[tree] + belief[:, :, None], generator)
        above = self.parents[tree]
        for _ in range(math.ceil(math.log2(max(self.depth, 1))) + 1):
            # Twice as far towards the root: as a function of that ancestor's value.
            far = above[..., None].expand_as(value)
            value = value.gather(2, value.gather(1, far))
            above = above.gather(1, above)
        # The rows of a root are equal, so that its value depends on no other.
        return value[..., 0]

    def held(self, x: Tensor, is_held: Tensor) -> Tensor:
        """Return fields that allow, where a column is held, the value x alone."""
        values = torch.arange(self.log_tables.shape[2], device=x.device)
        other = is_held[..., None] & (x[..., None] != values)
        fields = self.log_tables.new_zeros(other.shape)
        return fields.masked_fill(other, -math.inf)


def _log_sum(terms: Tensor) -> Tensor:
    """Return the logsumexp over the last axis, quickly where it has two entries."""
    if terms.shape[-1] == 2:
        return torch.logaddexp(terms[..., 0], terms[..., 1])
    return terms.logsumexp(-1)


def _drawn(log_mass: Tensor, generator: torch.Generator) -> Tensor:
    """Return indices drawn along the last axis, by one random number a column.

    It serves all values of the parent, (n, n_features, n_values, n_values), of which
    one counts.
    """
    level = uniform_like(log_mass[..., :1, 0], generator)
    if log_mass.shape[-1] == 2:
        return (level < (log_mass[..., 1] - log_mass[..., 0]).sigmoid()).long()
    mass = log_mass.softmax(-1).cumsum(-1)
    below = mass <= level[..., None] * mass[..., -1:]
    return below.sum(-1).clamp(max=mass.shape[-1] - 1)
