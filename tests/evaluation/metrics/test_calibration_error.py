"""The calibration error against closed forms."""

import numpy as np
import pytest
from scipy.integrate import quad

from skebm.evaluation import expected_calibration_error


def two_classes(confidence):
    confidence = np.asarray(confidence)
    return np.stack([confidence, 1 - confidence], axis=1)


def test_shares_that_are_right_exactly_cost_nothing():
    confidence = np.repeat([0.6, 0.7, 0.8, 0.9], 10)
    wrong = np.concatenate([np.arange(10) >= n for n in (6, 7, 8, 9)])
    error = expected_calibration_error(wrong.astype(int), two_classes(confidence))
    assert error == pytest.approx(0, abs=1e-12)


def test_bins_by_hand():
    """Four rows a bin; right are 2 of 4 at 0.6, then 4 of 4 at 0.9."""
    y = np.array([0, 0, 1, 1, 0, 0, 0, 0])
    probability = two_classes(np.repeat([0.6, 0.9], 4))
    assert expected_calibration_error(y, probability, 2) == pytest.approx(
        0.5 * abs(0.5 - 0.6) + 0.5 * abs(1.0 - 0.9)
    )
    # In one bin the two cancel.
    assert expected_calibration_error(y, probability, 1) == pytest.approx(0)


def test_rows_of_equal_confidence_share_a_bin_whatever_their_order():
    rng = np.random.default_rng(0)
    y, probability = rng.integers(2, size=300), np.full((300, 2), [0.8, 0.2])
    expected = abs((y == 0).mean() - 0.8)
    assert expected_calibration_error(y, probability) == pytest.approx(expected)
    assert expected_calibration_error(np.sort(y), probability) == pytest.approx(
        expected
    )


def drawn(n_rows, sharpness):
    """Draw labels by p, uniform on (0.5, 1); return them and sharpened probabilities.

    The logit of p is multiplied, so that the limit of the error is known.
    """
    rng = np.random.default_rng(1)
    p = rng.uniform(0.5, 1, size=n_rows)
    y = (rng.uniform(size=n_rows) > p).astype(int)
    told = p**sharpness / (p**sharpness + (1 - p) ** sharpness)
    return y, two_classes(told)


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_the_limit_of_a_known_miscalibration(sharpness):
    """E |told - p| over p uniform on (0.5, 1), of one sign: bins add nothing."""

    def gap(p):
        told = p**sharpness / (p**sharpness + (1 - p) ** sharpness)
        return 2 * abs(told - p)

    n_rows = 200_000
    found = expected_calibration_error(*drawn(n_rows, sharpness))
    # The noise of a calibrated bin, at most sqrt(15 / n) in all.
    assert found == pytest.approx(quad(gap, 0.5, 1)[0], abs=np.sqrt(15 / n_rows) / 2)


def test_the_noise_of_few_rows_is_the_one_documented():
    rng = np.random.default_rng(2)
    n_rows, accuracy = 1500, 0.8
    errors = []
    for _ in range(300):
        confidence = accuracy + 1e-9 * rng.uniform(size=n_rows)  # 15 bins of 100
        y = (rng.uniform(size=n_rows) > accuracy).astype(int)
        errors.append(expected_calibration_error(y, two_classes(confidence)))
    expected = np.sqrt(2 * accuracy * (1 - accuracy) / (np.pi * 100))
    standard_error = np.std(errors) / np.sqrt(len(errors))
    assert np.mean(errors) == pytest.approx(expected, abs=4 * standard_error)


def test_labels_are_those_of_the_columns():
    probability = [[0.9, 0.05, 0.05], [0.05, 0.9, 0.05]]
    names = ["ant", "bee", "cat"]
    right = expected_calibration_error(["ant", "bee"], probability, classes=names)
    assert right == pytest.approx(0.1)
    wrong = expected_calibration_error(["cat", "cat"], probability, classes=names)
    assert wrong == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("y", "probability", "options", "message"),
    [
        ([0, 2], [[0.5, 0.5]] * 2, {}, r"'y'.*\[0, 1\]. Got 2"),
        ([0], [[0.5, 0.5]] * 2, {}, "'y' must hold 2"),
        ([0, 1], [0.5, 0.5], {}, "'probability'.*shape"),
        ([0, 1], [[0.9, 0.5]] * 2, {}, "'probability'.*sums from 1.4"),
        ([0, 1], [[np.nan, 0.5]] * 2, {}, "'probability'"),
        ([0, 1], [[0.5, 0.5]] * 2, {"n_bins": 0}, "'n_bins'"),
    ],
)
def test_bad_input_is_named(y, probability, options, message):
    with pytest.raises(ValueError, match=message):
        expected_calibration_error(y, probability, **options)
