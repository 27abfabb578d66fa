"""The values that columns can take, and the nearest of them."""

import numpy as np
import pytest

from skebm.tables import ValueSets

RNG = np.random.default_rng(0)
COUNTS = RNG.poisson(30, 400).astype(float)


def nearest(seen, drawn):
    """Return the values of one column nearest to the drawn ones."""
    sets = ValueSets.learn(np.asarray(seen, dtype=float)[:, None])
    return sets.nearest(np.asarray(drawn, dtype=float)[:, None])[:, 0].tolist()


@pytest.mark.parametrize(
    ("seen", "drawn", "expected"),
    [
        (COUNTS, [20.4, -3, 55.5], [20, COUNTS.min(), 56]),  # whole, none below zero
        (RNG.normal(size=99), [-9.5, 0.25], [-9.5, 0.25]),
        (RNG.exponential(size=99) + 0.5, [0.01, 7.5], [0.01, 7.5]),
        (-1 - RNG.exponential(size=99), [-0.5, -7.5], [-0.5, -7.5]),
        (np.linspace(0, 1, 99), [-0.1, 0.31, 1.2], [0, 0.31, 1]),
        (np.resize([1, 2.5, 7], 99), [-8, 1.9, 5, 99], [1, 2.5, 7, 7]),
        (np.maximum(COUNTS, 25), [3, 60], [25, 60]),  # rows pile up at 25
        (np.minimum(RNG.normal(size=400), 1), [3, -5], [1, -5]),
        (np.full(9, 3.5), [2, 9], [3.5, 3.5]),
        ([1, 2, 3, 4, 5], [1.4, 8.6], [1, 9]),  # too few rows to be codes
        ([0.3, 0.2, 0.1], [0.123, -1, 2], [0.123, 0.1, 0.3]),
    ],
)
def test_the_nearest_value_that_can_be(seen, drawn, expected):
    assert nearest(seen, drawn) == pytest.approx(expected)


def test_a_positive_column_stays_positive():
    seen = RNG.exponential(size=200)
    assert nearest(seen, [-2.0, 0.0, 1e-9]) == [seen.min(), seen.min(), 1e-9]
    assert nearest(np.r_[0.0, seen], [-2.0]) == [0.0]
    assert not np.signbit(nearest(COUNTS - COUNTS.min(), [-0.3]))[0]


def test_what_is_seen_is_kept_and_missing_stays_missing():
    real, share = RNG.normal(size=400), RNG.uniform(size=400)
    X = np.c_[COUNTS, real, np.resize([0, 1], 400), share]
    X[::3, 0] = X[1::3, 3] = np.nan
    sets = ValueSets.learn(X)
    np.testing.assert_array_equal(sets.nearest(X), X)
    again = ValueSets.from_arrays(sets.to_arrays())
    np.testing.assert_array_equal(again.nearest(X + 0.3), sets.nearest(X + 0.3))


def test_values_about_an_atom_are_its():
    amounts = RNG.gamma(3, size=200)
    seen = np.r_[np.zeros(200), amounts, -amounts]
    assert nearest(seen, [0.02, -0.02, 0.9, -0.9]) == [0, 0, 0.9, -0.9]
    found = np.array(nearest(seen, seen))
    assert ((found == 0) != (seen == 0)).sum() <= 10  # a twentieth of the zeros


def test_columns_that_are_free_take_any_value():
    X = np.c_[COUNTS, COUNTS]
    drawn = ValueSets.learn(X, free=[1]).nearest(np.array([[3.5, 3.25]]))
    assert drawn.tolist() == [[4.0, 3.25]]


@pytest.mark.parametrize(
    ("seen", "more", "drawn", "expected"),
    [
        (COUNTS, [0.5], [20.4], [20.4]),  # no longer whole
        (COUNTS, [np.nan], [20.4], [20]),
        (COUNTS, [-4.0], [-3.2], [-3]),  # still whole, no longer positive
        (np.maximum(COUNTS, 25), [22.0, 30.0], [23.2], [23]),
        (np.maximum(COUNTS, 25), [26.0, 30.0], [23.2], [25]),
        (np.linspace(0, 1, 99), [1.5], [-0.1, 1.3], [0, 1.3]),
        (np.linspace(0, 1, 99), [0.5], [-0.1, 1.3], [0, 1]),
        (np.resize([1, 2.5, 7], 99), [1.0, 2.5], [2.1, 4], [2.5, 2.5]),
        (np.resize([1, 2.5, 7], 99), [4.5] * 9, [4.1, 8], [4.5, 7]),
        (np.resize([1, 2.5, 7], 99), np.linspace(1, 9, 30), [4.1, 9.5], [4.1, 9.5]),
    ],
)
def test_later_rows_bring_their_values(seen, more, drawn, expected):
    column = np.asarray(seen, dtype=float)[:, None]
    sets = ValueSets.learn(np.repeat(column, 2, axis=1), free=[1])
    merged = sets.merged(np.c_[more, more])
    both = np.repeat(np.array(drawn, dtype=float)[:, None], 2, axis=1)
    found = merged.nearest(both)
    assert found[:, 0].tolist() == pytest.approx(expected)
    np.testing.assert_array_equal(found[:, 1], drawn)  # categories stay free


@pytest.mark.parametrize(
    ("seen", "possible", "impossible", "words"),
    [
        (COUNTS, [1, 999], [1.5, 0], "whole numbers above 0"),
        (COUNTS * 0.5 - 15, [0.3, -7], [], "numbers"),
        (np.maximum(COUNTS, 25) / 2, [12.5], [12.25], "numbers from 12.5"),
        (np.linspace(0, 1, 99), [0, -1e-12, 1], [-1e-3, 1.001], "numbers from 0 to 1"),
        (-COUNTS - 0.5, [-0.1], [0, 1], "numbers below 0"),
        (np.resize([1, 2.5, 7], 99), [1, 2.5], [2, 8], "1, 2.5 and 7"),
        (np.float32(np.resize([0.1, 0.7], 99)), [0.1], [0.2], "0.1 and 0.7"),
    ],
)
def test_impossible_values_are_told(seen, possible, impossible, words):
    sets = ValueSets.learn(np.asarray(seen)[:, None])
    X = np.array([*possible, *impossible, np.nan], dtype=float)[:, None]
    expected = [False] * len(possible) + [True] * len(impossible) + [False]
    assert sets.impossible(X)[:, 0].tolist() == expected
    assert sets.described(0) == words
