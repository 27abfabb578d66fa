"""Distances to training rows after each column was made normal, as outlier scores."""

from __future__ import annotations

import math
from typing import Self

import torch
from torch import Tensor

from skebm.evaluation.outliers._member import NeighborsMember
from skebm.evaluation.outliers._neighbors import nearest
from skebm.evaluation.outliers._ranks import ColumnRanks
from skebm.evaluation.outliers._score import CHUNK_ROWS

N_NEIGHBORS = 20
#: Least distance per root of the columns: rows that repeat have none.
LEAST_DISTANCE = 1e-3


class RankedRows(NeighborsMember):
    """A score by the neighbours of a row, in normal scores of the columns' ranks."""

    def __init__(
        self,
        rows: Tensor,
        categories: Tensor | None = None,
        n_passed: Tensor | None = None,
    ) -> None:
        super().__init__(rows, categories, n_passed)
        self.ranks = ColumnRanks(self.category_points.numbers(rows))
        self.points: Tensor
        self.register_buffer("points", self.place(rows, _none(rows)), persistent=False)

    def place(self, x: Tensor, own: Tensor) -> Tensor:
        """Return the normal scores of rows, where ``own`` is left out."""
        scores = self.ranks.normal_scores(self.category_points.numbers(x), own)
        return self.category_points.beside(scores, x)

    def neighbors(self, x: Tensor, own: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Return distances to the k nearest rows and their places."""
        return nearest(self.place(x, own), self.points, k, own)


class RankedNeighbors(RankedRows):
    r"""Minus a mean of the distances to 20 neighbours, by the columns' ranks.

    .. math:: s(x) = -\sum_{k=1}^{20} w_k d_k(x), \qquad w_k \propto 1 / k

    Distances are Euclidean, after ranks in each column were turned into normal scores;
    beyond all training rows a column goes on as it is. Between categories they are
    those of correspondence analysis: rare ones are far.

    Parameters
    ----------
    rows : Tensor of shape (n, n_features)
        The training rows; at most 5000.
    categories : Tensor of int64, default=None
        The columns of categories.
    n_passed : Tensor of int64 of shape (), default=None
        Nearest training rows that are passed over, as outliers of one kind may be.
    """

    def score(self, x: Tensor, own: Tensor) -> Tensor:
        """Return minus the mean distances."""
        distances = self.neighbors(x, own, N_NEIGHBORS + self.passed)[0].double()
        distances = distances[:, min(self.passed, distances.shape[1] - 1) :]
        weight = 1 / torch.arange(1, distances.shape[1] + 1).to(distances)
        return -distances @ (weight / weight.sum())


class LocalDensity(RankedRows):
    r"""Log density about a row, compared with that about its neighbours.

    .. math:: s(x) = \frac1k \sum_{i \in N_k(x)} \log \bar d(x_i) - \log \bar d(x)

    with the mean distance :math:`\bar d` to the k = 20 nearest training rows, by the
    columns' ranks as in `RankedNeighbors`.

    Parameters
    ----------
    rows : Tensor of shape (n, n_features)
        The training rows; at most 5000.
    categories : Tensor of int64, default=None
        The columns of categories.
    spread : Tensor of shape (n,)
        log of the mean distance of each of them to the others.
    n_passed : Tensor of int64 of shape (), default=None
        Neighbours beyond 20, as many as outliers of one kind may be.

    References
    ----------
    Breunig et al. LOF: identifying density-based local outliers. SIGMOD 2000.
    """

    def __init__(
        self,
        rows: Tensor,
        spread: Tensor,
        categories: Tensor | None = None,
        n_passed: Tensor | None = None,
    ) -> None:
        super().__init__(rows, categories, n_passed)
        self.spread: Tensor
        self.register_buffer("spread", spread)
        self._others: tuple[Tensor, Tensor] | None = None

    @classmethod
    def passing(
        cls, rows: Tensor, categories: Tensor | None, n_passed: Tensor | None
    ) -> Self:
        """Find the neighbours of the rows themselves."""
        score = cls(rows, torch.zeros(len(rows)).to(rows), categories, n_passed)
        every = torch.arange(len(rows), device=rows.device)
        # One neighbour more than are needed, for when one of them is left out.
        score._others = nearest(score.points, score.points, score._k + 1, every)
        score.spread = score._log_mean(score._others[0][:, : score._k])
        return score

    @property
    def _k(self) -> int:
        return max(1, min(N_NEIGHBORS + self.passed, len(self.rows) - 2))

    def _log_mean(self, distances: Tensor) -> Tensor:
        least = LEAST_DISTANCE * math.sqrt(self.rows.shape[1])
        return (distances.mean(dim=-1) + least).log()

    def score(self, x: Tensor, own: Tensor) -> Tensor:
        """Return the mean log distance of the neighbours less that of the row."""
        distances, places = self.neighbors(x, own, self._k)
        spread = self.spread[places]
        if (own >= 0).any() and len(self.rows) > 2:
            parts = zip(places.split(CHUNK_ROWS), own.split(CHUNK_ROWS), strict=True)
            spread = torch.cat([self._spread_without(*part) for part in parts])
        return spread.mean(dim=1) - self._log_mean(distances)

    def _spread_without(self, places: Tensor, own: Tensor) -> Tensor:
        """Return the spreads of neighbours, where ``own`` is none of theirs."""
        assert self._others is not None
        distances, others = (table[places] for table in self._others)
        is_own = others == own[:, None, None]
        is_own[..., -1] |= ~is_own.any(dim=2)  # else it is the last that is not needed
        return self._log_mean(distances[~is_own].reshape(*places.shape, -1))


def _none(rows: Tensor) -> Tensor:
    return torch.full((len(rows),), -1, device=rows.device)
