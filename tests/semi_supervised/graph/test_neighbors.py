"""The search for nearest rows: exact in small tables, nearly so in large ones."""

import numpy as np
import pytest
import torch

from skebm.semi_supervised.graph import _neighbors
from skebm.semi_supervised.graph._neighbors import Candidates, find_nearest, split_rows


def dense(Z, k):
    """Return distances and indices of the k nearest other rows, of all pairs."""
    distances = np.linalg.norm(Z[:, None] - Z[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    nearest = np.argsort(distances, axis=1)[:, :k]
    return np.take_along_axis(distances, nearest, axis=1), nearest


@pytest.mark.parametrize("most", [10_000, 200])
def test_nearest_rows_are_found_exactly_or_nearly_so(monkeypatch, most):
    """Six columns: trees of leaves of forty rows, then neighbours of neighbours."""
    monkeypatch.setattr(_neighbors, "MAX_EXACT", most)
    monkeypatch.setattr(_neighbors, "LEAF_ROWS", 40)
    Z = np.random.RandomState(0).normal(size=(1000, 6)).astype(np.float32)
    distances, neighbors = find_nearest(Z, 5, np.random.RandomState(1))
    expected, nearest = dense(Z.astype(float), 5)
    recall = (nearest[:, :, None] == neighbors[:, None]).any(axis=2).mean()
    assert recall == 1 if most > 1000 else recall > 0.95
    exact = np.linalg.norm(Z[:, None] - Z[neighbors], axis=2)
    np.testing.assert_allclose(distances, exact, rtol=1e-4)
    assert (np.diff(distances, axis=1) >= 0).all()
    assert (neighbors != np.arange(1000)[:, None]).all()
    assert (distances >= expected - 1e-4).all()


def test_rows_that_repeat_are_split_and_found(monkeypatch):
    monkeypatch.setattr(_neighbors, "MAX_EXACT", 100)
    monkeypatch.setattr(_neighbors, "LEAF_ROWS", 40)
    Z = np.repeat(np.random.RandomState(0).normal(size=(3, 2)), 300, axis=0)
    distances, neighbors = find_nearest(Z, 5, np.random.RandomState(0))
    assert (distances == 0).all()
    assert all(len(set(row)) == 5 for row in neighbors)
    rng = np.random.RandomState(0)
    leaves = list(split_rows(torch.from_numpy(Z), np.arange(900), rng))
    assert max(len(leaf) for leaf in leaves) <= 40
    np.testing.assert_array_equal(np.sort(np.concatenate(leaves)), np.arange(900))


def test_candidates_are_kept_once():
    Z = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    found = Candidates.none(4, 2)
    rows = torch.tensor([0])
    found.add(Z, rows, torch.tensor([[3, 1, 0]]))
    found.add(Z, rows, torch.tensor([[1, 2, 3]]))
    assert found.neighbors[0].tolist() == [1, 2]
    assert found.distances[0].tolist() == [1, 9]
