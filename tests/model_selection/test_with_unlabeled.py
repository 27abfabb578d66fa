"""Frames of labelled and unlabelled rows are put together column by column."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from skebm.model_selection import WithUnlabeledRows


class Keeper(ClassifierMixin, BaseEstimator):
    """Keeps the rows of `fit`."""

    def fit(self, X, y):
        self.rows_, self.classes_ = X, np.array([0, 1])
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
