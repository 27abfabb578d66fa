import numpy as np
import pytest
from scipy.special import expit

from skebm.semi_supervised.labels._class_shares import PRIOR_WEIGHT, ClassShares

EVEN = np.array([0.5, 0.5])


def draw_posteriors(n_rows, share, rng, distance=2.0):
    """Return p(y | x) for even classes of two normals, and the classes of the rows."""
    y = (rng.rand(n_rows) < share).astype(int)
    x = rng.randn(n_rows) + distance * (y - 0.5)
    second = expit(distance * x)
    return np.stack([1 - second, second], axis=1), y


def draw_shares(share, rng, n_labels=40):
    unlabeled, _ = draw_posteriors(1000, share, rng)
    held_out, labels = draw_posteriors(n_labels, 0.5, rng)
    return ClassShares.estimate(unlabeled, held_out, labels, EVEN, rng)


def test_sure_predictions_are_counted_and_shrunk_to_the_labels():
    sure = np.eye(2)[(np.arange(100) % 10 == 0).astype(int)]
    counted = sure.mean(axis=0)
    labels = np.array([0, 0, 1, 1])
    found = ClassShares.estimate(
        sure, np.eye(2)[labels], labels, EVEN, np.random.RandomState(0)
    )
    expected = (counted + PRIOR_WEIGHT * EVEN) / (1 + PRIOR_WEIGHT)
    np.testing.assert_allclose(found.shares, expected, atol=1e-4)


def test_weights_of_labels_in_training_do_not_move_the_shares():
    """Posteriors for even classes, and for classes weighed one to nine: one answer."""
    rng = np.random.RandomState(0)
    even, _ = draw_posteriors(500, 0.3, rng)
    held_out, labels = draw_posteriors(40, 0.5, rng)
    trained = np.array([0.1, 0.9])
    weighed = even * trained
    weighed /= weighed.sum(axis=1, keepdims=True)
    plain, other = (
        ClassShares.estimate(p, held_out, labels, EVEN, np.random.RandomState(0), t)
        for p, t in ((even, None), (weighed, trained))
    )
    np.testing.assert_allclose(other.shares, plain.shares, atol=1e-4)


def test_shares_are_near_those_of_the_rows():
    rng = np.random.RandomState(0)
    shares = [draw_shares(0.1, rng).shares[1] for _ in range(10)]
    assert np.mean(shares) == pytest.approx(0.1, abs=0.1)
    assert max(shares) < 0.3


@pytest.mark.parametrize("share", [0.1, 0.5, 0.7])
def test_intervals_cover_the_shares_and_say_something(share):
    rng = np.random.RandomState(1)
    ends = np.array([draw_shares(share, rng).interval[1] for _ in range(30)])
    covered = (ends[:, 0] <= share) & (share <= ends[:, 1])
    assert covered.mean() >= 0.8
    assert np.ptp(ends, axis=1).mean() < 0.7


def test_more_labels_make_the_interval_narrower():
    rng = np.random.RandomState(2)
    few, many = (
        np.mean([np.ptp(draw_shares(0.3, rng, n).interval[1]) for _ in range(8)])
        for n in (10, 400)
    )
    assert many < 0.7 * few


def test_without_evidence_the_interval_is_all_and_with_all_labels_nothing():
    np.testing.assert_array_equal(ClassShares.unknown(EVEN).interval, [[0, 1], [0, 1]])
    np.testing.assert_array_equal(
        ClassShares.exact(np.array([0.2, 0.8])).interval, [[0.2, 0.2], [0.8, 0.8]]
    )
