"""The distance to the nearest training row as an outlier score."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from skebm.evaluation.outliers._category_points import CategoryPoints
from skebm.evaluation.outliers._member import NeighborsMember
from skebm.evaluation.outliers._score import CHUNK_ROWS

FARTHEST = 1e30  # in place of what float32 can't hold
#: In more columns distances are taken by products: much faster, exact to about 1e-3.
MANY_COLUMNS = 100


def euclidean(x: Tensor, rows: Tensor) -> Tensor:
    """Return Euclidean distances of rows, (len(x), len(rows))."""
    # By differences in few columns, where rows may be so near that products lose them.
    by_products = x.shape[1] > MANY_COLUMNS
    mode = f"{'' if by_products else 'donot_'}use_mm_for_euclid_dist"
    return torch.cdist(x, rows, compute_mode=mode)


def city_block(x: Tensor, rows: Tensor, n_numbers: int) -> Tensor:
    """Return sums of absolute differences of rows, (len(x), len(rows)).

    From ``n_numbers`` on, columns are coordinates of categories, of which a row has one
    for each column of the table: the others are zero.
    """
    numbers, of_rows = x[:, :n_numbers].contiguous(), rows[:, :n_numbers].contiguous()
    distances = torch.cdist(numbers, of_rows, p=1.0)
    if n_numbers == x.shape[1]:
        return distances
    # Coordinates are many, but products tell which differ, and equal ones add nothing.
    own, others = x[:, n_numbers:], rows[:, n_numbers:]
    distances += own @ (others == 0).to(own).mT
    return distances.addmm_((own == 0).to(own), others.mT)


def nearest(
    x: Tensor,
    rows: Tensor,
    k: int,
    own: Tensor,
    distances_of: Callable[[Tensor, Tensor], Tensor] = euclidean,
) -> tuple[Tensor, Tensor]:
    """Return distances to the k nearest of ``rows``, ascending, and their places.

    ``own`` is the place of the row that is passed over, or -1. Fewer than k are
    returned where ``rows`` are fewer, shape (len(x), min(k, len(rows) - 1)).
    """
    k = max(1, min(k, len(rows) - 1))
    distances, places = [], []
    for part, hidden in zip(x.split(CHUNK_ROWS), own.split(CHUNK_ROWS), strict=True):
        found = distances_of(part, rows)
        (hides,) = torch.nonzero(hidden >= 0, as_tuple=True)
        found[hides, hidden[hides]] = torch.inf
        values, where = found.topk(k, largest=False)
        distances.append(values.nan_to_num(nan=FARTHEST).clamp(max=FARTHEST))
        places.append(where)
    return torch.cat(distances), torch.cat(places)


def nearest_rows(
    categories: CategoryPoints, x: Tensor, rows: Tensor, k: int, own: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the distances of x to its k nearest rows, and the places of these.

    Sums of absolute differences; in more than 100 columns Euclidean distances.
    """
    by = euclidean
    if x.shape[1] <= MANY_COLUMNS:
        by = partial(city_block, n_numbers=categories.numbers(x).shape[1])
    at, others = (
        categories.beside(categories.numbers(part), part) for part in (x, rows)
    )
    return nearest(at, others, k, own, by)


class NearestNeighbor(NeighborsMember):
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
    n_passed : Tensor of int64 of shape (), default=None
        Nearer training rows that are passed over.
    """

    def score(self, x: Tensor, own: Tensor) -> Tensor:
        """Return minus the distances."""
        k = 1 + self.passed
        return -nearest_rows(self.category_points, x, self.rows, k, own)[0][:, -1]
