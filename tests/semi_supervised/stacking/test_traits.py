"""What a table is like."""

import numpy as np
import pytest

from skebm.semi_supervised.stacking._traits import (
    CLUSTERS,
    CLUSTERS_ALONE,
    LEAST_SUPERVISED,
    MOST_SUPERVISED,
    TableTraits,
)


def of_line(n_columns, noise, n=1500):
    """Return columns that follow one hidden number."""
    rng = np.random.RandomState(0)
    hidden = rng.uniform(-1, 1, size=(n, 1))
    x = np.sin(3 * hidden + np.arange(n_columns)) + noise * rng.normal(
        size=(n, n_columns)
    )
    return ((x - x.mean(axis=0)) / x.std(axis=0)).astype(np.float32)


def test_nearest_rows_explain_nothing_of_independent_columns():
    x = np.random.RandomState(0).normal(size=(1500, 40)).astype(np.float32)
    traits = TableTraits.measure(x, 0)
    assert traits.explained == pytest.approx(0, abs=0.02)
    assert traits.suits_graph < 0.1
    assert traits.clusters > 0.6 * CLUSTERS_ALONE


def test_nearest_rows_explain_all_but_the_noise():
    traits = TableTraits.measure(of_line(200, 0.5), 0)
    x = np.sin(3 * np.linspace(-1, 1, 1000)[:, None] + np.arange(200))
    signal = np.mean(1 - 0.25 / (x.var(axis=0) + 0.25))
    assert traits.explained == pytest.approx(signal, abs=0.02)
    assert traits.suits_graph > 0.8
    assert traits.supervised(0.0) < LEAST_SUPERVISED + 0.2


def test_few_columns_suit_supervised_learners():
    traits = TableTraits.measure(of_line(5, 0.0), 0)
    assert traits.explained > 0.9
    assert traits.supervised(0.5) > MOST_SUPERVISED - 0.05
    assert traits.clusters == pytest.approx(CLUSTERS, abs=1e-3)


def test_stable_labels_suit_the_graph_in_any_table():
    span = MOST_SUPERVISED - LEAST_SUPERVISED
    few, many = TableTraits(5, 0.5), TableTraits(300, 0.9)
    assert few.supervised(0.99) == pytest.approx(MOST_SUPERVISED - span / 2)
    assert few.supervised(0.79) > MOST_SUPERVISED - 0.05 > few.supervised(0.9)
    assert many.supervised(0.99) == many.supervised(0.0)


@pytest.mark.parametrize("shape", [(1500, 1), (4, 6), (20, 2)])
def test_little_to_measure(shape):
    x = np.random.RandomState(0).normal(size=shape).astype(np.float32)
    traits = TableTraits.measure(x, 0)
    assert np.isfinite(traits.explained)
    assert TableTraits.measure(np.zeros(shape, np.float32), 0).explained == 0
