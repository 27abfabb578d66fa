"""Columns of categories and the columns that determine them."""

import numpy as np
import pytest

from skebm.tables import TableEncoder
from skebm.tables._determined import Determined

RNG = np.random.default_rng(0)
CODES = RNG.integers(0, 4, 300)
CATEGORIES = np.array([2, 0, 3, 1])[CODES].astype(float)
NUMBERS = 10.0 * (1 + CODES)
REAL = RNG.normal(size=300)
ALIKE = {1: 4}


def table(*columns):
    return np.stack(columns, axis=1).astype(float)


def punched(X, share=0.2):
    holes = X.copy()
    holes[np.random.default_rng(1).uniform(size=X.shape) < share] = np.nan
    return holes


def pairs(X, categories):
    return [(p.column, p.by) for p in Determined.find(X, categories).pairs]


@pytest.mark.parametrize(
    ("columns", "categories", "expected"),
    [
        ((NUMBERS, CATEGORIES), {1: 4}, [(1, 0)]),
        ((CATEGORIES, REAL, NUMBERS), {0: 4}, [(0, 2)]),
        ((CODES, CATEGORIES, REAL), {0: 4, 1: 4}, [(1, 0)]),
        ((CODES, CATEGORIES, NUMBERS), {0: 4, 1: 4}, [(0, 2), (1, 2)]),
        ((NUMBERS, NUMBERS), {}, []),  # numbers have a density each
        ((NUMBERS, CATEGORIES // 2), {1: 2}, []),  # numbers say more
        ((NUMBERS // 20, CATEGORIES), {1: 4}, []),  # and less
        ((RNG.permutation(NUMBERS), CATEGORIES), {1: 4}, []),
        ((REAL, np.arange(300)), {1: 300}, []),  # each row has a value of its own
        ((REAL[:120], np.arange(120)), {1: 120}, []),
        ((NUMBERS[:9], CATEGORIES[:9]), {1: 4}, []),  # may be by chance
        ((np.arange(300) == 7, np.arange(300) == 7), {1: 2}, []),
    ],
)
def test_pairs_that_determine_each_other(columns, categories, expected):
    X = table(*columns)
    assert pairs(X, categories) == expected
    assert pairs(punched(X, 0.05), categories) == expected


def test_pairs_of_a_large_table():
    X = np.tile(table(NUMBERS, CATEGORIES, RNG.permutation(CATEGORIES)), (20, 1))
    assert pairs(X, {1: 4, 2: 4}) == [(1, 0)]


def test_a_few_rows_may_differ():
    X = table(NUMBERS, CATEGORIES)
    X[:2, 1] = (X[:2, 1] + 1) % 4
    assert pairs(X, ALIKE) == [(1, 0)]
    X[:6, 1] = (table(NUMBERS, CATEGORIES)[:6, 1] + 1) % 4
    assert pairs(X, ALIKE) == []


def test_one_fills_the_other_and_what_is_seen_is_kept():
    X = table(NUMBERS, CATEGORIES, REAL)
    X[0, 1] = (X[0, 1] + 1) % 4
    determined = Determined.find(X, ALIKE)
    recoded = determined.recode(X)
    assert (recoded[1:, 1] == 0).all() and recoded[0, 1] == 1
    np.testing.assert_array_equal(determined.undo(recoded), X)
    holes = X[1:].copy()
    holes[::2, 0], holes[1::2, 1] = np.nan, np.nan
    np.testing.assert_array_equal(determined.undo(determined.recode(holes)), X[1:])
    again = Determined.from_arrays(determined.to_arrays())
    np.testing.assert_array_equal(again.recode(X), determined.recode(X))


def test_a_new_number_counts_as_the_nearest():
    determined = Determined.find(table(NUMBERS, CATEGORIES), ALIKE)
    X = np.array([[1e6, np.nan], [-3.0, np.nan], [21.0, np.nan]])
    found = determined.undo(determined.recode(X))
    assert found[:, 1].tolist() == [1, 2, 0]


def test_the_encoder_leaves_no_trace_of_it():
    """z of the determined column is noise; the other columns are as without it."""
    X = table(NUMBERS, CATEGORIES, REAL)
    encoder = TableEncoder.fit(X, categories=[(1, 4)])
    without = TableEncoder.fit(X[:, [0, 2]])
    z = encoder.encode(X)
    np.testing.assert_array_equal(z[:, [0, 2]], without.encode(X[:, [0, 2]]))
    assert np.ptp(z[:, 1]) == 0
    np.testing.assert_allclose(encoder.draws(z), X, atol=1e-6)
    again = TableEncoder.from_arrays(encoder.to_arrays())
    np.testing.assert_array_equal(again.encode(X), z)
    filled = encoder.fills(np.array([22.0, 3.0]), np.array([True, True, False]))
    assert filled.tolist() == [30.0, 3.0]


def test_a_category_without_a_partner_keeps_its_code_where_the_value_is_missing():
    rare = CATEGORIES.copy()
    rare[:2] = 4.0  # shares the values of others
    X = table(NUMBERS, rare)
    found = Determined.find(X, {1: 5})
    row = found.recode(np.array([[np.nan, 4.0], [np.nan, CATEGORIES[5]]]))
    assert row[0, 0] in NUMBERS[:2] and row[0, 1] != 0
    assert row[1].tolist() == [NUMBERS[5], 0]


def test_numbers_are_filled_before_any_category_is_recoded():
    X = table(CODES, CATEGORIES, NUMBERS)
    found = Determined.find(X, {0: 4, 1: 4})
    assert len(found.pairs) == 2
    rows = np.array([[np.nan, CATEGORIES[0], np.nan]])
    assert found.undo(found.recode(rows))[0].tolist() == X[0].tolist()


def test_numbers_may_be_kept_from_determining_categories():
    X = table(NUMBERS, CATEGORIES)
    encoder = TableEncoder.fit(X, categories=[(1, 4)], numbers_determine=False)
    assert not encoder.determined.pairs
