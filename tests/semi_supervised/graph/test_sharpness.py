"""How sure soft labels should be."""

import numpy as np
import pytest

from skebm.semi_supervised.graph import _graph
from skebm.semi_supervised.graph._prior_classifier import LABEL_NOISE
from skebm.semi_supervised.graph._sharpness import (
    MAX_SHARPNESS,
    fit_sharpness,
    sharpen,
)


def flattened(power, n=20_000, seed=0):
    """Return probabilities to the power of 1 / power, and labels drawn from them."""
    rng = np.random.RandomState(seed)
    true = rng.dirichlet([0.2, 0.2, 0.2], size=n)
    labels = (true.cumsum(axis=1) < rng.uniform(size=(n, 1))).sum(axis=1)
    noisy = rng.uniform(size=n) < LABEL_NOISE
    labels = np.where(noisy, rng.randint(3, size=n), labels)
    return sharpen(true, 1 / power), labels


@pytest.mark.parametrize("power", [1.0, 2.0, 8.0])
def test_the_power_that_was_taken_is_found(power):
    soft, labels = flattened(power)
    assert fit_sharpness(soft, labels) == pytest.approx(power, rel=0.1)


def test_powers_end_where_labels_are_few_or_all_right():
    assert fit_sharpness(np.empty((0, 3)), np.empty(0, int)) == pytest.approx(1, 0.01)
    soft = np.full((4000, 2), [0.51, 0.49])
    assert fit_sharpness(soft, np.zeros(4000, int)) > 0.95 * MAX_SHARPNESS
    assert fit_sharpness(soft, np.arange(4000) % 2) == pytest.approx(1, abs=0.01)


def test_sharp_labels_keep_their_order_and_sum_to_one():
    soft = np.array([[0.5, 0.3, 0.2], [1.0, 0.0, 0.0], [1e-300, 0.5, 0.5]])
    sharp = sharpen(soft, 30.0)
    np.testing.assert_allclose(sharp.sum(axis=1), 1)
    np.testing.assert_array_equal(sharp[1], [1, 0, 0])
    np.testing.assert_allclose(sharp[2], [0, 0.5, 0.5])
    np.testing.assert_allclose(sharp[0], soft[0] ** 30 / (soft[0] ** 30).sum())


@pytest.mark.parametrize("n_labels", [2, 20])
def test_soft_labels_of_a_large_graph_are_sharpened(n_labels, monkeypatch):
    rng = np.random.RandomState(0)
    y = np.arange(600) % 2
    Z = (rng.normal(size=(600, 20)) + y[:, None]).astype(np.float32)
    few = np.where(np.arange(600) < n_labels, y, -1)
    monkeypatch.setattr(_graph, "MAX_PILOT_ROWS", 300)
    graph = _graph.build(Z, few, np.arange(600), 2, rng)
    assert graph.sharpness > 1
    soft = graph.of_versions([few]).soft_labels[:, 0].numpy()
    flat = _graph.replace(graph, sharpness=1.0).of_versions([few])
    flat = flat.soft_labels[:, 0].numpy()
    np.testing.assert_array_equal(soft.argmax(axis=1), flat.argmax(axis=1))
    hidden = few < 0
    truth = np.arange(600)[hidden], y[hidden]
    assert np.log(soft[truth]).mean() > np.log(flat[truth]).mean()
