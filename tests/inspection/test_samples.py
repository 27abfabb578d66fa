"""Draws beside rows, as tables and as images."""

import numpy as np
import pandas as pd
import pytest
from sklearn.mixture import GaussianMixture

from skebm.evaluation.fidelity._table import ShownTable, draw_table
from skebm.inspection import ImagesDisplay, SamplesDisplay, two_sample_auc


def table(n, shift=0.0, seed=0):
    rng = np.random.RandomState(seed)
    return pd.DataFrame(
        {
            "size": rng.normal(shift, 1, n),
            "kind": rng.choice(["left", "right"], n),
            "age": rng.normal(size=n),
        }
    )


def test_a_forest_tells_only_draws_that_differ():
    assert 0.4 < two_sample_auc(table(100), table(100, seed=1)) < 0.6
    assert two_sample_auc(table(40), table(40, shift=5.0, seed=1)) > 0.95


def test_gaps_of_rows_tell_nothing():
    rows = table(150)
    rows.loc[::2, ["size", "age"]] = np.nan
    assert 0.35 < two_sample_auc(rows, table(150, seed=1)) < 0.65


def test_too_few_rows_are_refused():
    with pytest.raises(ValueError, match=r"at least 5 rows and draws. Got 4 and 9"):
        two_sample_auc(table(4), table(9))


class Model:
    def __init__(self):
        self.asked = []

    def sample(self, n_samples, random_state):
        self.asked.append((n_samples, random_state))
        return table(n_samples, seed=random_state)


def test_draws_are_shown_beside_rows():
    model, X = Model(), table(50)
    display = SamplesDisplay.from_estimator(model, X, ["size", "kind"], random_state=3)
    assert model.asked == [(50, 3)] and len(display.draws) == 50
    assert display.auc == two_sample_auc(X, table(50, seed=3), random_state=3)
    (corner,) = display.axes_[0, 1].texts
    assert f"AUC {display.auc:.2f}" in corner.get_text()
    assert [ax.get_xlabel() for ax in display.axes_[1]] == ["size", "kind"]
    ticks = [label.get_text() for label in display.axes_[1, 1].get_xticklabels()]
    assert ticks == ["left", "right"]
    texts = [t.get_text() for t in display.axes_[0, 0].get_legend().get_texts()]
    assert texts == ["rows", "draws"]


def test_mixtures_of_scikit_learn_are_drawn_from_too():
    X = table(30)[["size"]].to_numpy()
    draws = draw_table(GaussianMixture(random_state=0).fit(X), ShownTable.of(X), 7, 0)
    assert len(draws) == 7 and draws.names == ["column 0"]


def test_draws_of_other_models_and_columns_by_default():
    X = np.random.RandomState(0).normal(size=(20, 2))
    display = SamplesDisplay.from_samples(X, np.zeros((9, 2)))
    assert display.columns == [0, 1]
    assert display.axes_[1, 0].get_ylabel() == "column 1"


def test_estimators_without_draws_are_refused():
    with pytest.raises(TypeError, match="object has no method sample"):
        SamplesDisplay.from_estimator(object(), table(9))


class Classifier:
    classes_ = np.array([3, 8])

    def sample(self, n_samples, random_state, y):
        return np.repeat(y, 4).reshape(-1, 4).astype(float), y


def test_each_class_has_a_line_of_images_with_its_name():
    names = ["three", "eight"]
    display = ImagesDisplay.from_estimator(Classifier(), n_images=5, class_names=names)
    assert display.images.shape == (2, 5, 2, 2)
    assert (display.images[0] == 3).all() and (display.images[1] == 8).all()
    assert [ax.get_ylabel() for ax in display.axes_] == names
    with pytest.raises(ValueError, match=r"'class_names' .* 2 classes. Got 1"):
        ImagesDisplay.from_estimator(Classifier(), class_names=["three"])


class Images:
    def sample(self, n_samples, random_state):
        return np.zeros((n_samples, 12))


def test_rows_are_shown_above_draws_and_colors_too():
    X = np.arange(24.0).reshape(2, 12)
    display = ImagesDisplay.from_estimator(
        Images(), X, image_shape=(2, 2, 3), n_images=3
    )
    assert display.names == ["rows", "draws"]
    np.testing.assert_array_equal(display.images[0, 1].ravel(), X[1])
    assert np.isnan(display.images[0, 2]).all() and (display.images[1] == 0).all()
    with pytest.raises(ValueError, match=r"'image_shape' .* of 12 numbers.*Got None"):
        ImagesDisplay.from_estimator(Images())
