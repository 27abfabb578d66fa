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
