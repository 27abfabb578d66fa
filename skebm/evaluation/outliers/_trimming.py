"""Which rows of a table to leave out of training, because they look like outliers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skebm.evaluation.outliers._category_points import CategoryPoints
from skebm.evaluation.outliers._member import MAX_ROWS
from skebm.evaluation.outliers._neighbors import nearest_rows
from skebm.utils import make_generator

#: How often rows are scored again, each time by those that were kept.
N_ROUNDS = 3
#: Least number of rows that are kept.
MIN_ROWS = 2
#: A share of rows that is whole but for rounding is whole.
ROUNDING = 1e-9
#: Rows that are scored at once.
CHUNK_ROWS = 5000
#: Neighbours beside those that outliers of one kind can be to each other.
N_FAR, N_LOCAL = 5, 20
#: Farther values, in standard deviations, count as this far.
FARTHEST = 1e6
#: Least distance in the log of distances, of rows that repeat.
LEAST_DISTANCE = 1e-3
#: Least interquartile range of logs of distances.
LEAST_RANGE = 0.1


def most_outlying(
    X: NDArray[Any], share: float, is_categorical: NDArray[np.bool_] | None = None
) -> NDArray[np.bool_]:
    r"""Return a mask of the share of rows that look most like outliers.

    Two scores tell, each of which leaves the row itself out: the log distance to a far
    neighbour, and the log of the mean distance to neighbours less that of theirs. The
    mean of

    .. math:: (s - \mathrm{median}) / \mathrm{interquartile\ range}

    decides. The neighbours are more than there are outliers, which may lie together.
    Then rows are scored again by those that were kept, as in the concentration steps of
    Rousseeuw and Van Driessen (Technometrics 41, 1999).

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
        Numbers and indices of categories; NaN where missing, which counts as the
        median, or as a category.
    share : float
        Of the rows; rounded down.
    is_categorical : ndarray of bool of shape (n_features,) or None
        The columns of categories; None where there are none.
    """
    columns = [] if is_categorical is None else np.flatnonzero(is_categorical).tolist()
    X = _filled(np.asarray(X, np.float64), columns)
    trimmed = np.zeros(len(X), dtype=bool)
    n_trimmed = min(int(share * len(X) + ROUNDING), len(X) - MIN_ROWS)
    if n_trimmed < 1:
        return trimmed
    for _ in range(N_ROUNDS):
        before, order = trimmed, _surprise(X, ~trimmed, share, columns).argsort()
        trimmed = np.zeros(len(X), dtype=bool)
        trimmed[order[-n_trimmed:]] = True
        if (trimmed == before).all():
            break
    return trimmed


def _filled(X: NDArray[np.float64], columns: list[int]) -> NDArray[np.float64]:
    """Return rows without missing entries."""
    missing = np.isnan(X)
    if not missing.any():
        return X
    fill = np.nanmedian(X, axis=0)
    fill[columns] = np.nanmax(X[:, columns], axis=0) + 1
    return np.where(missing, fill, X)


def _surprise(
    X: NDArray[np.float64], kept: NDArray[np.bool_], share: float, columns: list[int]
) -> NDArray[np.float64]:
    """Return how outlying each row is, by the rows that are kept."""
    z = torch.from_numpy(_scaled(X, kept, columns))
    numbers = torch.from_numpy(np.flatnonzero(kept))
    if len(numbers) > MAX_ROWS:
        order = torch.randperm(len(numbers), generator=make_generator(0))
        numbers = numbers[order[:MAX_ROWS]]
    own = torch.full((len(z),), -1)
    own[numbers] = torch.arange(len(numbers))
    by = _Comparison(z[numbers], columns, share)
    parts = zip(z.split(CHUNK_ROWS), own.split(CHUNK_ROWS), strict=True)
    scores = torch.cat([by.scores(*part) for part in parts]).numpy()
    # Not by ranks: of far outliers of one kind all are to be the first.
    low, middle, high = np.quantile(scores, (0.25, 0.5, 0.75), axis=0)
    surprise: NDArray[np.float64] = (scores - middle) / (high - low).clip(LEAST_RANGE)
    return surprise.mean(axis=1)


def _scaled(
    X: NDArray[np.float64], kept: NDArray[np.bool_], columns: list[int]
) -> NDArray[np.float32]:
    """Return rows in standard deviations from the medians of those that are kept."""
    with np.errstate(over="ignore"):
        center, scale = np.median(X[kept], axis=0), X[kept].std(axis=0)
    scale = np.where((scale > 0) & np.isfinite(scale), scale, 1.0)
    center[columns], scale[columns] = 0.0, 1.0
    z = ((X - center) / scale).clip(-FARTHEST, FARTHEST)
    return z.astype(np.float32)


class _Comparison:
    """The two scores of rows, by the rows that are kept."""

    def __init__(self, rows: Tensor, columns: list[int], share: float) -> None:
        self.categories, self.rows = CategoryPoints(rows, columns), rows
        # All outliers may lie together, and must have others as neighbours, too.
        self.far = math.ceil(share * len(rows)) + N_FAR
        self.local = math.ceil(2 * share * len(rows)) + N_LOCAL
        distances = self._neighbors(rows, torch.arange(len(rows)))[0]
        self.spread = _log_mean(distances[:, : self.local])

    def scores(self, x: Tensor, own: Tensor) -> Tensor:
        """Return the scores of x, (m, 2), high for outliers.

        ``own`` is the row that is left out, or -1.
        """
        distances, places = self._neighbors(x, own)
        last = min(self.far, distances.shape[1])
        far = _log_mean(distances[:, last - 1 : last])
        spread = self.spread[places[:, : self.local]].mean(dim=1)
        local = _log_mean(distances[:, : self.local]) - spread
        return torch.stack([far, local], dim=1).double()

    def _neighbors(self, x: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
        n_neighbors = max(self.far, self.local)
        return nearest_rows(self.categories, x, self.rows, n_neighbors, own)


def _log_mean(distances: Tensor) -> Tensor:
    return (distances.mean(dim=1) + LEAST_DISTANCE).log()
