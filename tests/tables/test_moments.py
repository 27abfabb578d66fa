"""Moments of large tables: exact, and without a copy of the table."""

import tracemalloc

import numpy as np
import pytest

from skebm.tables import TableEncoder
from skebm.tables._moments import Moments

N_ROWS = 40_000


def table(order="C", dtype=np.float64):
    rng = np.random.RandomState(0)
    X = rng.normal(3, 2, size=(N_ROWS, 20))
    X[:, 0] = rng.randint(4, size=N_ROWS)
    X[:, 2] = np.where(rng.uniform(size=N_ROWS) < 0.5, 0, X[:, 2])
    return np.asarray(X, dtype=dtype, order=order)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("share_missing", [0, 0.2])
def test_moments_of_a_line_are_those_of_the_moved_table(order, dtype, share_missing):
    """To the bit: rounding must not depend on where rows are moved."""
    X, rng = table(order, dtype), np.random.RandomState(1)
    X[rng.uniform(size=X.shape) < share_missing] = np.nan
    weight = rng.uniform(0.5, 2, N_ROWS)

    def to_line(rows):
        return rows.astype(np.float64) + (rows > 1)

    one = Moments.of(X, weight, to_line=to_line)
    other = Moments.of(to_line(X), weight)
    np.testing.assert_array_equal(one.mean, other.mean)
    np.testing.assert_array_equal(one.spread, other.spread)
    np.testing.assert_array_equal(one.varies, other.varies)
    expected = np.ma.average(np.ma.masked_invalid(to_line(X)), axis=0, weights=weight)
    np.testing.assert_allclose(one.mean, expected, rtol=1e-10)


@pytest.mark.parametrize(
    "options",
    [{}, {"range_share": 0.5}, {"categories": [(0, 4)]}, {"find_atoms": True}],
    ids=str,
)
def test_fit_and_encode_copy_no_table(options):
    X = table()
    tracemalloc.start()
    encoder = TableEncoder.fit(X, **options)
    peak_of_fit = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    z = encoder.encode(X)
    peak_of_encode = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_of_fit < 0.8 * X.nbytes
    assert peak_of_encode < 1.5 * X.nbytes
    assert z.nbytes == X.nbytes / 2
