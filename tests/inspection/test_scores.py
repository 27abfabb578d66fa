"""Outlier scores, explanations, reliability and log Z: numbers and names."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from skebm import EBMDensityEstimator
from skebm.evaluation import LogNormalizer, expected_calibration_error
from skebm.inspection import (
    ExplanationDisplay,
    LogNormalizerDisplay,
    OODScoreDisplay,
    ReliabilityDisplay,
)
from skebm.inspection._log_normalizer import log_weights


def texts(display):
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


# -------------------------------------------------------------------- outliers


def test_scores_have_the_auroc_of_scikit_learn():
    rng = np.random.RandomState(0)
    normal, outliers = rng.normal(size=80), rng.normal(-1.5, 1, 40)
    display = OODScoreDisplay.from_predictions(
        normal, outliers, threshold=-1.0, names=("benign", "malignant")
    )
    is_normal = np.repeat([1, 0], [80, 40])
    auroc = roc_auc_score(is_normal, np.r_[normal, outliers])
    assert display.detection.auroc == pytest.approx(auroc)
    cut = np.sort(normal)[80 // 20]
    assert display.detection.fpr95 == np.mean(outliers >= cut)
    title = f"AUROC {auroc:.3f}, FPR95 {display.detection.fpr95:.3f}"
    assert display.ax_.get_title() == title
    benign = f"benign (80; {np.mean(normal < -1):.1%} below the threshold)"
    assert texts(display)[0] == benign and texts(display)[2] == "threshold -1"


def test_infinite_scores_count_in_the_outermost_bins():
    display = OODScoreDisplay.from_predictions([0.0, 1.0, 2.0, 3.0], [-np.inf, 1.0])
    assert display.detection.auroc == pytest.approx((4 + 2.5) / 8)
    stairs = display.ax_.patches[1].get_data()
    assert stairs.values[0] == 0.5 and stairs.values.sum() == 1
    with pytest.raises(ValueError, match=r"'outliers' .* NaN"):
        OODScoreDisplay.from_predictions([1.0], [np.nan])


def test_detectors_of_both_kinds_are_asked():
    class Ours:
        offset_ = 0.5

        def ood_scores(self, X):
            return np.asarray(X)[:, 0]

    class Theirs:
        offset_ = 0.5

        def score_samples(self, X):
            return np.asarray(X)[:, 0]

    X = np.arange(6.0)[:, None]
    for kind in (Ours, Theirs):
        display = OODScoreDisplay.from_estimator(kind(), X)
        np.testing.assert_array_equal(display.normal, X[:, 0])
        assert display.threshold == 0.5 and display.detection is None


# ---------------------------------------------------------------- explanations


def explanation(tails, names=("speed", "gear")):
    index = pd.MultiIndex.from_product(
        [range(len(tails)), names], names=["row", "column"]
    )
    tail = np.ravel(tails)
    return pd.DataFrame(
        {
            "value": [7.0, "high"] * len(tails),
            "tail_probability": tail,
            "p_value": tail,
            "expected": [1.0, "low"] * len(tails),
            "lower": [0.5, np.nan] * len(tails),
            "upper": [2.0, np.nan] * len(tails),
        },
        index=index,
    )


def test_one_row_has_a_bar_for_each_column():
    display = ExplanationDisplay.from_explanation(explanation([[1e-3, 0.5]]))
    np.testing.assert_allclose(display.one_in, [[1000.0, 2.0]])
    labels = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert labels == ["speed", "gear"]
    written = [text.get_text() for text in display.ax_.texts]
    assert written == ["7  (0.5 to 2)", "high  (low)"]
    assert display.ax_.get_title() == "row 0: value (expected given the others)"


def test_rows_have_a_map_and_gaps_are_not_strange():
    tails = [[1e-3, 0.5], [0.0, np.nan], [0.25, 1.0]]
    display = ExplanationDisplay(explanation(tails)).plot()
    np.testing.assert_allclose(display.one_in, [[1000, 2], [1e6, 1], [4, 1]])
    assert display.one_in.columns.tolist() == ["speed", "gear"]
    ticks = [label.get_text() for label in display.ax_.get_xticklabels()]
    assert ticks == ["speed", "gear"]


def test_an_estimator_explains_the_column_made_strange():
    X = np.random.RandomState(0).normal(size=(80, 2)) @ [[1, 0.9], [0, 0.4]]
    frame = pd.DataFrame(X, columns=["left", "right"])
    model = EBMDensityEstimator(
        reference="gaussian", max_iter=1, ood_score="log_density", random_state=0
    ).fit(frame)
    strange = pd.DataFrame({"left": [0.0], "right": [4.0]}, index=["tuesday"])
    display = ExplanationDisplay.from_estimator(model, strange)
    tail = model.explain(strange)["tail_probability"]
    np.testing.assert_allclose(
        display.one_in.to_numpy()[0], (1 / tail).clip(upper=1e6), rtol=1e-6
    )
    assert display.ax_.get_title() == "row tuesday: value (expected given the others)"


# ----------------------------------------------------------------- reliability


def test_gaps_of_the_bins_make_up_the_calibration_error():
    rng = np.random.RandomState(0)
    probability = rng.dirichlet([1, 1, 1], 200)
    y = rng.randint(3, size=200)
    display = ReliabilityDisplay.from_predictions(y, probability, n_bins=7)
    gaps = np.abs(display.confidence - display.accuracy)
    assert display.n_rows.sum() == 200 and len(gaps) == 7
    error = expected_calibration_error(y, probability, 7)
    assert (gaps * display.n_rows).sum() / 200 == pytest.approx(error, abs=1e-12)
    assert f"calibration error {error:.3f}" in texts(display)[1]
    again = ReliabilityDisplay.from_predictions(
        y, probability, n_bins=2, name="again", ax=display.ax_
    )
    assert len(texts(again)) == 3 and texts(again)[2].startswith("again (")


class Classifier:
    classes_ = np.array(["no", "yes"])
    unlabeled = -1

    def predict_proba(self, X):
        return np.c_[1 - X[:, 0], X[:, 0]]


def test_unlabelled_rows_are_left_out():
    X = np.array([[0.9], [0.9], [0.2], [0.9]])
    y = np.array(["yes", "no", "no", -1], dtype=object)
    display = ReliabilityDisplay.from_estimator(Classifier(), X, y, n_bins=1)
    assert display.n_rows.tolist() == [3]
    assert display.accuracy[0] == pytest.approx(2 / 3)
    assert "Classifier" in texts(display)[1]
    with pytest.raises(ValueError, match="'maybe'"):
        ReliabilityDisplay.from_estimator(Classifier(), X, ["yes"] * 3 + ["maybe"])


# ----------------------------------------------------------------------- log Z


def test_log_weights_of_the_model_are_those_of_the_reference_tilted():
    X = np.random.RandomState(0).choice([-2.0, 2.0], (300, 1))
    X = X + np.random.RandomState(1).normal(0, 0.5, (300, 1))
    model = EBMDensityEstimator(
        reference="gaussian", max_iter=8, learning_rate=0.03, random_state=0
    ).fit(X)
    weights = log_weights(model, 600, seed=0)
    assert weights.reference.std() > 0.3  # a tilt that counts
    tilt = np.exp(weights.reference)
    assert np.log(tilt.mean()) == pytest.approx(model.log_normalizer_, abs=0.1)
    # p(w) = q0(w) exp(w) / Z: draws of the model are those of q0, weighed.
    expected = np.average(weights.reference > 0, weights=tilt)
    assert np.mean(weights.model > 0) == pytest.approx(expected, abs=0.07)
    display = LogNormalizerDisplay(model.normalizer_result_, weights).plot()
    assert "can be trusted" in display.ax_.get_title()
    assert texts(display)[0] == "-E of draws of the reference"
    assert f"log Z {model.log_normalizer_:.3f}" in texts(display)[2]


def test_a_result_alone_is_drawn_with_what_speaks_against_it():
    result = LogNormalizer(1.0, 0.1, 0.5, 100, "AIS", False, "it is far", 1.5, 0.2)
    display = LogNormalizerDisplay(result).plot()
    assert display.ax_.get_title() == "log Z can't be trusted: it is far"
    assert texts(display) == ["log Z 1.000 ± 0.200", "in reverse 1.500 ± 0.400"]
    forward, reverse = display.ax_.get_lines()
    assert forward.get_xdata()[0] == 1.0 and reverse.get_xdata()[0] == 1.5


def test_without_log_z_there_is_nothing_to_draw():
    with pytest.raises(ValueError, match="object has no single estimate of log Z"):
        LogNormalizerDisplay.from_estimator(object())
