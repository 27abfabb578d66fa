"""Columns of categories that another column determines, and that determine it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from skebm.tables._kinds import Array

#: Most values of a column that may determine another.
MAX_VALUES = 200
#: Least share of the rows that agree.
AGREEING_SHARE = 0.99
#: Rows of a large table that are looked at first, and their least agreeing share.
SOME_ROWS = 1000
LIKELY_SHARE = 0.95
#: Least evidence, in nats: minus the log probability of the same by chance.
LEAST_EVIDENCE = 20.0
#: Rows in all that are added to the categories a determined column does not have.
PSEUDO_MISMATCHES = 0.5


@dataclass(frozen=True, eq=False)
class Pair:
    """A column of categories k and the column v that determines it, one to one.

    Attributes
    ----------
    column, by : int
        The columns of k and of v.
    values : ndarray of shape (n_pairs,)
        Sorted values v.
    categories : ndarray of int of shape (n_pairs,)
        The category index k of each.
    by_category : bool
        Whether v are category indices too, which have no order.
    seen : ndarray of bool of shape (n_categories,)
        Codes (k - expected) mod n_categories that a row has.
    partners : ndarray of shape (n_categories,)
        The most frequent v of each category; NaN where no row has it.
    """

    column: int
    by: int
    values: NDArray[np.float64]
    categories: NDArray[np.int64]
    by_category: bool
    seen: NDArray[np.bool_]
    partners: NDArray[np.float64]

    @classmethod
    def find(
        cls, X: Array, column: int, size: int, by: int, by_size: int
    ) -> Self | None:
        """Return the pair if almost all rows say that there is one.

        ``size`` and ``by_size`` are the columns' numbers of categories, 0 of numbers.
        """
        if len(X) > 2 * SOME_ROWS and not cls._is_likely(X, column, size, by):
            return None
        both = ~np.isnan(X[:, column]) & ~np.isnan(X[:, by])
        k = X[both, column].astype(np.int64)
        values, categories, agreeing = _mutual(k, X[both, by], size)
        if len(agreeing) < 2 or agreeing.sum() < AGREEING_SHARE * len(k):
            return None
        if _evidence(agreeing) < LEAST_EVIDENCE:
            return None
        found = values.astype(np.float64), categories, by_size > 0
        v = X[both, by].astype(np.float64)
        partners = _most_frequent(k, v, size)
        pair = cls(column, by, *found, np.zeros(size, dtype=bool), partners)
        seen = np.bincount((k - pair.expected(v)) % size, minlength=size) > 0
        return cls(column, by, *found, seen, partners)

    @staticmethod
    def _is_likely(X: Array, column: int, size: int, by: int) -> bool:
        """Whether some of the rows speak for a pair, so that all are worth a look."""
        rows = X[:: len(X) // SOME_ROWS, [column, by]]
        rows = rows[~np.isnan(rows).any(axis=1)]
        agreeing = _mutual(rows[:, 0].astype(np.int64), rows[:, 1], size)[-1]
        return agreeing.sum() >= LIKELY_SHARE * len(rows)

    def expected(self, v: Array) -> NDArray[np.int64]:
        """Return the category of each value; of a number that is new, the nearest's.

        -1 for NaN, and 0 for a category that is new.
        """
        place = self._places(v)
        expected = self.categories[place]
        if self.by_category:
            expected = np.where(self.values[place] == v, expected, 0)
        return np.where(np.isnan(v), -1, expected)

    def _places(self, v: Array) -> NDArray[np.int64]:
        """Return the index of the value nearest to each v."""
        return np.searchsorted((self.values[1:] + self.values[:-1]) / 2, v).clip(
            max=len(self.values) - 1
        )

    def value_of(self, k: Array) -> NDArray[np.float64]:
        """Return the most frequent value of each category; NaN where it has none."""
        return self.partners[k.astype(np.int64)]

    def filled(self, X: Array) -> NDArray[np.bool_]:
        """Tell the rows where v is missing and its category says it."""
        k, v = X[:, self.column], X[:, self.by]
        known = np.isnan(v) & ~np.isnan(k)
        known[known] = ~np.isnan(self.value_of(k[known]))
        return known

    def fill(self, X: Array) -> None:
        """Write the value of its category in place of each missing v."""
        known = self.filled(X)
        X[known, self.by] = self.value_of(X[known, self.column])

    def log_width(self, v: Array) -> NDArray[np.float64]:
        """Return the log of the width of the stretch that is nearest to each value."""
        gaps = np.diff(self.values)
        widths = (np.r_[gaps[:1], gaps] + np.r_[gaps, gaps[-1:]]) / 2
        return np.log(widths)[self._places(v)]

    def recode(self, X: Array) -> None:
        """Write (k - expected) mod n in place of k, 0 where k is missing.

        NaN where v is missing.
        """
        k = X[:, self.column]
        expected = self.expected(X[:, self.by])
        offset = np.where(np.isnan(k), 0, k - expected) % len(self.seen)
        X[:, self.column] = np.where(expected < 0, np.nan, offset)

    def undo(self, X: Array) -> None:
        """Write k back; codes that no row had count as 0, which is the k expected.

        Numbers become the nearest that have a category.
        """
        code, v = X[:, self.column].astype(np.int64), X[:, self.by]
        expected = self.expected(v)
        if not self.by_category:
            X[:, self.by] = self.values[self._places(v)]
        X[:, self.column] = (expected + self.seen[code] * code) % len(self.seen)


def _mutual(
    k: NDArray[np.int64], v: Array, size: int
) -> tuple[Array, NDArray[np.int64], NDArray[np.int64]]:
    """Return values and categories that are the most frequent ones of each other.

    With the numbers of their rows; none where the values are too many.
    """
    values, place = np.unique(v, return_inverse=True)
    if len(values) > MAX_VALUES or not len(values):
        return values[:0], k[:0], k[:0]
    counts = np.bincount(place * size + k, minlength=len(values) * size)
    counts = counts.reshape(len(values), size)
    of_value, of_category = counts.argmax(axis=1), counts.argmax(axis=0)
    mutual = of_category[of_value] == np.arange(len(values))
    agreeing = counts[mutual, of_value[mutual]]
    return values[mutual], of_value[mutual], agreeing


def _evidence(agreeing: NDArray[np.int64]) -> float:
    r"""Return minus the log probability that two columns group rows alike by chance.

    That is the log of the number of partitions into groups of these sizes,
    :math:`n! / (\prod_i n_i! \prod_s m_s!)` with m groups of size s: 0 where each row
    has values of its own, as in columns of identifiers.
    """
    n_alike = np.bincount(agreeing)[1:]
    parts = gammaln(agreeing + 1).sum() + gammaln(n_alike + 1).sum()
    return float(gammaln(agreeing.sum() + 1) - parts)


def _most_frequent(k: NDArray[np.int64], v: Array, size: int) -> NDArray[np.float64]:
    """Return the most frequent v of each category; NaN where no row has it."""
    values, place = np.unique(v, return_inverse=True)
    counts = np.bincount(k * len(values) + place, minlength=size * len(values))
    counts = counts.reshape(size, len(values))
    return np.where(counts.any(axis=1), values[counts.argmax(axis=1)], np.nan)


class Determined:
    """The pairs of columns that determine each other, and a table without the second.

    A category is coded by its difference to the one that is expected, which is 0 in
    almost all rows: no information is lost, and next to nothing is left to be learnt.
    Where one of the columns has no entry, the other says it.

    Parameters
    ----------
    pairs : sequence of Pair
    """

    def __init__(self, pairs: Sequence[Pair] = ()) -> None:
        self.pairs = list(pairs)

    @classmethod
    def find(
        cls, X: Array, categories: Mapping[int, int], by_numbers: bool = True
    ) -> Self:
        """Find a pair for each column of categories, by numbers or earlier categories.

        Parameters
        ----------
        X : ndarray of shape (n, n_features)
            Numbers and category indices; NaN where missing.
        categories : mapping of int to int
            Columns of category indices, and their numbers of categories.
        by_numbers : bool, default=True
            Whether numbers may determine a column.
        """
        pairs: list[Pair] = []
        numbers = [j for j in range(X.shape[1]) if j not in categories and by_numbers]
        for column, size in categories.items():
            recoded = {pair.column for pair in pairs}
            earlier = [j for j in categories if j < column and j not in recoded]
            for by in numbers + earlier:
                pair = Pair.find(X, column, size, by, categories.get(by, 0))
                if pair is not None:
                    pairs.append(pair)
                    break
        return cls(pairs)

    def pseudo_rows(self) -> dict[int, float]:
        """Return the rows to be added to each category of the recoded columns."""
        return {p.column: PSEUDO_MISMATCHES / len(p.seen) for p in self.pairs}

    def recode(self, X: Array) -> Array:
        """Return the table with the codes of determined columns."""
        if not self.pairs:
            return X
        X = X.copy()
        for pair in self.pairs:
            pair.fill(X)
        for pair in self.pairs:
            pair.recode(X)
        return X

    def log_widths(self, X: Array) -> NDArray[np.float64]:
        """Return what makes densities of filled numbers probabilities, (n,), in nats.

        A row whose number is missing and whose category is known has the probability
        of the stretch around the category's value, not the density there.
        """
        total = np.zeros(len(X))
        for pair in self.pairs:
            if not pair.by_category:
                rows = pair.filled(X)
                total[rows] += pair.log_width(pair.value_of(X[rows, pair.column]))
        return total

    def undo(self, X: Array) -> Array:
        """Write the categories back into a recoded table, in place."""
        for pair in self.pairs:
            pair.undo(X)
        return X

    def reconcile(self, X: Array, missing: NDArray[np.bool_]) -> None:
        """Make both columns of a pair agree where both were missing in all rows."""
        for pair in self.pairs:
            if missing[pair.column] and missing[pair.by]:
                value = pair.value_of(X[:, pair.column])
                X[:, pair.by] = np.where(np.isnan(value), X[:, pair.by], value)

    def to_arrays(self) -> list[dict[str, Any]]:
        """Return the pairs as dicts of arrays and numbers."""
        return [asdict(pair) for pair in self.pairs]

    @classmethod
    def from_arrays(cls, arrays: Sequence[Mapping[str, Any]]) -> Self:
        """Return the pairs that `to_arrays` described."""
        return cls([Pair(**pair) for pair in arrays])
