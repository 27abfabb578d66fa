"""The distance to the nearest training row as an outlier score."""

from __future__ import annotations

import torch
from torch import Tensor

from skebm.evaluation.outliers._member import RowsMember
from skebm.evaluation.outliers._score import CHUNK_ROWS

FARTHEST = 1e30  # in place of what float32 can't hold
#: In more columns distances are taken by products: much faster, exact to about 1e-3.
MANY_COLUMNS = 100


def nearest(
    x: Tensor, rows: Tensor, k: int, own: Tensor, norm: float = 2.0
) -> tuple[Tensor, Tensor]:
    """Return distances to the k nearest of ``rows``, ascending, and their places.

    ``own`` is the place of the row that is passed over, or -1. Fewer than k are
    returned where ``rows`` are fewer, shape (len(x), min(k, len(rows) - 1)).
    """
    k = max(1, min(k, len(rows) - 1))
    # By differences in few columns, where rows may be so near that products lose them.
    by_products = x.shape[1] > MANY_COLUMNS
    mode = f"{'' if by_products else 'donot_'}use_mm_for_euclid_dist"
    distances, places = [], []
    for part, hidden in zip(x.split(CHUNK_ROWS), own.split(CHUNK_ROWS), strict=True):
        found = torch.cdist(part, rows, p=norm, compute_mode=mode)
        (hides,) = torch.nonzero(hidden >= 0, as_tuple=True)
        found[hides, hidden[hides]] = torch.inf
        values, where = found.topk(k, largest=False)
        distances.append(values.nan_to_num(nan=FARTHEST).clamp(max=FARTHEST))
        places.append(where)
    return torch.cat(distances), torch.cat(places)


class NearestNeighbor(RowsMember):
    r"""Minus the distance to the nearest training row, in standardised columns.

    .. math:: s(x) = -\min_i \sum_j |z_j - z_{ij}|

    or, in more than 100 columns, the Euclidean distance, which is quicker. A category
    counts as :math:`1 / \sqrt{p (K - 1)}`, with its share p and K categories.

    Parameters
    ----------
    rows : Tensor of shape (n, n_features)
        The training rows; at most 5000.
    categories : Tensor of int64, default=None
        The columns of categories.
    """

    def score(self, x: Tensor, own: Tensor) -> Tensor:
        """Return minus the distances."""
        norm = 1.0 if x.shape[1] <= MANY_COLUMNS else 2.0
        return -nearest(self._place(x), self._place(self.rows), 1, own, norm)[0][:, 0]

    def _place(self, x: Tensor) -> Tensor:
        return self.category_points.beside(self.category_points.numbers(x), x)
