"""How far out in the tails of its columns a row lies, as an outlier score."""

from __future__ import annotations

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

    with :math:`e_j` the distance beyond all training rows, in standard deviations.

    Parameters
    ----------
    rows : Tensor of shape (n, n_features)
        The training rows; at most 5000.

    References
    ----------
    Li et al. ECOD: unsupervised outlier detection using empirical cumulative
    distribution functions. IEEE TKDE 35, 2023.
    """

    def __init__(self, rows: Tensor) -> None:
        super().__init__(rows)
        self.ranks = ColumnRanks(rows)

    def score(self, x: Tensor, own: Tensor) -> Tensor:
        """Return the log tail probabilities."""
        found = self.ranks.counts(x, own)
        fewer = found.up_to.minimum(found.n_rows - found.below)
        share = (1 + fewer).double() / (1 + found.n_rows)
        tails = share.log() - found.excess.double().abs()
        return tails.min(dim=1).values + PART_OF_SUM * tails.sum(dim=1)
