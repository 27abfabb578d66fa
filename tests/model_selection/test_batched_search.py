"""Searches whose models are trained together give what they give one by one."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from skebm import (
    BernoulliRBM,
    EBMDensityEstimator,
    GaussianRBM,
    JEMClassifier,
    RBMClassifier,
)
from skebm.exceptions import TrainingWarning
from skebm.model_selection import BatchedSearchCV, fit_many
from skebm.model_selection._side_by_side import SideBySide
from skebm.training import RBMAscent
from skebm.training._stacked import _Stack

RNG = np.random.RandomState(0)
X = (RNG.uniform(size=(61, 12)) < RNG.uniform(0.1, 0.9, 12)).astype(float)
Y = (X[:, 0] + X[:, 1] > 1).astype(int)
RBM = BernoulliRBM(n_components=4, n_iter=3, random_state=0)
GAPS = np.where(RNG.uniform(size=X.shape) < 0.1, np.nan, X)
TIMES = ("mean_fit_time", "std_fit_time", "mean_score_time", "std_score_time")


def both(estimator, grid, *data, fit_params=None, **options):
    """Return a search made one by one, and one made together."""
    searches = [
        kind(estimator, grid, **{"cv": 3, **options}).fit(*data, **(fit_params or {}))
        for kind in (GridSearchCV, BatchedSearchCV)
    ]
    results = [search.cv_results_ for search in searches]
    assert results[0].keys() == results[1].keys()
    for name in results[0].keys() - set(TIMES) - {"params"}:
        np.testing.assert_array_equal(results[1][name], results[0][name], err_msg=name)
    assert results[1]["params"] == results[0]["params"]
    return searches


@pytest.fixture
def stacks(monkeypatch):
    """Return the list of the sizes of stacks."""
    sizes = []

    class Counted(_Stack):
        def __init__(self, epochs):
            sizes.append(len(epochs))
            super().__init__(epochs)

    monkeypatch.setattr("skebm.training._stacked._Stack", Counted)
    return sizes


@pytest.mark.parametrize(
    "grid",
    [
        {"learning_rate": [0.05, 0.3], "weight_decay": [0.0, 0.1]},
        {"learning_rate": [0.3], "momentum": [0.0], "n_iter": [2, 4]},
        {"method": ["cd"], "n_gibbs_steps": [2], "learning_rate": [0.1, 0.2]},
        {"centered": [False], "weight_averaging": [0.0, 0.9]},
        {"weight_averaging": [0.0], "momentum": [0.0], "weight_decay": [0.2]},
        {"batch_size": [7], "n_chains": [3], "learning_rate_schedule": ["constant"]},
        {"early_stopping": [True, False]},
    ],
)
def test_results_are_those_of_fits_one_by_one(grid, stacks):
    one_by_one, together = both(RBM, grid, X)
    assert stacks
    assert min(stacks) > 1
    best = one_by_one.best_estimator_, together.best_estimator_
    np.testing.assert_array_equal(best[1].components_, best[0].components_)
    assert together.best_params_ == one_by_one.best_params_
    assert together.best_score_ == one_by_one.best_score_
    assert together.n_features_in_ == 12


def test_annealings_made_together_change_nothing(monkeypatch):
    """The watch of the likelihood anneals where hidden units have many states."""
    from skebm.evaluation.normalizers import _rbm_stack

    made = []

    def counted(walks, own=_rbm_stack._made):
        made.append(len(walks))
        return own(walks)

    monkeypatch.setattr(_rbm_stack, "_made", counted)
    rbm = clone(RBM).set_params(n_components=12)
    both(rbm, {"learning_rate": [0.1, 0.2]}, np.tile(X, (30, 1)), refit=False)
    assert made
    assert min(made) > 1


@pytest.mark.parametrize("grid", [{"method": ["tempering"]}, {"device": ["cpu"]}])
def test_what_cannot_be_stacked_is_made_one_by_one(grid, stacks):
    rows = X if "method" in grid else GAPS
    both(RBM, grid, rows)
    assert not stacks


@pytest.mark.parametrize(
    ("estimator", "name"),
    [(GaussianRBM(2, n_iter=2, random_state=0), "learning_rate")],
)
def test_other_rbms_fall_back(estimator, name):
    rows = np.random.RandomState(0).normal(size=(60, 3))
    both(estimator, {name: [0.01, 0.02]}, rows, refit=False)


def test_classifiers_fall_back():
    classifier = RBMClassifier(3, n_iter=2, random_state=0)
    both(classifier, {"learning_rate": [0.01, 0.1]}, X, Y)


def test_pipelines_train_together(stacks):
    model = make_pipeline(MinMaxScaler(), RBM, LogisticRegression())
    grid = {"bernoullirbm__learning_rate": [0.1, 0.3], "logisticregression__C": [1, 2]}
    _, together = both(
        model,
        grid,
        X,
        Y,
        fit_params={"logisticregression__sample_weight": np.arange(61.0) + 1},
    )
    # Folds with 40 and with 41 rows, two of one kind; four candidates.
    assert set(stacks) == {4, 8}
    assert together.predict(X).shape == (61,)
    np.testing.assert_array_equal(together.classes_, [0, 1])


def test_references_of_one_fold_are_fitted_once(monkeypatch):
    from skebm.models import _assembly

    fits = []

    def counted(*given, own=_assembly.fit_reference):
        fits.append(1)
        return own(*given)

    monkeypatch.setattr(_assembly, "fit_reference", counted)
    rows = np.random.RandomState(0).normal(size=(40, 5))
    density = EBMDensityEstimator(
        reference="gaussian",
        network="mlp",
        max_iter=1,
        normalizer="importance",
        random_state=0,
    )
    both(density, {"learning_rate": [1e-3, 1e-2]}, rows, refit=False, cv=2)
    assert len(fits) == 4 + 2


def test_a_classifier_of_energies():
    classifier = JEMClassifier(
        reference="gaussian",
        max_iter=1,
        stacking=False,
        objective=None,
        normalizer=None,
        network="mlp",
        random_state=0,
    )
    both(classifier, {"learning_rate": [1e-3]}, X[:, :3] + 0.1, Y, refit=False)


def test_failed_fits_get_the_error_score(stacks):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, together = both(RBM, {"learning_rate": [0.1, -1.0]}, X, error_score=-9.0)
    assert together.cv_results_["mean_test_score"][1] == -9.0
    assert set(stacks) == {2}
    with pytest.raises(ValueError, match="learning_rate"):
        BatchedSearchCV(RBM, {"learning_rate": [0.1, -1.0]}, error_score="raise").fit(X)


@pytest.mark.parametrize(
    "scoring",
    [
        lambda estimator, rows, y=None: float(estimator.pseudo_likelihood(rows).mean()),
        lambda estimator, rows, y=None: {"n": len(rows), "s": estimator.score(rows)},
    ],
)
def test_scoring_by_callables(scoring):
    options = {"scoring": scoring, "refit": False, "return_train_score": True}
    both(RBM, {"learning_rate": [0.1, 0.2]}, X, **options)


def test_warnings_are_each_fits_own():
    """Each is filtered as it is one by one, also where a fit waited in between."""
    shown = []
    rows = np.tile(X[:9], (60, 1))
    grid = {"learning_rate": [5.0, 0.01, 9.0]}
    for kind in (GridSearchCV, BatchedSearchCV):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            filters = list(warnings.filters)
            kind(clone(RBM).set_params(n_iter=5), grid, cv=2, refit=False).fit(rows)
            assert warnings.filters == filters
        shown.append(sorted(str(one.message) for one in caught))
    assert shown[0] == shown[1]


def test_conventions():
    search = BatchedSearchCV(RBM, {"learning_rate": [0.1]}, cv=2, n_jobs=1)
    assert clone(search).get_params()["n_jobs"] == 1
    assert "learning_rate" in repr(search)
    frame = pd.DataFrame(X, columns=list("abcdefghijkl"))
    search.fit(frame)
    assert list(search.feature_names_in_) == list(frame)
    loaded = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(loaded.transform(frame), search.transform(frame))
    assert loaded.score(frame) == search.score(frame)


def test_an_interrupt_ends_the_fits_that_are_trained(monkeypatch):
    n_made = []

    def walk(self, buffers, noise, own=_Stack._walk):
        n_made.append(1)
        if len(n_made) == 20:
            raise KeyboardInterrupt
        own(self, buffers, noise)

    monkeypatch.setattr(_Stack, "_walk", walk)
    with pytest.warns(TrainingWarning, match="KeyboardInterrupt"):
        models = fit_many(clone(RBM).set_params(n_iter=50), [X, X])
    assert [model.n_iter_ for model in models] == [2, 2]


# ----------------------------------------------------------------- many tables


def test_many_tables_are_fitted_as_one_by_one(stacks):
    tables = [X, 1 - X, X[:40], X[:40, :5]]
    models = fit_many(RBM, tables)
    for model, table in zip(models, tables, strict=True):
        alone = clone(RBM).fit(table)
        np.testing.assert_array_equal(model.components_, alone.components_)
        assert (
            model.history_["pseudo_likelihood"] == alone.history_["pseudo_likelihood"]
        )
        assert model.score(table) == alone.score(table)
    assert set(stacks) == {2}


def test_many_tables_with_labels_and_weights():
    weight = np.arange(61.0) + 1
    tables, labels = [X, X + 1], [Y, 1 - Y]
    model = LogisticRegression()
    models = fit_many(model, tables, labels, sample_weight=[weight, None])
    alone = clone(model).fit(X, Y, sample_weight=weight)
    np.testing.assert_array_equal(models[0].coef_, alone.coef_)
    np.testing.assert_array_equal(models[1].coef_, clone(model).fit(X + 1, 1 - Y).coef_)
    assert fit_many(model, []) == []
    with pytest.raises(ValueError, match="'y' parameter must be a list of one value"):
        fit_many(model, tables, [Y])


def test_a_random_state_that_moves_on_is_copied():
    rng = np.random.RandomState(3)
    rbm = clone(RBM).set_params(random_state=rng)
    models = fit_many(rbm, [X, X])
    np.testing.assert_array_equal(models[0].components_, models[1].components_)
    np.testing.assert_array_equal(models[0].components_, clone(rbm).fit(X).components_)


def test_more_fits_than_are_in_progress_at_a_time():
    search = GridSearchCV(RBM, {"learning_rate": [0.1, 0.2, 0.3]}, cv=2, refit=False)
    alone = clone(search).fit(X).cv_results_["mean_test_score"]
    with parallel_config(backend=SideBySide(2)):
        search.set_params(pre_dispatch=3).fit(X)
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], alone)


def test_processes_each_train_a_part(monkeypatch, stacks):
    monkeypatch.setattr(SideBySide, "processes", "sequential")
    tables = [X + 0.0 for _ in range(5)]
    models = fit_many(RBM, tables, n_jobs=2)
    alone = clone(RBM).fit(X)
    for model in models:
        np.testing.assert_array_equal(model.components_, alone.components_)
    assert set(stacks) == {2, 3}
    assert SideBySide(4, -1).n_processes >= 1
    with pytest.raises(ValueError, match="learning_rate"):
        fit_many(clone(RBM).set_params(learning_rate=-1.0), [X, X], n_jobs=2)


def test_an_ascent_of_another_kind_is_not_stacked(monkeypatch, stacks):
    monkeypatch.setattr(RBMAscent, "is_stackable", False)
    fit_many(RBM, [X, X])
    assert not stacks
