"""Category columns as indicators, below a net that classifies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skebm.networks._capabilities import as_ensemble, is_ensemble, n_members_of

ALL = slice(None)
#: Least distance between the points of two categories, against a division by zero.
LEAST_GAP = 1e-6


class OneHotColumns(nn.Module):
    r"""Numbers as they are, and category columns as one indicator a category.

    On the line of a category column, category k is an interval with the point
    :math:`m_k` (see `skebm.tables.Intervals`). Its indicator is linear between the
    points, so that it has a gradient, and exact at them:

    .. math:: h_k(m_l) = [k = l], \qquad e_k(z) = s (h_k(z) - f_k), \qquad
              s = \sqrt 2 / \max(1, \sqrt{2 - 2 \textstyle\sum_k f_k^2})

    With f the shares of the categories. Two rows of different categories are then at a
    squared distance of 2 to 4, as two values of a standardised number are.

    Parameters
    ----------
    n_features : int
        Number of columns.
    columns : sequence of int
        Indices of the category columns.
    points, starts, shares : sequence of ndarray of shape (n_categories,)
        Points, starts (the first is -inf) and shares of the intervals of each of them.
    """

    def __init__(
        self,
        n_features: int,
        columns: Sequence[int],
        points: Sequence[NDArray[np.float64]],
        starts: Sequence[NDArray[np.float64]],
        shares: Sequence[NDArray[np.float64]],
    ) -> None:
        super().__init__()
        sizes = [len(of_column) for of_column in points]
        numbers = np.setdiff1d(np.arange(n_features), columns)
        ends = [np.r_[start[1:], np.inf] for start in starts]
        left = [np.r_[-np.inf, of_column[:-1]] for of_column in points]
        right = [np.r_[of_column[1:], np.inf] for of_column in points]
        squares = [np.sqrt(2 - 2 * np.sum(share**2)) for share in shares]
        pairs = zip(sizes, squares, strict=True)
        scales = [np.full(n, np.sqrt(2) / max(1, s)) for n, s in pairs]
        self.numbers: Tensor
        self.place: Tensor
        self.register_buffer("numbers", torch.from_numpy(numbers))
        place = torch.from_numpy(np.repeat(np.asarray(columns, dtype=np.int64), sizes))
        self.register_buffer("place", place)
        self.points: Tensor
        self.left: Tensor
        self.right: Tensor
        self.start: Tensor
        self.end: Tensor
        self.share: Tensor
        self.scale: Tensor
        tables = {"points": points, "left": left, "right": right, "start": starts}
        tables |= {"end": ends, "share": shares, "scale": scales}
        for name, values in tables.items():
            flat = np.concatenate(values)
            self.register_buffer(name, torch.from_numpy(flat).float())
        self.out_features = len(numbers) + sum(sizes)

    def forward(self, z: Tensor) -> Tensor:
        """Map points z of shape (..., n_features) to (..., out_features)."""
        x = z[..., self.place]
        rising = (x - self.left) / (self.points - self.left).clamp(min=LEAST_GAP)
        falling = (self.right - x) / (self.right - self.points).clamp(min=LEAST_GAP)
        # The outermost categories reach to infinity.
        rising = torch.where(self.left.isinf(), 1.0, rising)
        falling = torch.where(self.right.isinf(), 1.0, falling)
        return self._joined(z, torch.minimum(rising, falling).clamp(0.0, 1.0))

    def of_rows(self, z: Tensor) -> Tensor:
        """Return the features of the rows whose cells hold z; 0, the mean, for NaN."""
        x = z[..., self.place]
        inside = (x >= self.start) & (x < self.end)
        return self._joined(z, inside.to(z.dtype)).nan_to_num(0.0)

    def _joined(self, z: Tensor, indicators: Tensor) -> Tensor:
        is_missing = z[..., self.place].isnan()
        centred = self.scale * (indicators - self.share)
        centred = centred.masked_fill(is_missing, torch.nan)
        return torch.cat([z[..., self.numbers], centred], dim=-1)


class EmbeddedNetwork(nn.Module):
    """A net of the features of category columns; an ensemble where that net is one.

    Parameters
    ----------
    embedding : OneHotColumns
        Takes points to features.
    inner : nn.Module
        Takes features to outputs.
    """

    #: Declares the capability of a `FeatureNetwork`.
    has_features: ClassVar[bool] = True

    def __init__(self, embedding: OneHotColumns, inner: nn.Module) -> None:
        super().__init__()
        self.embedding, self.inner = embedding, inner

    def features(self, x: Tensor) -> Tensor:
        """Return the features of the rows that points x (..., n_features) stand for."""
        return self.embedding.of_rows(x)

    @property
    def is_ensemble(self) -> bool:
        """Whether the inner net is an `EnsembleNetwork`."""
        return is_ensemble(self.inner)

    @property
    def n_members(self) -> int:
        """Number of classifiers in the net."""
        return n_members_of(self.inner)

    def forward(self, x: Tensor) -> Tensor:
        """Map points (n, n_features) to (n, n_outputs)."""
        return self.inner(self.embedding(x))

    def members(self, x: Tensor, which: slice = ALL) -> Tensor:
        """Return the class logits of those members, shape (n_members, n, n_outputs)."""
        ensemble = as_ensemble(self.inner)
        assert ensemble is not None
        return ensemble.members(self.embedding(x), which)

    def split(self, counts: Sequence[int]) -> list[Callable[[Tensor], Tensor]]:
        """Return the members in groups, each a function of rows of its own."""
        ensemble = as_ensemble(self.inner)
        assert ensemble is not None

        def logits(group: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
            return group(self.embedding(x))

        return [partial(logits, group) for group in ensemble.split(counts)]

    def critic(self, x: Tensor) -> Tensor:
        """Return the critic, the logsumexp of the net's outputs, shape (n,)."""
        ensemble = as_ensemble(self.inner)
        assert ensemble is not None
        return ensemble.critic(self.embedding(x))

    def weigh(self, weights: Sequence[float]) -> None:
        """Set the weights of the members, positive and of sum one."""
        ensemble = as_ensemble(self.inner)
        assert ensemble is not None
        ensemble.weigh(weights)
