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
    assert sorted(scores_to_fit("combined")) == sorted([*FREE, "combined"])


@pytest.mark.parametrize("name", ["log_density", "combined"])
def test_thresholds_and_p_values_are_those_of_held_out_rows(scored, rows, name):
    fitted = detector(scored, rows[:80], rows[80:], [name])
    scores = score_rows(lambda z: fitted.score(name)(scored, z), rows[80:])
    np.testing.assert_array_equal(fitted.calibration[name], np.sort(scores))
    assert fitted.threshold(name, 0.1) == np.quantile(scores, 0.1)
    assert fitted.threshold(name, "auto") == threshold(scores, "auto")
    expected = conformal_p_values(scores[:5], scores)
    np.testing.assert_array_equal(fitted.p_values(name, scores[:5]), expected)


def test_what_was_not_prepared_is_refused(scored, rows):
    fitted = detector(scored, rows, None, ["log_density"])
    with pytest.raises(ValueError, match="ood_score='combined' is not ready"):
        fitted.score("combined")
    assert math.isnan(fitted.threshold("combined", "auto"))
    with pytest.raises(ValueError, match="early_stopping=True"):
        fitted.p_values("log_density", [0.0])


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
