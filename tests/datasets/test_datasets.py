"""Toy densities: the log density is that of the draws."""

import numpy as np
import pytest

from skebm.datasets import Checkerboard, Funnel, GaussianRing, TwoRings


@pytest.mark.parametrize(
    "toy", [GaussianRing(), TwoRings(), Checkerboard(), Funnel(scale=1.0)]
)
def test_density_integrates_to_one_and_predicts_the_draws(toy):
    X = toy.sample(40_000, random_state=0)
    low, high = X.min(axis=0) - 0.3 * np.ptp(X), X.max(axis=0) + 0.3 * np.ptp(X)
    x, y = (np.linspace(a, b, 1201)[:-1] + 1e-6 for a, b in zip(low, high, strict=True))
    grid = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1)
    density = np.exp(toy.score_samples(grid.reshape(-1, 2))).reshape(1200, 1200)
    mass = density * (x[1] - x[0]) * (y[1] - y[0])
    assert mass.sum() == pytest.approx(1, abs=0.01)
    coarse = mass.reshape(12, 100, 12, 100).sum(axis=(1, 3))
    edges = [np.append(x[::100], high[0]), np.append(y[::100], high[1])]
    counts = np.histogram2d(*X.T, bins=edges)[0]
    np.testing.assert_allclose(counts / len(X), coarse, atol=0.01)


def test_modes_of_the_ring_are_even_and_known():
    ring = GaussianRing()
    X = ring.sample(8000, random_state=0)
    share = np.bincount(ring.nearest_mode(X), minlength=8) / len(X)
    assert share.min() > 0.11 and share.max() < 0.14
    assert np.linalg.norm(X.mean(axis=0) - (100, -50)) < 1.5
