"""Chow-Liu trees and their mixtures, as references with exact masses."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp, ndtr
from torch import Tensor

from skebm.references._base import Density, Reference
from skebm.references._trees import TreeMixture
from skebm.utils import check_range, is_count, uniform_like

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

#: Rows added to each value of a column, so that none has probability zero.
PSEUDO_COUNT = 0.5
#: Steps of EM, at most, and share of the rows that tell when to end them.
MAX_STEPS, HELD_OUT = 100, 0.15
#: Gain of a step on held-out rows, in nats, below which it counts as none.
LEAST_GAIN, PATIENCE = 1e-3, 3
#: Most values of a column of numbers, which is cut at quantiles.
MAX_CELLS = 16
#: Concentration of the random memberships that EM begins with.
CONCENTRATION = 0.3
#: Most rows that trees are fitted to.
MAX_ROWS = 100_000
#: Keeps points of outer cells finite.
LEAST_TAIL = 1e-9


class _Counts:
    """Weighted counts of pairs of values, smoothed, and the tree that fits them best.

    Parameters
    ----------
    x : ndarray of int of shape (n, n_features)
        Value indices; -1 where an entry is missing.
    sizes : sequence of int
        Number of values of each column.
    pseudo_rows : float
        Rows added to each component, spread as independent columns are.
    """

    def __init__(self, x: Indices, sizes: Sequence[int], pseudo_rows: float) -> None:
        self.sizes, self.pseudo_rows = np.asarray(sizes), pseudo_rows
        self.starts = np.cumsum(self.sizes) - self.sizes
        columns = np.where(x < 0, 0, x) + self.starts
        self.one_hot = np.zeros((len(x), int(self.sizes.sum())))
        np.put_along_axis(self.one_hot, columns, (x >= 0).astype(np.float64), axis=1)
        self.seen = (x >= 0).astype(np.float64)
        self.column = np.repeat(np.arange(len(sizes)), self.sizes)

    def marginals(self, weight: Array) -> Array:
        """Return smoothed frequencies of all values, those of a column side by side."""
        counts = weight @ self.one_hot + PSEUDO_COUNT
        return np.asarray(counts / np.add.reduceat(counts, self.starts)[self.column])

    def tree(self, weight: Array, marginals: Array) -> tuple[Indices, Array]:
        """Return the parents and the log tables of the best tree of weighted rows."""
        pairs = (self.one_hot * weight[:, None]).T @ self.one_hot
        n_seen = (self.seen * weight[:, None]).T @ self.seen
        total = n_seen[self.column][:, self.column] + self.pseudo_rows
        pairs = (pairs + self.pseudo_rows * np.outer(marginals, marginals)) / total
        own = np.where(self.column[:, None] == self.column, 0.0, pairs)
        rows = np.add.reduceat(own, self.starts, axis=1)[:, self.column]
        columns = np.add.reduceat(own, self.starts, axis=0)[self.column]
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = np.where(own > 0, own * np.log(own / (rows * columns)), 0.0)
        terms = np.add.reduceat(terms, self.starts, axis=0)
        parents = best_tree(np.add.reduceat(terms, self.starts, axis=1))
        single = (weight @ self.one_hot + self.pseudo_rows * marginals) / (
            weight @ self.seen + self.pseudo_rows
        )[self.column]
        return parents, self._log_tables(parents, pairs, single)

    def _log_tables(self, parents: Indices, pairs: Array, single: Array) -> Array:
        n_features, n_values = len(self.sizes), int(self.sizes.max())
        tables = np.full((n_features, n_values, n_values), -np.inf)
        for j, parent in enumerate(parents):
            own = slice(self.starts[j], self.starts[j] + self.sizes[j])
            above = slice(self.starts[parent], self.starts[parent] + self.sizes[parent])
            share = single[own][None] if parent == j else pairs[above, own]
            table = np.log(share / share.sum(axis=1, keepdims=True))
            tables[j, :, : self.sizes[j]] = table[0]  # rows of no value count nowhere
            tables[j, : len(table), : self.sizes[j]] = table
        return tables


def best_tree(gain: Array) -> Indices:
    """Return the parents of the tree with the largest sum of gains over its edges.

    By Prim's algorithm; its root, its own parent, is in the middle of the tree, so that
    paths to the leaves are short.
    """
    n = len(gain)
    near, best = np.zeros(n, dtype=np.int64), gain[0].astype(np.float64)
    best[0] = -np.inf
    edges: list[list[int]] = [[] for _ in range(n)]
    outside = np.arange(n) > 0
    for _ in range(n - 1):
        j = int(np.where(outside, best, -np.inf).argmax())
        if not outside[j]:  # gains that are not finite
            j = int(outside.argmax())
        outside[j] = False
        edges[j].append(int(near[j]))
        edges[near[j]].append(j)
        better = outside & (gain[j] > best)
        best[better], near[better] = gain[j][better], j
    end = _order(edges, 0)[0][-1]
    order, parents = _order(edges, end)
    path = [order[-1]]
    while path[-1] != end:
        path.append(int(parents[path[-1]]))
    return _order(edges, path[len(path) // 2])[1]


def _order(edges: list[list[int]], root: int) -> tuple[list[int], Indices]:
    """Return the nodes of a tree, the nearest to a root first, and their parents."""
    parents = np.full(len(edges), -1, dtype=np.int64)
    order, parents[root] = [root], root
    for node in order:
        for other in edges[node]:
            if parents[other] < 0:
                parents[other] = node
                order.append(other)
    return order, parents


def em_steps(
    x: Indices,
    sizes: Sequence[int],
    weight: Array | None,
    n_components: int,
    pseudo_rows: float,
    rng: np.random.RandomState,
) -> Iterator[tuple[TreeMixture, float]]:
    r"""Yield the mixture after each step of EM, and the objective that it raised.

    .. math:: \sum_i w_i \log q(x_i) + \sum_k \log \pi_k +
        \nu \sum_k E_m \log T_k(x)

    with the pseudo-rows nu, of independent columns m. Each step takes the best trees of
    the rows weighted by their memberships (Chow and Liu, 1968; Meila and Jordan, 2000).
    With missing entries the counts are those of the pairs observed, which is no longer
    exactly EM. The objective is that of the mixture before the step.
    """
    counts = _Counts(x, sizes, pseudo_rows)
    weight = np.ones(len(x)) if weight is None else weight * len(x) / weight.sum()
    marginals = counts.marginals(weight)
    rows, gaps = torch.from_numpy(np.where(x < 0, 0, x)), torch.from_numpy(x < 0)
    share = rng.dirichlet(np.full(n_components, CONCENTRATION), len(x))
    while True:
        member = share * weight[:, None]
        found = [counts.tree(one, marginals) for one in member.T]
        parents, tables = (np.stack(part) for part in zip(*found, strict=True))
        mass = member.sum(axis=0) + 1
        log_weights = np.log(mass / mass.sum())
        arrays = log_weights, parents, tables
        mixture = TreeMixture(*(torch.from_numpy(part) for part in arrays))
        if gaps.any():
            log_joint = mixture.log_partitions(mixture.held(rows, ~gaps)).numpy()
        else:
            log_joint = mixture.log_joint(rows).numpy()
        log_prob = logsumexp(log_joint, axis=1)
        share = np.exp(log_joint - log_prob[:, None])
        prior = pseudo_rows * _expected(parents, tables, marginals, counts)
        yield mixture, float(weight @ log_prob + log_weights.sum() + prior)
        if n_components == 1:
            return


def _expected(
    parents: Indices, tables: Array, marginals: Array, counts: _Counts
) -> float:
    """Return the sum over trees of E_m log T, of independent columns m."""
    by_value = np.zeros((len(counts.sizes), tables.shape[2]))
    places = np.arange(len(counts.column)) - counts.starts[counts.column]
    by_value[counts.column, places] = marginals
    finite = np.where(np.isfinite(tables), tables, 0.0)
    above = by_value[parents]
    return float(np.einsum("kjab,kja,jb->", finite, above, by_value))


class ChowLiuReference(Reference):
    r"""A Chow-Liu tree of discrete columns, or a mixture of such trees.

    .. math:: q_0(x) = \sum_k \pi_k \prod_j T_{kj}(x_j | x_{p_k(j)})

    Each tree has the edges with the largest sum of mutual information, which is the
    best tree by likelihood; a mixture is fitted by EM. The masses are exact. In
    `EBMDensityEstimator` the values are the categories of a column, spread over their
    cells; columns of numbers are cut at quantiles into 16 cells at most, with a normal
    density in each.

    Parameters
    ----------
    n_components : int or tuple of int, default=1
        Number of trees. Of a tuple the number is chosen by the likelihood of held-out
        rows: the sizes are tried in this order, until two in a row gain nothing.
    pseudo_rows : float, default=1.0
        Rows of independent columns added to each tree. More make it smoother.
    edges : list of (ndarray or None) or None, default=None
        Inner edges of the cells of each column; estimators set it by `in_cells`. A
        column without is cut at quantiles.

    References
    ----------
    C. Chow and C. Liu, "Approximating discrete probability distributions with
    dependence trees", IEEE Transactions on Information Theory 14 (1968). M. Meila and
    M. I. Jordan, "Learning with mixtures of trees", JMLR 1 (2000).

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from skebm.references import ChowLiuReference
    >>> x = np.array([[0, 0], [1, 1]] * 50)
    >>> rng = torch.Generator().manual_seed(0)
    >>> tree = ChowLiuReference().fit_masses(x, [2, 2], weight=None, generator=rng)
    >>> round(tree.log_prob(torch.tensor([[1, 1]])).exp().item(), 3)
    0.498
    """

    def __init__(
        self,
        n_components: int | tuple[int, ...] = 1,
        pseudo_rows: float = 1.0,
        edges: list[Array | None] | None = None,
    ) -> None:
        self.n_components = n_components
        self.pseudo_rows = pseudo_rows
        self.edges = edges

    def check_options(self) -> None:
        """Raise ValueError naming an option that is out of its range."""
        sizes: Any = self.n_components
        sizes = sizes if isinstance(sizes, tuple | list) else (sizes,)
        right = bool(sizes) and all(is_count(size, 1) for size in sizes)
        expected = "an integer, at least 1, or a tuple of such"
        check_range(self, "n_components", right, expected)
        right = isinstance(self.pseudo_rows, int | float) and (
            0 < self.pseudo_rows < math.inf
        )
        check_range(self, "pseudo_rows", right, "a number above 0")

    def in_cells(self, edges: Sequence[Array | None]) -> ChowLiuReference:
        """Return the reference of columns with these inner edges of their cells."""
        return ChowLiuReference(self.n_components, self.pseudo_rows, list(edges))

    def fit_masses(
        self,
        x: Indices,
        sizes: Sequence[int],
        *,
        weight: Array | None,
        generator: torch.Generator,
    ) -> TreeMixture:
        """Return the mixture of rows of value indices, -1 where an entry is missing.

        Parameters
        ----------
        x : ndarray of int of shape (n, n_features)
            Rows.
        sizes : sequence of int
            Number of values of each column.
        weight : ndarray of shape (n,) or None
            Weights of the rows.
        generator : torch.Generator
            The only source of randomness.
        """
        seed = int(torch.randint(2**31 - 1, (1,), generator=generator))
        if len(x) > MAX_ROWS:
            chosen_rows = np.random.RandomState(seed).choice(len(x), MAX_ROWS, False)
            x, weight = x[chosen_rows], None if weight is None else weight[chosen_rows]
        given: Any = self.n_components
        tried = given if isinstance(given, tuple | list) else (given,)
        options: dict[str, Any] = {"sizes": sizes, "pseudo_rows": self.pseudo_rows}
        n_steps = {size: 1 for size in tried}
        chosen = tried[0]
        order = np.random.RandomState(seed).permutation(len(x))
        n_out = int(HELD_OUT * len(x))
        if tuple(tried) != (1,) and n_out:
            best, n_worse = -np.inf, 0
            for size in tried:
                parts = order[n_out:], order[:n_out]
                score, n_steps[size] = _tried(x, weight, parts, size, seed, options)
                n_worse = 0 if score > best + LEAST_GAIN else n_worse + 1
                if n_worse == 0:
                    best, chosen = score, size
                elif n_worse == 2:
                    break
        rng = np.random.RandomState(seed)
        steps = em_steps(x=x, weight=weight, n_components=chosen, rng=rng, **options)
        for _, (mixture, _) in zip(range(n_steps[chosen]), steps, strict=False):
            last = mixture
        return last

    def fit(
        self, x: Tensor, *, weight: Tensor | None, generator: torch.Generator
    ) -> TreeDensity:
        """Return the density of points in cells."""
        rows = x.double().numpy()
        given = self.edges or [None] * rows.shape[1]
        edges = [
            _quantiles(column) if one is None else np.asarray(one, dtype=np.float64)
            for one, column in zip(given, rows.T, strict=True)
        ]
        # Compared in single precision, as points are.
        indices = [
            np.searchsorted(one.astype(np.float32), column, side="right")
            for one, column in zip(edges, x.numpy().T, strict=True)
        ]
        trees = self.fit_masses(
            np.where(np.isnan(rows), -1, np.stack(indices, axis=1)),
            [len(one) + 1 for one in edges],
            weight=None if weight is None else weight.double().numpy(),
            generator=generator,
        )
        width = max(1, *(len(one) for one in edges))
        padded = [np.r_[one, np.full(width - len(one), np.inf)] for one in edges]
        n_values = width + 1
        tables = torch.full((*trees.parents.shape, n_values, n_values), -math.inf)
        n_own = trees.log_tables.shape[2]
        tables[..., :n_own, :n_own] = trees.log_tables.float()
        return TreeDensity(
            trees.log_weights.float(),
            trees.parents,
            tables,
            torch.tensor(np.stack(padded)).float(),
        )


def _tried(
    x: Indices,
    weight: Array | None,
    parts: tuple[Indices, Indices],
    n_components: int,
    seed: int,
    options: dict[str, Any],
) -> tuple[float, int]:
    """Return the best mean log probability of held-out rows, and after which step."""
    kept, left_out = parts
    some = None if weight is None else weight[kept]
    new = None if weight is None else weight[left_out]
    rng = np.random.RandomState(seed)
    rows = torch.from_numpy(np.where(x[left_out] < 0, 0, x[left_out]))
    seen = torch.from_numpy(x[left_out] >= 0)
    best, at, n_steps = -np.inf, 1, 0
    steps = em_steps(
        x=x[kept], weight=some, n_components=n_components, rng=rng, **options
    )
    for n_steps, (mixture, _) in enumerate(steps, start=1):
        if seen.all():
            log_prob = mixture.log_prob(rows)
        else:
            log_prob = mixture.log_partition(mixture.held(rows, seen))
        score = float(np.average(log_prob.numpy(), weights=new))
        if score > best + LEAST_GAIN:
            best, at = score, n_steps
        elif n_steps - at >= PATIENCE or n_steps >= MAX_STEPS:
            break
    return best, at


def _quantiles(column: Array) -> Array:
    """Return edges between cells of about equally many points."""
    column = column[~np.isnan(column)]
    n_cells = min(MAX_CELLS, max(2, math.isqrt(len(column)) // 2))
    edges = np.unique(np.quantile(column, np.linspace(0, 1, n_cells + 1)[1:-1]))
    return np.asarray(edges, dtype=np.float32).astype(np.float64)


class TreeDensity(Density):
    r"""A mixture of trees over cells, with a normal density within each.

    .. math:: q_0(x) = P(k_1, \dots, k_d) \prod_j \frac{\varphi(x_j)}{\Phi(C_{k_j})}

    for a point in the cells :math:`C_{k_j}`, so that the mass of each product of cells
    is exactly that of the trees.

    Parameters
    ----------
    log_weights, parents, log_tables : Tensor
        The trees; see `ChowLiuReference`.
    edges : Tensor of shape (n_features, n_values - 1)
        Inner edges of the cells; infinite where a column has fewer.
    """

    has_transitions = True

    def __init__(
        self, log_weights: Tensor, parents: Tensor, log_tables: Tensor, edges: Tensor
    ) -> None:
        super().__init__()
        self.log_weights: Tensor
        self.parents: Tensor
        self.log_tables: Tensor
        self.edges: Tensor
        self.register_buffer("log_weights", log_weights)
        self.register_buffer("parents", parents)
        self.register_buffer("log_tables", log_tables)
        self.register_buffer("edges", edges)
        below = ndtr(edges.double().cpu().numpy())
        low = np.pad(below, ((0, 0), (1, 0)))
        high = np.pad(below, ((0, 0), (0, 1)), constant_values=1.0)
        self.low: Tensor
        self.width: Tensor
        self.register_buffer("low", torch.from_numpy(low), persistent=False)
        width = torch.from_numpy(np.maximum(high - low, LEAST_TAIL))
        self.register_buffer("width", width, persistent=False)

    @property
    def trees(self) -> TreeMixture:
        """The masses of the cells, in double precision."""
        tables = self.log_weights.double(), self.parents, self.log_tables.double()
        return TreeMixture(*tables)

    def cells_of(self, x: Tensor) -> Tensor:
        """Return the index of the cell that holds each point, (n, n_features)."""
        points = x.detach().to(self.edges).T.contiguous()
        return torch.searchsorted(self.edges, points, right=True).T

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log q0(x) in nats, shape (n,)."""
        cells = self.cells_of(x)
        log_width = self.width.log().gather(1, cells.T).T
        level = self.trees.log_prob(cells) - log_width.sum(1)
        constant = 0.5 * x.shape[1] * math.log(2 * math.pi)
        return level.to(x.dtype) - 0.5 * x.square().sum(1) - constant

    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Return draws of shape (n_samples, n_features)."""
        shape = n_samples, len(self.edges), self.edges.shape[1] + 1
        fields = self.width.new_zeros(shape)
        return self._points(self.trees.draw(fields, generator), generator)

    def transition(
        self, x: Tensor, scale: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Return rows of which a share `scale` of the columns is drawn anew.

        From their conditional given the other columns, exactly.
        """
        cells = self.cells_of(x)
        held = uniform_like(x, generator) >= scale[:, None]
        trees = self.trees
        drawn = trees.draw(trees.held(cells, held), generator)
        return torch.where(held, x, self._points(drawn, generator))

    def _points(self, cells: Tensor, generator: torch.Generator) -> Tensor:
        """Return points drawn in cells, by the normal density there."""
        low, width = (table.gather(1, cells.T).T for table in (self.low, self.width))
        quantile = low + width * uniform_like(low, generator)
        points = torch.special.ndtri(quantile.clamp(LEAST_TAIL, 1 - LEAST_TAIL))
        first = torch.cat(
            [self.edges.new_full((len(low.T), 1), -math.inf), self.edges], 1
        )
        last = torch.cat(
            [self.edges, self.edges.new_full((len(low.T), 1), math.inf)], 1
        )
        low_end = first.gather(1, cells.T).T
        high_end = (
            torch.nextafter(last, last.new_tensor(-math.inf)).gather(1, cells.T).T
        )
        return torch.maximum(torch.minimum(points.float(), high_end), low_end)
