"""Noise of categories: a random walk on the graph of a column's categories."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skebm.tables._cells import Intervals, normal_score
from skebm.utils import uniform_like

#: The graph of the categories of a kind of column.
GRAPHS = {"nominal": "complete", "ordinal": "path", "cyclic": "ring"}
#: Steps of the walk a unit of time: it then goes as far as normal noise of that
#: variance does in standard deviations of the index of a category.
STEPS_PER_SIZE = 1 / 24


def laplacian(kind: str, size: int) -> NDArray[np.float64]:
    r"""Return minus the Laplacian of a graph of categories, the generator of a walk.

    Parameters
    ----------
    kind : {"nominal", "ordinal", "cyclic"}
        Every two categories are neighbours, at a rate of one jump to any; those that
        follow each other; or these, and the last one and the first.
    size : int
        Number of categories.
    """
    if kind == "nominal":
        return np.full((size, size), 1 / size) - np.eye(size)
    near = np.zeros((size, size))
    index = np.arange(size)
    near[index[:-1], index[1:]] = 1
    if kind == "cyclic":
        near[index, (index + 1) % size] = 1
        np.fill_diagonal(near, 0)
    near = np.maximum(near, near.T)
    return near - np.diag(near.sum(axis=1))


def heat_kernel(kind: str, size: int, time: float) -> NDArray[np.float64]:
    r"""Return the transition probabilities of the walk, :math:`e^{t L}`."""
    rates, modes = np.linalg.eigh(laplacian(kind, size))
    return np.asarray((modes * np.exp(time * rates)) @ modes.T)


class CategoryDiffusion:
    """Noise of the category columns of standardised rows.

    The base measure of a category column is the counting measure of its categories,
    times the uniform one of the quantile of a point in its interval. All kernels are
    symmetric with respect to it.

    Parameters
    ----------
    columns : sequence of int
        Indices of the category columns.
    intervals : sequence of Intervals
        Theirs.
    kinds : sequence of str
        Theirs: "nominal", "ordinal" or "cyclic".
    """

    def __init__(
        self,
        columns: Sequence[int],
        intervals: Sequence[Intervals],
        kinds: Sequence[str],
    ) -> None:
        self.columns = list(columns)
        self._intervals, self._kinds = list(intervals), list(kinds)
        self._spectra = []
        for kind, one in zip(kinds, intervals, strict=True):
            rates, modes = np.linalg.eigh(laplacian(kind, len(one.share)))
            speed = 1.0 if kind == "nominal" else STEPS_PER_SIZE * len(one.share) ** 2
            self._spectra.append((torch.from_numpy(speed * rates), _tensor(modes)))

    @classmethod
    def of(
        cls,
        columns: Sequence[int],
        intervals: Sequence[Intervals],
        kinds: Mapping[int, str],
    ) -> Self | None:
        """Return the noise of the columns that have a kind; None without any."""
        places = [i for i, column in enumerate(columns) if column in kinds]
        if not places:
            return None
        chosen = [columns[i] for i in places]
        return cls(chosen, [intervals[i] for i in places], [kinds[j] for j in chosen])

    def alike(
        self,
        x: Tensor,
        time: Tensor,
        n_points: int,
        generator: torch.Generator,
        absorbing: bool = False,
    ) -> Tensor:
        """Return points that could have been turned into a noisy copy of each row.

        Only category columns differ from x.

        Parameters
        ----------
        x : Tensor of shape (n, n_features)
            Rows.
        time : Tensor of shape (n,)
            How long the walk lasts.
        n_points : int
            Points of each row, which share its noisy copy.
        generator : torch.Generator
            The only source of randomness.
        absorbing : bool, default=False
            Whether the noise makes an entry missing, with a probability of
            ``1 - exp(-time)``, and moves no other one.

        Returns
        -------
        points : Tensor of shape (n_points, n, n_features)
        """
        points = x.repeat(n_points, 1, 1)
        time = time.double()
        for i, column in enumerate(self.columns):
            known = self._categories(x[:, column], i)
            if absorbing:
                drawn = self._from_missing(known, time, i, n_points, generator)
            else:
                noisy = self._walk(known, time, i, 1, generator)[0]
                drawn = self._walk(noisy, time, i, n_points, generator)
            points[..., column] = self._place(drawn, i, generator).to(points.dtype)
        return points

    def log_base(self, x: Tensor) -> Tensor:
        """Return the log density of the base measure at points (..., n_features)."""
        total = x.new_zeros(x.shape[:-1], dtype=torch.float64)
        for i, column in enumerate(self.columns):
            point = x[..., column]
            share = _tensor(self._intervals[i].share).to(x.device)
            total = total - share.log()[self._categories(point, i)]
            point = point.double()
            total = total - 0.5 * (point.square() + math.log(2 * math.pi))
        return total

    def _categories(self, points: Tensor, i: int) -> Tensor:
        """Return the category indices of points of a column."""
        start = torch.from_numpy(self._intervals[i].start[1:-1].astype(np.float32))
        return torch.searchsorted(
            start.to(points.device), points.float().contiguous(), right=True
        )

    def _walk(
        self, known: Tensor, time: Tensor, i: int, n: int, generator: torch.Generator
    ) -> Tensor:
        """Return n categories of each row after a walk from the known one."""
        rates, modes = (part.to(known.device) for part in self._spectra[i])
        decay = (time[:, None] * rates).exp()
        kernel = ((modes[known] * decay) @ modes.T).clamp(min=0)
        return torch.multinomial(kernel, n, replacement=True, generator=generator).T

    def _from_missing(
        self, known: Tensor, time: Tensor, i: int, n: int, generator: torch.Generator
    ) -> Tensor:
        """Return n categories of each row: the known one, or any where it is lost."""
        is_lost = uniform_like(time, generator) < -torch.expm1(-time)
        size = len(self._intervals[i].share)
        anything = torch.randint(
            size, (n, len(known)), generator=generator, device=known.device
        )
        return torch.where(is_lost, anything, known)

    def _place(self, category: Tensor, i: int, generator: torch.Generator) -> Tensor:
        """Return points drawn in the intervals of categories, float32."""
        one = self._intervals[i]
        quantile, share = (
            _tensor(t)[category.cpu()] for t in (one.quantile, one.share)
        )
        place = uniform_like(
            torch.empty(category.shape, dtype=torch.float64, device=category.device),
            generator,
        )
        quantile, share = quantile.to(place), share.to(place)
        start = torch.from_numpy(one.start.astype(np.float32)).to(category.device)
        last = torch.nextafter(start[1:], start.new_tensor(-math.inf))
        point = normal_score(quantile + place * share).float()
        return torch.maximum(torch.minimum(point, last[category]), start[category])


def _tensor(table: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(table))
