"""Scores that can leave any training row out: the members of the score "auto"."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar, Self

import torch
from torch import Tensor

from skebm.evaluation.outliers._category_points import CategoryPoints
from skebm.evaluation.outliers._score import OODScore, ScoredModel

#: Most training rows that a score keeps; of more it keeps a random part.
MAX_ROWS = 5000


class Member(OODScore):
    """A score that can be asked as if it had not seen a training row."""

    is_free: ClassVar[bool] = False

    @abstractmethod
    def without(self, scored: ScoredModel, x: Tensor, base: Tensor) -> Tensor:
        """Return the scores of rows, each as if one training row had been left out.

        Asked for right after `fit`.

        Parameters
        ----------
        scored : ScoredModel
            The trained model.
        x : Tensor of shape (m, n_features)
            Rows; such as training rows that were changed.
        base : Tensor of int64 of shape (m,)
            The number of the training row that is left out; -1 for none.
        """

    def left_out(self, scored: ScoredModel, train: Tensor, held_out: Tensor) -> Tensor:
        """Return the scores of training rows, each as if it had been left out."""
        del held_out
        numbers = torch.arange(len(train), device=train.device)
        return self.without(scored, train, numbers)


class RowsMember(Member):
    """A score that keeps training rows, at most 5000.

    Parameters
    ----------
    rows : Tensor of shape (n, n_features)
        The rows that are kept, at the midpoints of their cells.
    categories : Tensor of int64, default=None
        The columns of categories; None where there are none.
    """

    def __init__(self, rows: Tensor, categories: Tensor | None = None) -> None:
        super().__init__()
        self.rows: Tensor
        self.categories: Tensor | None
        self.register_buffer("rows", rows)
        self.register_buffer("categories", categories)
        columns = [] if categories is None else categories.tolist()
        self.category_points = CategoryPoints(rows, columns)
        self._places: Tensor | None = None  # of training rows among those kept, or -1

    @classmethod
    def fit(
        cls,
        scored: ScoredModel,
        train: Tensor,
        held_out: Tensor,
        generator: torch.Generator,
        max_steps: int,
    ) -> Self:
        """Keep training rows."""
        del held_out, max_steps
        numbers = torch.arange(len(train), device=train.device)
        if len(train) > MAX_ROWS:
            order = torch.randperm(
                len(train), generator=generator, device=generator.device
            )
            numbers = order[:MAX_ROWS].sort().values.to(train.device)
        categories = None
        if scored.categories:
            categories = torch.tensor(scored.categories, device=train.device)
        rows = scored.centred(train[numbers])
        score = cls.of_rows(rows, categories, scored.trimmed_share)
        places = torch.full((len(train),), -1, device=train.device)
        places[numbers] = torch.arange(len(numbers), device=train.device)
        score._places = places
        return score

    @classmethod
    def of_rows(
        cls, rows: Tensor, categories: Tensor | None, trimmed_share: float = 0.0
    ) -> Self:
        """Return the score of these rows, beside which a share was left out."""
        del trimmed_share
        return cls(rows, categories)

    @abstractmethod
    def score(self, x: Tensor, own: Tensor) -> Tensor:
        """Return the scores of x; ``own`` is the row left out of ``rows``, or -1."""

    def forward(self, scored: ScoredModel, x: Tensor) -> Tensor:
        """Return the scores of rows."""
        x = scored.centred(x)
        return self.score(x, torch.full((len(x),), -1, device=x.device)).double()

    def of_fitted_rows(self, scored: ScoredModel, x: Tensor) -> Tensor:
        """Return the scores of rows of `fit`, each without itself among those kept."""
        x = scored.centred(x)
        return self.score(x, places_of(x, self.rows)).double()

    def without(self, scored: ScoredModel, x: Tensor, base: Tensor) -> Tensor:
        """Return the scores of rows, each as if one training row had been left out."""
        assert self._places is not None
        own = torch.where(base < 0, base, self._places[base])
        return self.score(scored.centred(x), own).double()

    @property
    def numbers(self) -> Tensor:
        """The numbers of the training rows that are kept; known right after `fit`."""
        assert self._places is not None
        return (self._places >= 0).nonzero()[:, 0]

    def hidden(self, own: Tensor) -> Tensor:
        """Return the rows that are left out, NaN for none."""
        rows = self.rows[own.clamp(min=0)]
        return torch.where((own >= 0)[:, None], rows, torch.nan)


class NeighborsMember(RowsMember):
    """A score by the nearest of the training rows that it keeps.

    Parameters
    ----------
    rows : Tensor of shape (n, n_features)
        The rows that are kept, at the midpoints of their cells.
    categories : Tensor of int64, default=None
        The columns of categories; None where there are none.
    n_passed : Tensor of int64 of shape (), default=None
        Nearest rows that are passed over, as outliers of one kind may be; None is 0.
    """

    def __init__(
        self,
        rows: Tensor,
        categories: Tensor | None = None,
        n_passed: Tensor | None = None,
    ) -> None:
        super().__init__(rows, categories)
        self.n_passed: Tensor | None
        self.register_buffer("n_passed", n_passed)

    @classmethod
    def of_rows(
        cls, rows: Tensor, categories: Tensor | None, trimmed_share: float = 0.0
    ) -> Self:
        """Return the score of these rows, beside which a share was left out."""
        if not trimmed_share:
            return cls.passing(rows, categories, None)
        # About half of the outliers are found, and as many may be left.
        n_left = math.ceil(trimmed_share / 2 * len(rows))
        return cls.passing(rows, categories, torch.tensor(n_left, device=rows.device))

    @classmethod
    def passing(
        cls, rows: Tensor, categories: Tensor | None, n_passed: Tensor | None
    ) -> Self:
        """Return the score that is made of these rows."""
        return cls(rows, categories, n_passed)

    @property
    def passed(self) -> int:
        """The number of nearest rows that are passed over."""
        return 0 if self.n_passed is None else int(self.n_passed)


def places_of(x: Tensor, rows: Tensor) -> Tensor:
    """Return the place of each row of x among equal ``rows``; -1 where none is."""
    # Adding zero makes -0 and 0 the same bytes.
    known = {row.tobytes(): i for i, row in enumerate((rows + 0.0).cpu().numpy())}
    places = [known.get(row.tobytes(), -1) for row in (x + 0.0).cpu().numpy()]
    return torch.tensor(places, device=x.device)
