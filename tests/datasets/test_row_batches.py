"""Rows drawn from batches: all where they fit, else a fair sample."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse, stats
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from skebm import EBMDensityEstimator
from skebm.datasets import sample_rows
from skebm.networks import MLP

X = np.arange(60.0).reshape(30, 2)
FRAME = pd.DataFrame({"a": X[:, 0], "b": pd.Categorical(np.arange(30) // 3)})


def parts(table, size=7):
    """Yield parts of a table in their order."""
    for start in range(0, len(table), size):
        yield table[start : start + size]


class Stream(IterableDataset):
    def __iter__(self):
        yield from X


def arrow_of(kind, tmp_path):
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow has no parquet")
    from pyarrow import dataset

    table = pa.table({"a": X[:, 0], "b": [f"w{k // 3}" for k in range(30)]})
    if kind == "reader":
        return pa.RecordBatchReader.from_batches(table.schema, table.to_batches(7))
    for k, part in enumerate(parts(table.to_pandas(), 10)):
        part.to_parquet(tmp_path / f"{k}.parquet")
    if kind == "file":
        return pq.ParquetFile(tmp_path / "0.parquet")
    return dataset.dataset([tmp_path / f"{k}.parquet" for k in range(3)])


SOURCES = {
    "arrays": lambda: parts(X),
    "tensors": lambda: parts(torch.from_numpy(X)),
    "Dataset": lambda: TensorDataset(torch.from_numpy(X)),
    "IterableDataset": Stream,
    "DataLoader": lambda: DataLoader(TensorDataset(torch.from_numpy(X)), 7),
}


@pytest.mark.parametrize("name", SOURCES)
def test_all_rows_come_in_their_order_where_they_fit(name):
    rows = sample_rows(SOURCES[name](), max_rows=30)
    np.testing.assert_array_equal(rows, X)


@pytest.mark.parametrize(("kind", "n"), [("reader", 30), ("file", 10), ("dataset", 30)])
def test_arrow_comes_back_as_arrow(kind, n, tmp_path):
    rows = sample_rows(arrow_of(kind, tmp_path), max_rows=30)
    assert type(rows).__module__.startswith("pyarrow")
    assert rows.to_pandas()["a"].tolist() == X[:n, 0].tolist()
    some = sample_rows(arrow_of(kind, tmp_path), max_rows=4, random_state=0)
    assert some.num_rows == 4
    assert some["b"].to_pylist() == [f"w{int(a) // 6}" for a in some["a"].to_pylist()]


def test_frames_keep_categories_that_only_some_batches_have():
    batches = (
        part.assign(b=part["b"].cat.remove_unused_categories()) for part in parts(FRAME)
    )
    rows = sample_rows(batches)
    assert rows["b"].tolist() == FRAME["b"].tolist()
    assert isinstance(rows["b"].dtype, pd.CategoricalDtype)
    assert rows.index.tolist() == FRAME.index.tolist()


def test_polars_and_sparse_batches():
    polars = pytest.importorskip("polars", reason="polars is not installed")
    frame = polars.DataFrame({"a": X[:, 0], "b": X[:, 1]})
    some = sample_rows(parts(frame), 9, random_state=0)
    assert some.shape == (9, 2)
    assert ((some["b"] - some["a"]) == 1).all()
    matrix = sample_rows((sparse.csr_matrix(part) for part in parts(X)), 9)
    assert matrix.shape == (9, 2)
    assert sparse.issparse(matrix)


def test_labels_and_weights_stay_with_their_rows():
    batches = ((part, pd.Series(part[:, 0]), part[:, 1]) for part in parts(X))
    rows, y, weight = sample_rows(batches, 11, random_state=1)
    assert len(rows) == 11
    np.testing.assert_array_equal(rows, np.c_[y, weight])


def test_each_row_has_the_same_chance_and_comes_once():
    """Counts of 30 rows in 600 draws of 5, against chance."""
    counts = np.zeros(30)
    rng = np.random.RandomState(0)
    for _ in range(600):
        drawn = sample_rows(parts(X, 3), 5, rng)[:, 0] / 2
        assert len(np.unique(drawn)) == 5
        assert (np.diff(drawn) > 0).all()
        counts[drawn.astype(int)] += 1
    # Without replacement the variance of a count is less by (30 - 5) / (30 - 1).
    statistic = ((counts - 100) ** 2).sum() / 100 / (1 - 5 / 30) * 29 / 30
    assert stats.chi2(29).sf(statistic) > 0.001


def test_draws_are_seeded_and_leave_numpys_global_state():
    state = np.random.get_state()[1].copy()
    first, second = (sample_rows(parts(X), 5, random_state=3) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    sample_rows(parts(X), 5)
    assert (np.random.get_state()[1] == state).all()


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "hold no row"),
        ([X, X[:, :1]], r"columns of the first, \[\(2,\)\]. Got \[\(1,\)\]"),
        ([FRAME, FRAME.rename(columns={"b": "c"})], r"'b'\]\]. Got \[\['a', 'c'\]\]"),
        ([(X, X[:, 0]), X], "as many parts as the first, 2. Got 1"),
        ([(X, X[:3, 0])], r"same number of rows. Got \[30, 3\]"),
        (iter(X), r"two dimensions. Got an object of type ndarray of shape \(2,\)"),
    ],
)
def test_batches_that_are_no_table_are_refused(batches, message):
    with pytest.raises(ValueError, match=message):
        sample_rows(batches)


def test_options_and_other_objects_are_refused():
    with pytest.raises(ValueError, match="'max_rows' parameter must be an int"):
        sample_rows([X], max_rows=0)
    with pytest.raises(TypeError, match=r"iterable of tables.*type int"):
        sample_rows(3)


# ------------------------------------------------------------------------- fits

FAST = {
    "network": partial(MLP, hidden_features=(8,)),
    "reference": "gaussian",
    "normalizer": "importance",
    "ood_score": "log_density",
    "max_iter": 2,
}
ROWS = np.random.RandomState(0).normal(size=(80, 2))


@pytest.mark.parametrize("random_state", [0, np.random.RandomState(4)])
def test_a_fit_to_batches_is_that_to_the_table_where_all_rows_fit(random_state):
    def fit(X):
        if isinstance(random_state, np.random.RandomState):
            random_state.seed(4)
        model = EBMDensityEstimator(**FAST, random_state=random_state).fit(X)
        return model.score_samples(ROWS)

    loader = DataLoader(TensorDataset(torch.from_numpy(ROWS)), 16)
    np.testing.assert_array_equal(fit(loader), fit(ROWS))


def test_a_fit_to_more_batches_takes_some_rows(monkeypatch):
    monkeypatch.setattr(sample_rows, "__defaults__", (40, None))
    model = EBMDensityEstimator(**FAST, trim_fraction=0.1, random_state=0)
    model.fit(pd.DataFrame(part, columns=["u", "v"]) for part in parts(ROWS))
    assert len(model.is_trimmed_) == 40
    assert model.feature_names_in_.tolist() == ["u", "v"]
    assert model.sample(3, random_state=0).columns.tolist() == ["u", "v"]


def test_weights_go_with_tables_alone():
    with pytest.raises(ValueError, match=r"sample_weight.* not with batches.*sample_r"):
        EBMDensityEstimator(**FAST).fit(parts(ROWS), sample_weight=np.ones(80))
