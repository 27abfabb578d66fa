"""Tables of few labels."""

import numpy as np
import pytest


@pytest.fixture
def uneven_blobs():
    """Two classes, 7 % of rows in the second, and ten labels of each; by a seed."""

    def draw(seed, separation=3.0):
        rng = np.random.RandomState(seed)
        y = (rng.uniform(size=600) < 0.07).astype(int)
        X = rng.normal(size=(600, 4))
        X[:, 0] += separation * y
        few = np.full(600, -1)
        for k in (0, 1):
            few[rng.choice(np.flatnonzero(y == k), 10, replace=False)] = k
        return X.astype(np.float32), y, few

    return draw


@pytest.fixture
def lines():
    """Two classes by the sign of a thin column; a wide one has four clusters."""

    def draw(n_rows):
        rng = np.random.RandomState(0)
        y = np.arange(n_rows) % 2
        X = np.empty((n_rows, 2))
        X[:, 0] = 8 * rng.randint(4, size=n_rows) + rng.normal(size=n_rows)
        X[:, 1] = (2 * y - 1) * rng.uniform(0.05, 1, size=n_rows)
        return X, y

    return draw
