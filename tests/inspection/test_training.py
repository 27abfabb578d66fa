"""What training has recorded, and its pictures."""

import numpy as np
import pytest

from skebm import EBMDensityEstimator
from skebm.inspection import ObjectiveComparisonDisplay, TrainingDisplay
from skebm.inspection._history import TrainingRecord


class Fitted:
    """A fitted estimator as far as the record of its training goes."""

    def __init__(self, scores, best_epoch, name="validation_log_likelihood", **more):
        self.best_epoch_ = best_epoch
        n = len(scores)
        self.history_ = {
            "metric": ["log_likelihood"] * n,
            "energy_loss": np.linspace(3, 2, n).tolist(),
            "energy_gap": [None, *([0.5] * (n - 1))],
            name: scores,
            "n_rollbacks": [0] * n,
            "seconds": [0.1] * n,
        } | more

    def score(self, X):
        return float(np.mean(X))


def test_figures_are_sorted_by_what_they_are():
    record = TrainingRecord.of(
        Fitted([-3.0, -2.0, -2.5], 2, n_rollbacks=[0, 1, 1], generator_loss=[1, 2, 3])
    )
    assert record.losses == ["energy_loss", "generator_loss"]
    assert record.held_out == ["validation_log_likelihood"]
    assert record.energies == ["energy_gap"]
    assert "metric" not in record.figures and record.rollbacks == [2]
    assert np.isnan(record.figures["energy_gap"][0])
    assert record.verdict() == "epoch 2 of 3 kept"


def test_a_bare_reference_is_told():
    record = TrainingRecord.of(Fitted([-3.0, -4.0], 0))
    assert record.verdict().startswith("the bare reference kept: none of 2 epochs")
    display = TrainingDisplay(record).plot()
    assert "bare reference" in display.axes_[0].get_title()


def test_a_fit_is_drawn_with_its_figures_and_the_kept_epoch():
    X = np.random.RandomState(0).normal(size=(60, 2))
    model = EBMDensityEstimator(reference="gaussian", max_iter=3, random_state=0).fit(X)
    display = TrainingDisplay.from_estimator(model)
    labels = [ax.get_ylabel() for ax in display.axes_]
    assert labels == ["held-out log likelihood", "energy loss"]
    curve, compared, kept = display.axes_[0].get_lines()
    expected = np.array(model.history_["validation_log_likelihood"])
    np.testing.assert_array_equal(curve.get_ydata(), expected)
    expected -= model.history_["gain_standard_error"]
    np.testing.assert_array_equal(compared.get_ydata(), expected)
    assert kept.get_xdata()[0] == model.best_epoch_
    assert display.axes_[-1].get_xlabel() == "epoch"


def test_the_kept_epoch_is_best_by_what_is_drawn():
    """Rows of two clusters, which a Gaussian doesn't fit."""
    rng = np.random.RandomState(0)
    X = rng.choice([-2.0, 2.0], (200, 1)) + rng.normal(0, 0.3, (200, 1))
    model = EBMDensityEstimator(
        reference="gaussian", max_iter=6, learning_rate=0.05, random_state=0
    ).fit(X)
    record = TrainingRecord.of(model)
    assert record.best_epoch == 1 + np.argmax(record.compared) > 0


def test_events_of_the_guard_are_marked():
    fitted = Fitted([-3.0, -2.0, -2.5, -2.4], 2, n_rollbacks=[0, 0, 1, 2])
    display = TrainingDisplay.from_estimator(fitted, names=["energy_loss"])
    _, _kept, *events = display.axes_[0].get_lines()
    assert [line.get_xdata()[0] for line in events] == [3, 4]
    texts = [t.get_text() for t in display.axes_[0].get_legend().get_texts()]
    assert texts == ["kept", "back to an earlier state"]


def test_without_held_out_rows_no_epoch_is_marked():
    fitted = Fitted([-3.0, -2.0], 2)
    del fitted.history_["validation_log_likelihood"]
    record = TrainingRecord.of(fitted)
    assert record.best_epoch is None
    assert record.verdict() == "2 epochs, without a held-out score"


def test_what_is_not_recorded_is_refused():
    with pytest.raises(ValueError, match=r"'names' .*energy_loss.*Got 'entropy'"):
        TrainingDisplay.from_estimator(Fitted([1.0], 1), names=["entropy"])
    with pytest.raises(TypeError, match="Got object without"):
        TrainingDisplay.from_estimator(object())


def test_objectives_are_compared_by_a_score_they_share():
    models = {"nce": Fitted([-3.0, -2.0], 2), "vera": Fitted([-3.5, -3.0, -3.2], 2)}
    display = ObjectiveComparisonDisplay.from_estimators(models, [1.0, 2.0])
    curves = display.ax_.get_lines()[::2]
    assert [list(c.get_ydata()) for c in curves] == [[-3, -2], [-3.5, -3, -3.2]]
    dots = display.ax_.get_lines()[1::2]
    assert [(d.get_xdata()[0], d.get_ydata()[0]) for d in dots] == [(2, -2), (2, -3)]
    texts = [t.get_text() for t in display.ax_.get_legend().get_texts()]
    assert texts == ["nce (1.500)", "vera (1.500)"]
    assert display.ax_.get_ylabel() == "held-out log likelihood"


def test_estimators_of_a_sequence_are_named_by_their_objectives():
    models = [Fitted([-3.0], 1), Fitted([-2.0], 1), Fitted([-1.0], 1)]
    for model, objective in zip(models, (1, 2, "text"), strict=True):
        model.objective_ = objective
    display = ObjectiveComparisonDisplay.from_estimators(models)
    assert list(display.records) == ["int 1", "int 2", "str"]


def test_scores_that_differ_are_not_compared():
    models = [Fitted([-3.0], 1), Fitted([2.0], 1, name="validation_score_matching")]
    with pytest.raises(ValueError, match="share a held-out score"):
        ObjectiveComparisonDisplay.from_estimators(models)
