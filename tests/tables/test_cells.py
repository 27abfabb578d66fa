"""Quantization cells: their masses against exact integrals, and points in them."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from skebm.tables import Cells, Intervals

SHARES = np.array([0.5, 0.3, 0.15, 0.05])


def cells_of(*shares):
    intervals = [Intervals.of_categories(np.asarray(share)) for share in shares]
    return Cells(range(len(shares)), intervals)


def midpoints(cells, indices):
    indices = np.asarray(indices)
    return torch.from_numpy(cells.midpoints(np.zeros(indices.shape), indices))


def test_cells_share_out_the_normal_density():
    cells = cells_of(SHARES)
    mass = cells.log_mass(lambda z: torch.from_numpy(norm.logpdf(z[:, 0])))
    z = midpoints(cells, [[0], [1], [2], [3]])
    np.testing.assert_allclose(mass(z), np.log(SHARES), atol=1e-6)
    points = cells.redraw(z.repeat(5000, 1), torch.Generator().manual_seed(0))
    indices = cells.indices(points.numpy())
    np.testing.assert_array_equal(indices[:, 0], np.tile(range(4), 5000))
    weighted = points.reshape(5000, 4) @ torch.tensor(SHARES)
    assert abs(weighted.mean()) < 0.02


@pytest.mark.parametrize("n_columns", [1, 2, 3, 6])
def test_the_mass_of_a_cell_is_its_integral(n_columns):
    """Of a normal density moved and widened, whose integrals are known."""
    cells = cells_of(*[SHARES] * n_columns)
    place, scale = 0.5, 1.1

    def log_density(z):
        return torch.from_numpy(norm.logpdf(z, place, scale).sum(axis=1))

    indices = np.random.RandomState(0).randint(4, size=(40, n_columns))
    ends = np.concatenate([[-np.inf], norm.ppf(np.cumsum(SHARES)[:-1]), [np.inf]])
    share = np.diff(norm.cdf(ends, place, scale))
    expected = np.log(share[indices]).sum(axis=1)
    mass = cells.log_mass(log_density)(midpoints(cells, indices))
    tolerance = {1: 0.001, 2: 0.02, 3: 0.06, 6: 0.15}[n_columns]
    np.testing.assert_allclose(mass, expected, atol=tolerance)


def test_tiny_cells_hold_their_points():
    """A category of one row in a million, wherever its cell lies."""
    share = np.full(1000, 1e-6)
    share[[3, 500, -1]] = (1 - share.sum()) / 3 + 1e-6
    cells = cells_of(share)
    z = midpoints(cells, np.arange(1000)[:, None]).float()
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        indices = cells.indices(cells.redraw(z, generator).numpy())
        np.testing.assert_array_equal(indices[:, 0], range(1000))
