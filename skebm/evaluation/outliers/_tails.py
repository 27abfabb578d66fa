"""How far out in the tails of its columns a row lies, as an outlier score."""

from __future__ import annotations

import torch
from torch import Tensor

from skebm.evaluation.outliers._member import RowsMember
from skebm.evaluation.outliers._ranks import ColumnRanks

#: Part of the sum over columns that is added to their worst.
PART_OF_SUM = 0.01


class Tails(RowsMember):
    r"""The log tail probability of the column that is farthest out.

    .. math:: s(x) = \min_j t_j(x_j) + 0.01 \sum_j t_j(x_j), \qquad
              t_j(x) = \log \frac{1 + \min(\#\{x_{ij} \le x\}, \#\{x_{ij} \ge x\})}
              {1 + n} - e_j(x)

    with :math:`e_j` the distance beyond all training rows, in standard deviations. Of a
    category the tail are the rows of categories that are as rare.

    Parameters
    ----------
    rows : Tensor of shape (n, n_features)
        The training rows; at most 5000.
    categories : Tensor of int64, default=None
        The columns of categories.

    References
    ----------
    Li et al. ECOD: unsupervised outlier detection using empirical cumulative
    distribution functions. IEEE TKDE 35, 2023.
    """

    def __init__(self, rows: Tensor, categories: Tensor | None = None) -> None:
        super().__init__(rows, categories)
        self.ranks = ColumnRanks(self.category_points.numbers(rows))

    def score(self, x: Tensor, own: Tensor) -> Tensor:
        """Return the log tail probabilities."""
        found = self.ranks.counts(self.category_points.numbers(x), own)
        fewer = found.up_to.minimum(found.n_rows - found.below)
        rare = self.category_points.tails(x, self.hidden(own))
        share = (1 + torch.cat([fewer, rare], dim=1)).double() / (1 + found.n_rows)
        tails = share.log()
        tails[:, : fewer.shape[1]] -= found.excess.double().abs()
        return tails.min(dim=1).values + PART_OF_SUM * tails.sum(dim=1)
