"""The classifier in scikit-learn's meta-estimators: the rows of the guide's table.

A row of the table in `docs/user_guide/semi_supervised.rst` is a test of what a function
or class of scikit-learn does with the marker, and one of what to use instead.
"""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_val_score,
    learning_curve,
)
from sklearn.multiclass import (
    OneVsOneClassifier,
    OneVsRestClassifier,
    OutputCodeClassifier,
)
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier

from skebm import JEMClassifier, RBMClassifier
from skebm.model_selection import (
    SemiSupervisedSplit,
    WithUnlabeledRows,
    ignore_unlabeled,
)
from skebm.networks import MLP

RNG = np.random.RandomState(0)
TRUTH = np.arange(90) % 2
X = 6.0 * TRUTH[:, None] * [1, 0] + RNG.normal(size=(90, 2))
LABELED = RNG.uniform(size=90) < 0.4
Y = np.where(LABELED, TRUTH, -1)
FLOATS = np.where(LABELED, TRUTH, np.nan)
OBJECTS = np.where(LABELED, TRUTH.astype(object), None)
WORDS = np.where(LABELED, np.array(["ant", "bee"])[TRUTH], "-1")
SPLIT = SemiSupervisedSplit(3)
#: A supervised net: what is asked here is what becomes of the labels.
MODEL = JEMClassifier(
    None,
    partial(MLP, hidden_features=(8,)),
    "gaussian",
    None,
    graph_weight=0,
    prediction_entropy_weight=0,
    vat_weight=0,
    balance_weight=0,
    stacking=False,
    max_iter=8,
    batch_size=45,
    learning_rate=0.2,
    random_state=0,
)
WITH = WithUnlabeledRows(MODEL, X[~LABELED])


# ------------------------------------------------- what works with the marker in y


@pytest.mark.parametrize("y", [Y, OBJECTS, WORDS], ids=["int", "None", "words"])
def test_the_default_score_with_an_integer_cv(y):
    assert cross_val_score(MODEL, X, y, cv=3).min() > 0.9


def test_searches_and_curves():
    search = GridSearchCV(MODEL, {"max_iter": [8]}, cv=SPLIT, scoring="accuracy")
    assert search.fit(X, Y).best_score_ > 0.9
    scores = learning_curve(MODEL, X, Y, cv=SPLIT, train_sizes=[1.0])[2]
    assert scores.min() > 0.9


def test_pipelines_and_permutation_importance():
    pipeline = make_pipeline(StandardScaler(), MODEL).fit(X, Y)
    assert pipeline.score(X, Y) > 0.9
    importance = permutation_importance(pipeline, X, Y, random_state=0, n_repeats=2)
    assert importance.importances_mean[0] > 0.3


def test_cross_val_predict_of_classes_with_an_integer_cv():
    assert np.mean(cross_val_predict(MODEL, X, Y, cv=3) == TRUTH) > 0.9


def test_self_training_and_several_outputs():
    model = SelfTrainingClassifier(MODEL, max_iter=1).fit(X, Y)
    assert model.classes_.tolist() == [0, 1] and model.score(X, TRUTH) > 0.9
    outputs = MultiOutputClassifier(MODEL).fit(X, np.column_stack([Y, Y]))
    assert [classes.tolist() for classes in outputs.classes_] == [[0, 1]] * 2


def test_a_frozen_classifier_is_calibrated_on_labelled_rows():
    model = CalibratedClassifierCV(FrozenEstimator(clone(MODEL).fit(X, Y)))
    model.fit(X[LABELED], TRUTH[LABELED])
    assert model.classes_.tolist() == [0, 1] and model.score(X, TRUTH) > 0.9


# --------------------------------------------------- what takes the marker for a class


def test_other_scorers_with_an_integer_cv():
    """Every prediction of an unlabelled row is wrong: the share of labels, at most."""
    assert cross_val_score(MODEL, X, Y, cv=3, scoring="accuracy").max() < 0.6
    scorer = ignore_unlabeled("accuracy")
    assert cross_val_score(MODEL, X, Y, cv=3, scoring=scorer).min() > 0.9
    scores = cross_val_score(MODEL, X, Y, cv=SPLIT, scoring="neg_log_loss")
    assert scores.min() > -0.7


def test_cross_val_predict_of_probabilities_with_an_integer_cv():
    options = {"cv": 3, "method": "predict_proba"}
    assert cross_val_predict(MODEL, X, Y, **options).shape == (90, 3)


SILENT = {
    "voting": lambda model: VotingClassifier([("a", model)], voting="soft"),
    "bagging": lambda model: BaggingClassifier(model, 2, random_state=0),
    "stacking": lambda model: StackingClassifier([("a", model)], cv=2),
    "one against the rest": OneVsRestClassifier,
    "one against one": OneVsOneClassifier,
}


def test_calibration_of_a_frozen_classifier():
    model = CalibratedClassifierCV(FrozenEstimator(clone(MODEL).fit(X, Y)))
    with pytest.raises(ValueError, match=r"2 class.* but 3 in overall dataset"):
        model.fit(X, Y)


@pytest.mark.parametrize("kind", SILENT)
def test_encoders_of_y_take_the_marker_for_a_class(kind):
    assert SILENT[kind](MODEL).fit(X, Y).classes_.tolist() == [-1, 0, 1]


# ------------------------------------------------------------- what fails, and says why


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
def test_an_integer_cv_and_nan():
    """Folds of scikit-learn take no NaN in y; those of the package do."""
    with pytest.raises(ValueError, match="Input y contains NaN"):
        cross_val_score(MODEL, X, FLOATS, cv=3)
    assert cross_val_score(MODEL, X, FLOATS, cv=SPLIT).min() > 0.9


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_cross_val_predict_with_the_split(method):
    with pytest.raises(ValueError, match=r"cross_val_predict.*WithUnlabeledRows"):
        cross_val_predict(MODEL, X, Y, cv=SPLIT, method=method)


@pytest.mark.parametrize("cv", [3, SPLIT], ids=["int", "split"])
@pytest.mark.parametrize("model", [MODEL, make_pipeline(StandardScaler(), MODEL)])
@pytest.mark.parametrize("ensemble", [True, False])
def test_calibration_with_cross_validation(cv, model, ensemble):
    with pytest.raises(ValueError, match="WithUnlabeledRows"):
        CalibratedClassifierCV(model, cv=cv, ensemble=ensemble).fit(X, Y)


def test_calibration_of_the_rbm():
    model = CalibratedClassifierCV(RBMClassifier(2, n_iter=1, random_state=0), cv=2)
    with pytest.raises(ValueError, match="WithUnlabeledRows"):
        model.fit((X > 3).astype(float), Y)


def test_stacking_with_the_split_warns():
    model = StackingClassifier([("a", MODEL)], cv=SPLIT)
    with pytest.warns(UserWarning, match="StackingClassifier encodes y"):
        model.fit(X, Y)


@pytest.mark.parametrize("kind", [TunedThresholdClassifierCV, FixedThresholdClassifier])
def test_thresholds(kind):
    with pytest.raises(ValueError, match="Only binary classification is supported"):
        kind(MODEL).fit(X, Y)


def test_boosting():
    """Each unlabelled row counts as an error."""
    with pytest.raises(ValueError, match="worse than random"):
        AdaBoostClassifier(MODEL, random_state=0).fit(X, Y)


def test_output_codes():
    with pytest.raises(ValueError, match="-1 means unlabelled here"):
        OutputCodeClassifier(MODEL, random_state=0).fit(X, Y)


# ---------------------------------------------------- rows without a label apart from y

INSTEAD = {
    **SILENT,
    "calibration": lambda model: CalibratedClassifierCV(model, cv=2),
    "calibration of one": lambda m: CalibratedClassifierCV(m, cv=2, ensemble=False),
    "output codes": lambda model: OutputCodeClassifier(model, random_state=0),
    "tuned threshold": lambda model: TunedThresholdClassifierCV(model, cv=2),
    "fixed threshold": FixedThresholdClassifier,
}


@pytest.mark.parametrize("kind", INSTEAD)
def test_all_of_them_work_with_unlabelled_rows_apart(kind):
    model = INSTEAD[kind](WITH).fit(X[LABELED], TRUTH[LABELED])
    assert model.classes_.tolist() == [0, 1]
    assert model.score(X, TRUTH) > 0.9


def test_cross_val_predict_with_unlabelled_rows_apart():
    options = {"cv": 3, "method": "predict_proba"}
    proba = cross_val_predict(WITH, X[LABELED], TRUTH[LABELED], **options)
    assert proba.shape == (LABELED.sum(), 2)
    assert np.mean(proba.argmax(axis=1) == TRUTH[LABELED]) > 0.9


def test_unlabelled_rows_apart_are_the_same_as_in_y():
    words = np.array(["bee", "ant"])[TRUTH]
    apart = clone(WITH).fit(X[LABELED], words[LABELED])
    order = np.r_[np.flatnonzero(LABELED), np.flatnonzero(~LABELED)]
    within = clone(MODEL).fit(X[order], np.where(Y == -1, "-1", words)[order])
    assert apart.classes_.tolist() == within.classes_.tolist() == ["ant", "bee"]
    for method in ("predict", "predict_proba", "predict_log_proba"):
        answers = getattr(apart, method)(X), getattr(within, method)(X)
        np.testing.assert_array_equal(*answers)
    np.testing.assert_array_equal(
        apart.decision_function(X), within.decision_function(X)
    )
    assert apart.n_features_in_ == 2


@pytest.mark.parametrize("other", [LabelSpreading(), make_pipeline(LabelSpreading())])
def test_other_semi_supervised_classifiers_may_be_wrapped(other):
    model = WithUnlabeledRows(other, X[~LABELED]).fit(X[LABELED], TRUTH[LABELED])
    assert model.score(X, TRUTH) > 0.9
    assert not hasattr(model, "decision_function")


def test_data_frames_and_sparse_rows_are_stacked():
    frame = pd.DataFrame(X, columns=["a", "b"])
    inner = LabelSpreading()
    for rest in (frame[~LABELED], X[~LABELED]):
        model = WithUnlabeledRows(inner, rest).fit(frame[LABELED], TRUTH[LABELED])
        assert model.feature_names_in_.tolist() == ["a", "b"]
        assert model.score(frame, TRUTH) > 0.9
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"a": X[:, 0], "b": X[:, 1]})
    model = WithUnlabeledRows(clone(MODEL), frame.filter(~LABELED))
    model.fit(frame.filter(LABELED), TRUTH[LABELED])
    assert model.feature_names_in_.tolist() == ["a", "b"]
    assert model.score(frame, TRUTH) > 0.9
    binary = sparse.csr_array((X > 3).astype(float))
    rbm = RBMClassifier(2, n_iter=1, random_state=0)
    model = WithUnlabeledRows(rbm, binary[np.flatnonzero(~LABELED)])
    model.fit(binary[np.flatnonzero(LABELED)], TRUTH[LABELED])
    assert model.predict(binary).shape == (90,)


def test_two_classes_may_be_called_minus_one_and_one():
    signs = 2 * TRUTH - 1
    model = clone(WITH).fit(X[LABELED], signs[LABELED])
    assert model.classes_.tolist() == [-1, 1] and model.score(X, signs) > 0.9


@pytest.mark.parametrize(
    ("model", "rows", "y", "message"),
    [
        (WITH, X, Y, "y holds .* unlabelled rows.*'X_unlabeled'"),
        (WITH, X, OBJECTS, "y holds .* unlabelled rows.*'X_unlabeled'"),
        (WITH, X[:, :1], TRUTH, "'X_unlabeled' parameter must be as wide as X"),
        (
            WithUnlabeledRows(MODEL, pd.DataFrame(X, columns=["a", "b"])),
            pd.DataFrame(X, columns=["a", "c"]),
            TRUTH,
            "'X_unlabeled' parameter must have the columns of X",
        ),
        (
            WithUnlabeledRows(clone(MODEL).set_params(unlabeled="?"), X),
            X,
            TRUTH,
            "'estimator' parameter must mark unlabelled rows by unlabeled=-1",
        ),
    ],
)
def test_what_is_no_such_table_is_refused(model, rows, y, message):
    with pytest.raises(ValueError, match=message):
        clone(model).fit(rows, y)


def test_a_fully_labelled_table_needs_none_of_this():
    assert cross_val_predict(MODEL, X, TRUTH, cv=SPLIT).shape == (90,)
    model = CalibratedClassifierCV(MODEL, cv=2).fit(X, TRUTH)
    assert model.classes_.tolist() == [0, 1]
    stack = StackingClassifier([("a", MODEL)], LogisticRegression(), cv=2)
    assert stack.fit(X, TRUTH).score(X, TRUTH) > 0.9
