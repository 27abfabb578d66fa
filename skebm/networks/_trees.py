"""Boosted trees as a net: the sum of oblivious regression trees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skebm.utils import check_count, check_number, in_parts

Array = NDArray[Any]

#: Rows and trees that are asked together.
CHUNK_ROWS, CHUNK_TREES = 8192, 64
#: Most rows whose quantiles are the thresholds of a column.
MAX_QUANTILE_ROWS = 50_000
#: Largest value of a leaf before the learning rate: a Newton step is only good nearby.
MAX_VALUE = 10.0
#: Least gain of a split: below it a level changes nothing but rounding.
MIN_GAIN = 1e-9
#: Keeps quotients finite where a leaf holds no row.
LEAST_WEIGHT = 1e-12

#: Slopes and curvatures, or their sums.
Pair = tuple[Array, Array]


@dataclass(frozen=True, eq=False)
class Histogram:
    """Rows as numbers of bins, so that trees are grown by counting.

    Attributes
    ----------
    bins : ndarray of int64 of shape (n_features, n)
        The bin of each entry, counted on from column to column.
    starts : ndarray of int64 of shape (n_features + 1,)
        Number of the first bin of each column, and of all bins.
    """

    bins: Array
    starts: Array

    @classmethod
    def of(cls, x: Array, borders: Sequence[Array]) -> Histogram:
        """Count rows x (n, n_features) between the borders of each column."""
        starts = np.r_[0, np.cumsum([len(b) + 1 for b in borders])]
        bins = np.empty((x.shape[1], len(x)), dtype=np.int64)
        for j, border in enumerate(borders):
            bins[j] = starts[j] + np.searchsorted(border, x[:, j], side="left")
        return cls(bins, starts)

    def column_of(self, split: int) -> int:
        """Return the column of a bin."""
        return int(np.searchsorted(self.starts, split, side="right")) - 1

    def sums(
        self, leaf: Array, n_leaves: int, derivatives: Pair, chosen: Array | slice
    ) -> Pair:
        """Return the sums of derivatives of chosen rows, each (n_leaves, n_bins)."""
        first, second = (np.empty((n_leaves, int(self.starts[-1]))) for _ in range(2))
        slope, curvature = (values[chosen] for values in derivatives)
        leaf = leaf[chosen]
        for start, end, column in zip(
            self.starts[:-1], self.starts[1:], self.bins, strict=True
        ):
            n_bins = int(end - start)
            index = leaf * n_bins + (column[chosen] - start)
            for sums, values in ((first, slope), (second, curvature)):
                counts = np.bincount(index, values, n_leaves * n_bins)
                sums[:, start:end] = counts.reshape(n_leaves, n_bins)
        return first, second

    def split_sums(
        self, sums: Pair, leaf: Array, is_right: Array, derivatives: Pair
    ) -> Pair:
        """Return the sums of the left halves of all leaves, then of the right ones.

        Only the fewer rows are counted: the sums of the others are the difference.
        """
        counts_right = 2 * is_right.sum() <= len(is_right)
        fewer = np.flatnonzero(is_right if counts_right else ~is_right)
        counted = self.sums(leaf, len(sums[0]), derivatives, fewer)
        rest = [whole - part for whole, part in zip(sums, counted, strict=True)]
        left, right = (rest, counted) if counts_right else (counted, rest)
        slope, curvature = (
            np.concatenate(both) for both in zip(left, right, strict=True)
        )
        return slope, curvature

    def best_split(self, sums: Pair, l2: float) -> tuple[int, float]:
        """Return the number of the last bin to the left, and the sum of G^2 / H."""
        score = np.zeros(int(self.starts[-1]))
        left = [self.left_sums(values) for values in sums]
        first = slice(0, int(self.starts[1]))
        right = [
            values[:, first].sum(axis=1, keepdims=True) - part
            for values, part in zip(sums, left, strict=True)
        ]
        for slope, curvature in (left, right):
            weight = np.maximum(curvature, 0) + l2 + LEAST_WEIGHT
            score += (slope**2 / weight).sum(axis=0)
        score[self.starts[1:] - 1] = -np.inf  # nothing is right of a last bin
        best = int(np.argmax(score))
        return best, float(score[best])

    def left_sums(self, sums: Array) -> Array:
        """Return sums up to and with each bin, within its column."""
        total = np.cumsum(sums, axis=1)
        firsts = self.starts[:-1]
        before = np.where(firsts > 0, total[:, firsts - 1], 0.0)
        return total - np.repeat(before, np.diff(self.starts), axis=1)


class BoostedTrees(nn.Module):
    r"""Sum of oblivious regression trees, grown by gradient boosting.

    .. math:: c(x) = \sum_t v_t(l_t(x)), \qquad
              l_t(x) = \sum_k 2^k \, [x_{j_{tk}} > b_{tk}]

    Each level of a tree asks one question of all rows, so that the leaf of a row is a
    number of `depth` bits. Without trees it is zero. Such a net is bounded and constant
    between its thresholds: it has no gradient, and is not trained by one. A tree is
    grown from the first and second derivatives of a loss in the outputs, level by
    level: of all columns and thresholds the split with the largest

    .. math:: \sum_l \frac{G_l^2}{H_l + \mu}

    where G and H are the sums of the derivatives in leaf l. The value of a leaf is
    :math:`-G_l / (H_l + \mu)`, times the learning rate.

    With `skebm.objectives.NCE` the output is the logit of rows against draws of the
    reference, so that it is minus the energy. Options of an estimator that are "auto"
    are then ``learning_rate=0.3``, ``max_iter=100`` epochs and ``n_iter_no_change=10``;
    without early stopping so many trees learn the rows by heart.

    Thresholds of a category column are between its categories, in their sorted order:
    of all points that stand for a category the energy is the same.

    Parameters
    ----------
    n_features : int
        Columns of the rows.
    n_outputs : int, default=1
        Only 1.
    depth : int, default=6
        Splits of each tree, at most.
    n_bins : int, default=128
        Intervals of a column of numbers between which a tree can split.
    l2_regularization : float, default=5.0
        :math:`\mu`, in rows.
    n_trees_per_epoch : int, default=10
        Trees grown before noise is drawn anew and held-out rows are asked.

    References
    ----------
    Friedman. Greedy function approximation: a gradient boosting machine. Annals of
    Statistics 29, 2001. Prokhorenkova, Gusev, Vorobev, Dorogush, Gulin. CatBoost:
    unbiased boosting with categorical features. NeurIPS 2018.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from skebm.networks import BoostedTrees
    >>> x = np.array([[-1.0], [-0.5], [0.5], [1.0]])
    >>> slope = -np.sign(x[:, 0])
    >>> trees = BoostedTrees(1, depth=1, l2_regularization=0.0)
    >>> _ = trees.grow(trees.histogram(x), slope, np.ones(4), learning_rate=0.5)
    >>> trees(torch.from_numpy(x).float())[:, 0]
    tensor([-0.5000, -0.5000,  0.5000,  0.5000])
    """

    #: It is grown from derivatives, not trained by gradients of parameters.
    is_boosted: ClassVar[bool] = True

    features: Tensor
    thresholds: Tensor
    values: Tensor

    def __init__(
        self,
        n_features: int,
        n_outputs: int = 1,
        *,
        depth: int = 6,
        n_bins: int = 128,
        l2_regularization: float = 5.0,
        n_trees_per_epoch: int = 10,
    ) -> None:
        super().__init__()
        if n_outputs != 1:
            raise ValueError(
                f"BoostedTrees have one output, that of a density. Got {n_outputs=}."
            )
        self.n_features, self.depth, self.n_bins = n_features, depth, n_bins
        self.l2_regularization = l2_regularization
        self.n_trees_per_epoch = n_trees_per_epoch
        for name in ("depth", "n_bins", "n_trees_per_epoch"):
            check_count(self, name)
        check_number(self, "l2_regularization", 0)
        self.borders: list[Array] = []
        self.given_borders: dict[int, Array] = {}
        shapes = {"features": (0, depth), "thresholds": (0, depth)}
        for name, shape in (shapes | {"values": (0, 2**depth)}).items():
            dtype = torch.int64 if name == "features" else torch.float32
            empty = torch.empty(shape, dtype=dtype)
            self.register_buffer(name, empty, persistent=False)

    @property
    def n_trees(self) -> int:
        """Number of trees."""
        return len(self.values)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of the trees, shape (n, 1)."""
        parts = [self._sum(rows) for rows in in_parts(x.detach(), CHUNK_ROWS)]
        total = torch.cat(parts) if parts else x.new_zeros(0)
        if x.requires_grad:  # whose derivatives are all zero
            total = total + 0.0 * x.square().sum(dim=1)
        return total[:, None]

    def _sum(self, x: Tensor) -> Tensor:
        columns, total = x.T.contiguous(), x.new_zeros(x.shape[0])
        for start in range(0, self.n_trees, CHUNK_TREES):
            chosen = slice(start, start + CHUNK_TREES)
            features, thresholds = self.features[chosen].T, self.thresholds[chosen].T
            leaf = torch.zeros(features.shape[1], x.shape[0], dtype=torch.int64)
            leaf = leaf.to(x.device)
            for k, (feature, threshold) in enumerate(
                zip(features, thresholds, strict=True)
            ):
                leaf += (columns[feature] > threshold[:, None]).long() << k
            total = total + self.values[chosen].gather(1, leaf).sum(dim=0)
        return total

    # ------------------------------------------------------------------- growth

    def set_borders(self, x: Array) -> None:
        """Choose the thresholds of each column: quantiles of rows x, or given ones."""
        shares = np.arange(1, self.n_bins) / self.n_bins
        rows = x[:: max(1, len(x) // MAX_QUANTILE_ROWS)]
        self.borders = []
        for j in range(self.n_features):
            border = self.given_borders.get(j)
            if border is None:
                border = np.quantile(rows[:, j], shares, method="lower")
            border = np.unique(np.asarray(border, dtype=np.float32))
            self.borders.append(border[np.isfinite(border)])

    def histogram(self, x: Array) -> Histogram:
        """Return rows counted between the borders, which the first rows choose."""
        if not self.borders:
            self.set_borders(x)
        return Histogram.of(x.astype(np.float32), self.borders)

    def grow(
        self, rows: Histogram, slope: Array, curvature: Array, learning_rate: float
    ) -> Array:
        """Add one tree.

        Parameters
        ----------
        rows : Histogram
            The rows at which derivatives are given.
        slope, curvature : ndarray of shape (n,)
            First and second derivatives of the loss in the outputs there.
        learning_rate : float
            Factor of the leaves' values.

        Returns
        -------
        increase : ndarray of shape (n,)
            By how much the outputs have grown.
        """
        derivatives = slope, curvature
        leaf = np.zeros(len(slope), dtype=np.int64)
        features = np.zeros(self.depth, dtype=np.int64)
        thresholds = np.full(self.depth, np.inf, dtype=np.float32)
        sums = rows.sums(leaf, 1, derivatives, slice(None))
        before = -np.inf
        for k in range(self.depth):
            split, gain = rows.best_split(sums, self.l2_regularization)
            if not gain > before + MIN_GAIN:
                break
            before, j = gain, rows.column_of(split)
            features[k] = j
            thresholds[k] = self.borders[j][split - rows.starts[j]]
            is_right = rows.bins[j] > split
            if k + 1 < self.depth:
                sums = rows.split_sums(sums, leaf, is_right, derivatives)
            leaf += is_right.astype(np.int64) << k
        values = self._leaf_values(leaf, derivatives) * learning_rate
        self._append(features, thresholds, values)
        return np.asarray(values[leaf])

    def _leaf_values(self, leaf: Array, derivatives: Pair) -> Array:
        """Return the Newton step of each leaf."""
        slope, curvature = (
            np.bincount(leaf, values, 2**self.depth) for values in derivatives
        )
        weight = curvature + self.l2_regularization + LEAST_WEIGHT
        return np.clip(-slope / weight, -MAX_VALUE, MAX_VALUE)

    def _append(self, features: Array, thresholds: Array, values: Array) -> None:
        for name, new in (
            ("features", features),
            ("thresholds", thresholds),
            ("values", values),
        ):
            old = getattr(self, name)
            row = torch.from_numpy(new).to(old)[None]
            setattr(self, name, torch.cat([old, row]))

    # ------------------------------------------------------------------ storage

    def get_extra_state(self) -> dict[str, Any]:
        """Return the trees and the borders: their number grows, as no buffer may."""
        names = ("features", "thresholds", "values")
        trees = {name: getattr(self, name) for name in names}
        borders = [torch.from_numpy(border) for border in self.borders]
        return trees | {"borders": borders}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take the trees and borders of a state."""
        for name in ("features", "thresholds", "values"):
            setattr(self, name, state[name].to(getattr(self, name)))
        self.borders = [border.cpu().numpy() for border in state["borders"]]
