"""The outlier detector of a fitted model: scores, thresholds, p-values, arrays."""

import math

import numpy as np
import pytest
import torch

from skebm.evaluation import OOD_SCORES, ScoredModel, conformal_p_values
from skebm.evaluation.outliers._detector import (
    OutlierDetector,
    scores_to_fit,
    threshold,
)
from skebm.exceptions import CalibrationWarning
from skebm.networks import MLP, EnergyModel
from skebm.references import GaussianReference
from skebm.utils import make_generator

FREE = sorted(name for name, kind in OOD_SCORES.items() if kind.is_free)


def score_rows(function, rows):
    with torch.no_grad():
        return function(torch.from_numpy(rows)).double().numpy()


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(0).normal(size=(120, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def scored(rows):
    reference = GaussianReference().fit(
        torch.from_numpy(rows), weight=None, generator=make_generator(0)
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = EnergyModel(MLP(2, 1, hidden_features=(8,)).float(), reference)
    return ScoredModel(model, model.log_prob_unnormalized, model.energy)


def detector(scored, train, held_out, names):
    return OutlierDetector.fit(
        scored,
        train,
        held_out,
        names,
        seed=3,
        device="cpu",
        max_steps=5,
        score_rows=score_rows,
    )


def test_free_scores_are_always_prepared():
    assert sorted(scores_to_fit("log_density")) == FREE
    assert sorted(scores_to_fit("auto")) == sorted([*FREE, "auto"])


@pytest.mark.parametrize("name", ["log_density", "auto"])
@pytest.mark.parametrize("n_held_out", [40, 300])
def test_thresholds_and_p_values_are_those_of_calibration_rows(
    scored, rows, name, n_held_out
):
    """Held-out rows; where they are few, training rows as if left out, too."""
    held_out = np.tile(rows[80:], (8, 1))[:n_held_out]
    fitted = detector(scored, rows[:80], held_out, [name])
    score = fitted.score(name)
    scores = score_rows(lambda z: score(scored, z), held_out)
    if n_held_out < 300:
        again = [torch.from_numpy(x) for x in (rows[:80], held_out)]
        made = OOD_SCORES[name].fit(scored, *again, make_generator(3), 5)
        with torch.no_grad():
            left_out = made.left_out(scored, *again).numpy()
        scores = np.concatenate([scores, left_out])
    np.testing.assert_allclose(fitted.calibration[name], np.sort(scores))
    scores = fitted.calibration[name]
    assert fitted.threshold(name, 0.1) == np.quantile(scores, 0.1, method="weibull")
    assert fitted.threshold(name, "auto") == threshold(scores, "auto")
    expected = conformal_p_values(scores[:5], scores)
    np.testing.assert_array_equal(fitted.left_out(name).p_values(scores[:5]), expected)


@pytest.mark.parametrize("n_rows", [19, 45, 60, 1000])
def test_a_threshold_is_passed_by_its_share_on_average(n_rows):
    """Uniform scores: that below the threshold is the threshold; over many tables."""
    scores = np.random.default_rng(0).uniform(size=(20_000 // n_rows + 500, n_rows))
    found = [threshold(row, 0.05) for row in scores]
    error = np.std(found) / math.sqrt(len(found))
    assert np.mean(found) == pytest.approx(0.05, abs=4 * error)


def test_a_share_finer_than_the_rows_is_told():
    scores = {"log_density": np.arange(90.0)}
    fitted = OutlierDetector({"log_density": None}, scores, True)
    with pytest.warns(CalibrationWarning, match=r"contamination=0.001 .* 0\.011"):
        assert fitted.threshold("log_density", 0.001) == 0.0
    with pytest.warns(CalibrationWarning, match="1 / 91"):
        assert fitted.left_out("log_density").p_values([-1.0], 0.001) == [1 / 91]
    assert fitted.threshold("log_density", 1 / 91) == 0.0
    assert fitted.left_out("log_density").p_values([-1.0], 0.02) == [1 / 91]


def test_only_the_automatic_score_has_a_report(scored, rows):
    fitted = detector(scored, rows, None, ["log_density", "auto"])
    parts = fitted.report("auto").values()
    assert sum(part["weight"] for part in parts) == pytest.approx(1)
    for name in ("log_density", "tails"):
        with pytest.raises(AttributeError, match=f"'auto'; here it is '{name}'"):
            fitted.report(name)


def test_what_was_not_prepared_is_refused(scored, rows):
    fitted = detector(scored, rows, None, ["log_density"])
    for ask in (fitted.score, lambda name: fitted.threshold(name, "auto")):
        with pytest.raises(ValueError, match="ood_score='combined' is not ready"):
            ask("combined")
    with pytest.raises(ValueError, match="early_stopping=True"):
        fitted.left_out("log_density")


@pytest.mark.parametrize("name", OOD_SCORES)
def test_arrays_make_the_same_detector(scored, rows, name):
    fitted = detector(scored, rows[:80], rows[80:], [name])
    again = OutlierDetector.from_arrays(fitted.to_arrays())
    first, second = (
        score_rows(lambda z, one=one: one.score(name)(scored, z), rows)
        for one in (fitted, again)
    )
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(again.calibration[name], fitted.calibration[name])
    assert again.is_held_out
