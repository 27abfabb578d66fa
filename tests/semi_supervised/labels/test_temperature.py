"""Temperature scaling by held-out labels."""

import numpy as np
import pytest
from scipy.special import log_softmax

from skebm.semi_supervised.labels._temperature import (
    LOG_TEMPERATURE,
    fit_temperature,
    scale_by_own_temperature,
)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_the_temperature_of_known_logits_is_found(temperature):
    rng = np.random.RandomState(0)
    logits = 2 * rng.normal(size=(20_000, 3))
    noise = rng.gumbel(size=logits.shape)
    labels = (logits / temperature + noise).argmax(axis=1)
    log_prob = log_softmax(logits, axis=1)
    assert fit_temperature(log_prob, labels) == pytest.approx(temperature, rel=0.05)


def test_without_rows_the_temperature_is_that_of_the_prior():
    found = fit_temperature(np.zeros((0, 3)), np.zeros(0, dtype=int))
    assert found == pytest.approx(np.exp(LOG_TEMPERATURE), abs=1e-3)


def test_overconfident_predictions_get_the_frequency_with_which_they_are_right():
    labels, right = np.zeros(100, dtype=int), np.arange(100) < 65
    sure = np.where(right, 0.999, 0.001)
    scaled = scale_by_own_temperature(np.stack([sure, 1 - sure], axis=1), labels)
    assert np.median(scaled[right, 0]) == pytest.approx(0.65, abs=0.12)
