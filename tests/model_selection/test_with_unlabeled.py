"""Frames of labelled and unlabelled rows are put together column by column."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelSpreading

from skebm import JEMClassifier
from skebm.exceptions import DataWarning
from skebm.model_selection import WithUnlabeledRows


class Keeper(ClassifierMixin, BaseEstimator):
    """Keeps the rows of `fit`."""

    def fit(self, X, y, sample_weight=None):
        self.rows_, self.classes_ = X, np.array([0, 1])
        self.weight_ = sample_weight
        return self


@pytest.mark.parametrize(
    ("labeled", "unlabeled", "categories"),
    [
        ([1, 2, 1], [2, 3], [1, 2, 3]),
        (["a", "b", "a"], ["c", "c"], ["a", "b", "c"]),
        ([1, 2, 1], ["x", "x"], [1, 2, "x"]),
    ],
)
def test_categories_stay_categories_where_the_frames_list_others(
    labeled, unlabeled, categories
):
    X, others = (
        pd.DataFrame({"c": pd.Categorical(values), "x": np.arange(len(values))})
        for values in (labeled, unlabeled)
    )
    rows = WithUnlabeledRows(Keeper(), others).fit(X, [0, 1, 1]).estimator_.rows_
    assert rows["c"].cat.categories.tolist() == categories
    assert rows["c"].tolist() == labeled + unlabeled
    assert X["c"].cat.categories.tolist() == sorted(set(labeled))


def test_unlabelled_rows_have_the_mean_weight():
    rows, others = np.zeros((3, 1)), np.ones((2, 1))
    model = WithUnlabeledRows(Keeper(), others)
    fitted = model.fit(rows, [0, 1, 1], sample_weight=[1, 2, 6])
    assert fitted.estimator_.weight_.tolist() == [1, 2, 6, 3, 3]
    assert model.fit(rows, [0, 1, 1]).estimator_.weight_ is None
    steps = WithUnlabeledRows(make_pipeline(StandardScaler(), Keeper()), others)
    steps.fit(rows, [0, 1, 1], keeper__sample_weight=[1, 2, 6])
    assert steps.estimator_[-1].weight_.tolist() == [1, 2, 6, 3, 3]
    with pytest.raises(ValueError, match="a weight for each of the 3 rows"):
        model.fit(rows, [0, 1, 1], sample_weight=[1, 2])
    with pytest.raises(TypeError, match=r"sample_weight.*LabelSpreading.fit takes"):
        WithUnlabeledRows(LabelSpreading(), others).fit(
            rows, [0, 1, 1], sample_weight=[1, 2, 6]
        )


def test_an_empty_label_is_told():
    with pytest.warns(DataWarning, match="empty label ''"):
        WithUnlabeledRows(Keeper(), np.ones((2, 1))).fit(
            np.zeros((3, 1)), ["", "a", ""]
        )


class Unweighted(ClassifierMixin, BaseEstimator):
    """Takes no weights."""

    def fit(self, X, y):
        self.classes_ = np.array([0, 1])
        return self


def test_no_weights_are_passed_on_where_there_are_none():
    model = WithUnlabeledRows(Unweighted(), np.ones((2, 1)))
    assert model.fit(np.zeros((3, 1)), [0, 1, 1], sample_weight=None).classes_.tolist()


def test_a_step_with_another_marker_is_refused():
    steps = make_pipeline(StandardScaler(), JEMClassifier(unlabeled=None))
    model = WithUnlabeledRows(steps, np.ones((2, 1)))
    with pytest.raises(ValueError, match="jemclassifier__unlabeled=None"):
        model.fit(np.zeros((3, 1)), ["a", "b", "b"])
