"""Tables with more rows than a fit can or need look at."""

import tracemalloc

import numpy as np
import pytest
import torch
from sklearn.datasets import make_blobs

from skebm import EBMDensityEstimator, JEMClassifier
from skebm.estimators import _joint_plan
from skebm.estimators._reader import TableReader
from skebm.semi_supervised.graph import _graph

QUICK = {"reference": "gaussian", "normalizer": None, "random_state": 0}


def table(n_rows, n_columns=4):
    X, y = make_blobs(n_rows, n_columns, centers=3, random_state=0)
    return X, y, np.where(np.arange(n_rows) % (n_rows // 30) == 0, y, -1)


def test_rows_beyond_the_graph_and_beyond_those_visited_are_classified(monkeypatch):
    X, y, few = table(900)
    monkeypatch.setattr(_graph, "MAX_GRAPH_ROWS", 200)
    monkeypatch.setattr(_joint_plan, "N_AUTO_STEPS", 20)
    options = {"objective": None, "stacking": False, "batch_size": 32} | QUICK
    model = JEMClassifier(learning_rate=0.01, **options)
    model.fit(X, few)
    assert model.n_iter_ == 1
    assert (model.predict(X) == y).mean() > 0.95
    assert (model.transduction_[few >= 0] == few[few >= 0]).all()


def test_the_epochs_that_a_user_asks_for_pass_over_all_rows(monkeypatch):
    X, _, few = table(300)
    monkeypatch.setattr(_joint_plan, "N_AUTO_STEPS", 2)
    seen = []
    visiting = _joint_plan.TrainingRows.visiting
    monkeypatch.setattr(
        _joint_plan.TrainingRows,
        "visiting",
        lambda rows, most, rng: seen.append(most) or visiting(rows, most, rng),
    )
    options = {"objective": None, "stacking": False, "batch_size": 32} | QUICK
    JEMClassifier(max_iter=1, **options).fit(X, few)
    JEMClassifier(**options).fit(X, few)
    assert seen == [300, 64]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_memory_maps_and_tensors_are_not_copied(tmp_path, dtype):
    X = table(200)[0].astype(dtype)
    X.tofile(tmp_path / "rows")
    mapped = np.memmap(tmp_path / "rows", dtype, "r", shape=X.shape)
    for given in (mapped, torch.from_numpy(X), X):
        _, read = TableReader.learn(EBMDensityEstimator(), given)
        assert np.shares_memory(read, np.asarray(given))
    EBMDensityEstimator(max_iter=1, **QUICK).fit(mapped).score_samples(mapped)


def test_verbose_tells_of_long_phases(monkeypatch, capsys):
    monkeypatch.setattr("skebm.utils._progress.LONG", 0.0)
    monkeypatch.setattr("skebm.utils._progress.BETWEEN", 0.0)
    X, _, few = table(1500)
    options = {"objective": None, "stacking": False, "max_iter": 1} | QUICK
    JEMClassifier(verbose=1, **options).fit(X, few).predict(X)
    out = capsys.readouterr().out
    for part in ("graph: ", "answers for rows: 1024 of 1500", "standardising rows: "):
        assert part in out
    JEMClassifier(**options).fit(X, few)
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_a_fit_needs_little_memory_beside_the_table(tmp_path):
    n_rows = 100_000
    X, _, few = table(n_rows, 20)
    X.tofile(tmp_path / "rows")
    mapped = np.memmap(tmp_path / "rows", np.float64, "r", shape=X.shape)
    size = X.nbytes
    del X
    options = {"objective": None, "stacking": False, "max_iter": 1} | QUICK
    small = table(500, 20)
    JEMClassifier(**options).fit(small[0], small[2])  # loads what is loaded late
    tracemalloc.start()
    JEMClassifier(**options).fit(mapped, few)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # NumPy's arrays alone: the graph has 60 000 rows, however large the table is.
    assert peak < 3 * size
