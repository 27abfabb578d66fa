"""Folds that respect unlabelled rows."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from skebm.model_selection import SemiSupervisedSplit

Y = np.array([0] * 10 + [1] * 20 + [-1] * 70)
Y = Y[np.random.RandomState(0).permutation(100)]
X = np.zeros((100, 1))


def dressed(kind):
    return {
        "int": Y,
        "strings": np.where(Y < 0, "-1", Y.astype(str)),
        "None": np.where(Y < 0, None, Y.astype(str).astype(object)),
        "NaN": np.where(Y < 0, np.nan, Y),
        "Int64": pd.Series(Y, dtype="Int64").mask(Y < 0),
        "list": Y.tolist(),
    }[kind]


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("kind", ["int", "strings", "None", "NaN", "Int64", "list"])
def test_folds_are_stratified_and_unlabelled_rows_always_trained_on(kind, shuffle):
    splitter = SemiSupervisedSplit(5, shuffle=shuffle, random_state=0)
    folds = list(splitter.split(X, dressed(kind)))
    assert len(folds) == splitter.get_n_splits() == 5
    unlabelled = set(np.flatnonzero(Y < 0))
    for train, test in folds:
        assert np.bincount(Y[test]).tolist() == [2, 4]
        assert unlabelled <= set(train)
        assert sorted([*train, *test]) == list(range(100))
    tested = np.concatenate([test for _, test in folds])
    assert sorted(tested) == np.flatnonzero(Y >= 0).tolist()


def test_without_unlabelled_rows_it_is_the_stratified_split():
    y = np.arange(30) % 3
    ours = SemiSupervisedSplit(3).split(X[:30], y)
    theirs = StratifiedKFold(3).split(X[:30], y)
    for (train, test), (expected_train, expected_test) in zip(
        ours, theirs, strict=True
    ):
        np.testing.assert_array_equal(train, expected_train)
        np.testing.assert_array_equal(test, expected_test)


def test_the_shuffle_follows_its_seed():
    def tests(seed):
        splitter = SemiSupervisedSplit(5, shuffle=True, random_state=seed)
        return [test.tolist() for _, test in splitter.split(X, Y)]

    assert tests(0) == tests(0)
    assert tests(0) != tests(1)
    assert "n_splits=5" in repr(SemiSupervisedSplit())


def test_another_marker_and_none():
    y = np.where(Y < 0, 9, Y)
    for _, test in SemiSupervisedSplit(5, unlabeled=9).split(X, y):
        assert 9 not in y[test]
    tested = [t for _, t in SemiSupervisedSplit(5, unlabeled=None).split(X, y)]
    assert sorted(np.concatenate(tested)) == list(range(100))


@pytest.mark.parametrize(
    ("y", "n_splits", "message"),
    [
        (None, 5, "SemiSupervisedSplit needs y"),
        (np.full(100, -1), 5, "All 100 rows of y are unlabelled"),
        (Y, 21, "n_splits=21 cannot be greater than the number of members"),
        (Y, 1, "n_splits=1"),
        (Y[:50], 5, "inconsistent numbers of samples"),
    ],
)
def test_what_cannot_be_split(y, n_splits, message):
    with pytest.raises(ValueError, match=message):
        list(SemiSupervisedSplit(n_splits).split(X, y))


class LabelledOnly(KNeighborsClassifier):
    """Learns from the labelled rows; counts how many others it is given."""

    def fit(self, X, y):
        self.n_unlabelled_ = int((y < 0).sum())
        return super().fit(X[y >= 0], y[y >= 0])


def test_every_scorer_works_with_it():
    """A plain split fails: log loss then meets the marker as a class."""
    rng = np.random.RandomState(0)
    rows = Y[:, None] + 0.1 * rng.normal(size=(100, 1))
    model = LabelledOnly(3)
    for scoring in ("neg_log_loss", "accuracy", "f1_macro", "roc_auc"):
        got = cross_val_score(
            model, rows, Y, cv=SemiSupervisedSplit(5), scoring=scoring
        )
        assert np.isfinite(got).all()
        assert got.mean() > (-0.1 if scoring == "neg_log_loss" else 0.95)
    with pytest.warns(UserWarning, match="Scoring failed"):
        plain = cross_val_score(model, rows, Y, cv=5, scoring="neg_log_loss")
    assert np.isnan(plain).all()


def test_the_search_refits_on_all_rows():
    search = GridSearchCV(
        clone(LabelledOnly()), {"n_neighbors": [1, 3]}, cv=SemiSupervisedSplit(5)
    )
    search.fit(Y[:, None].astype(float), Y)
    assert search.best_estimator_.n_unlabelled_ == 70
