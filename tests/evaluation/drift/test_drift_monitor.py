"""Streams of batches: the p-value holds at any time, and a change is told."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest

from skebm.evaluation import DriftMonitor
from skebm.evaluation.drift._monitor import POWERS, bet, smoothed_p_value


def test_the_capital_is_a_martingale():
    start = np.full(len(POWERS), 1 / len(POWERS))
    # midpoints in log p, weighed by p: the integral of the capital over p
    log_p, width = np.linspace(-400, 0, 400_000, retstep=True)
    grown = start * POWERS * np.exp(np.outer(log_p, POWERS)) * width
    assert grown.sum() == pytest.approx(1, abs=1e-3)
    assert bet(start, 0.3).sum() == pytest.approx(
        (start * POWERS * 0.3 ** (POWERS - 1)).sum()
    )


def test_streams_without_drift_rarely_raise_an_alarm():
    rng = np.random.RandomState(0)
    alarms = 0
    for _ in range(400):
        capitals, largest = np.full(len(POWERS), 1 / len(POWERS)), 1.0
        for p in rng.uniform(size=40):
            capitals = bet(capitals, p)
            largest = max(largest, capitals.sum())
        alarms += largest >= 10
    assert alarms <= 60  # a share of 0.1, and three deviations


def test_ties_are_broken_at_random():
    rng = np.random.RandomState(0)
    statistics = rng.randint(3, size=(2000, 8)).astype(float)
    found = [smoothed_p_value(row, rng) for row in statistics]
    assert kstest(found, "uniform").pvalue > 0.001


def test_a_change_is_told_late_in_a_stream():
    rng = np.random.RandomState(0)

    def batch(n, shift=0.0):
        words = rng.choice(["u", "v"], n)
        return pd.DataFrame({"a": rng.normal(shift, 1, n), "b": words})

    monitor = DriftMonitor(batch(100), n_permutations=199, random_state=0)
    assert monitor.columns is None and monitor.p_value == 1
    for _ in range(8):
        monitor.update(batch(20))
    assert monitor.p_value > 0.05
    for _ in range(3):
        last = monitor.update(batch(20, shift=1.5)[["b", "a"]])
    assert last == monitor.p_value < 0.01
    assert monitor.columns.index[0] == "a"
    assert len(monitor.batch_p_values) == 11
    before = monitor.p_value
    monitor.update(batch(20))
    assert monitor.p_value <= before  # evidence is not taken back


def test_batches_of_other_columns_are_refused():
    monitor = DriftMonitor(np.zeros((4, 2)))
    with pytest.raises(ValueError, match="same columns"):
        monitor.update(np.zeros((4, 3)))
    with pytest.raises(ValueError, match="'n_permutations'"):
        DriftMonitor(np.zeros((4, 2)), n_permutations=0)


def test_one_row_repeated_is_no_drift_however_often():
    monitor = DriftMonitor(np.ones((50, 2)), n_permutations=99, random_state=0)
    p_values = [monitor.update(np.ones((20, 2))) for _ in range(6)]
    assert p_values == [1.0] * 6


def test_rows_are_copied_bounded_and_checked_at_once():
    rng = np.random.RandomState(0)
    old = pd.DataFrame({"x": rng.normal(size=60)})
    monitor = DriftMonitor(old, n_permutations=19, max_rows=80, random_state=0)
    old["x"] = 5.0
    for _ in range(5):
        p_value = monitor.update(pd.DataFrame({"x": rng.normal(size=30)}))
    assert p_value > 0.05
    assert len(monitor._rows) == 80
    with pytest.raises(ValueError, match="X_old contains infinity"):
        DriftMonitor(np.full((5, 2), np.inf))
