"""Whole numbers that floats round come back as they were, where they were observed."""

import pickle

import numpy as np
import pandas as pd
import pytest

from skebm import EBMDensityEstimator, GaussianRBM
from skebm.estimators._large_numbers import keep_large

N_ROWS = 40
QUICK = {
    "network": "mlp",
    "reference": "gaussian",
    "normalizer": None,
    "ood_score": "log_density",
    "max_iter": 1,
    "random_state": 0,
}
LARGE = [2**53 + 1 + 2 * i for i in range(N_ROWS)]
GAP = 3


def frame_of(kind):
    """Return a frame of large numbers with a gap."""
    holes = [None if i == GAP else value for i, value in enumerate(LARGE)]
    other = np.arange(N_ROWS) % 7 + 0.5
    if kind in ("polars", "pyarrow"):
        library = pytest.importorskip(kind, reason=f"{kind} is not installed")
        if kind == "pyarrow":
            return library.table({"n": holes, "x": other})
        pytest.importorskip("narwhals", reason="narwhals is not installed")
        return library.DataFrame({"n": holes, "x": other})
    if kind != "Int64":
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    return pd.DataFrame({"n": pd.array(holes, dtype=kind), "x": other})


@pytest.mark.parametrize("kind", ["Int64", "int64[pyarrow]", "polars", "pyarrow"])
@pytest.mark.parametrize(
    "model",
    [EBMDensityEstimator(**QUICK), GaussianRBM(2, n_iter=1, random_state=0)],
    ids=lambda model: type(model).__name__,
)
def test_large_whole_numbers_are_kept(model, kind):
    X = frame_of(kind)
    filled = model.fit(X).impute(X)
    column = filled["n"]
    found = getattr(column, "to_pylist", lambda: list(column))()
    assert found[GAP] is not None and LARGE[0] - 1 <= found[GAP] <= LARGE[-1] + 1
    assert found[:GAP] + found[GAP + 1 :] == LARGE[:GAP] + LARGE[GAP + 1 :]
    assert type(filled) is type(X)


@pytest.mark.parametrize("kind", ["pandas", "pyarrow"])
def test_dictionaries_come_back_after_loading(kind):
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    X = pa.table(
        {
            "d": pa.array(["a", "b"] * (N_ROWS // 2)).dictionary_encode(),
            "x": np.arange(N_ROWS) % 7 + 0.5,
        }
    )
    if kind == "pandas":
        X = X.to_pandas(types_mapper=pd.ArrowDtype)
    model = pickle.loads(pickle.dumps(EBMDensityEstimator(**QUICK).fit(X)))
    drawn = model.sample(3, random_state=0)
    if kind == "pandas":
        assert drawn["d"].dtype == X["d"].dtype
    else:
        assert drawn.schema.field("d").type == X.schema.field("d").type


@pytest.mark.parametrize("kind", ["Int64", "int64[pyarrow]", "polars", "pyarrow"])
def test_a_code_that_was_filled_is_not_put_back(kind):
    spoiled = pd.DataFrame({"n": [-9999 if i == 5 else v for i, v in enumerate(LARGE)]})
    floats = [float(2**53 if i == 5 else v) for i, v in enumerate(LARGE)]
    rounded = pd.DataFrame({"n": floats})
    spoiled, rounded = spoiled.astype("int64"), rounded.astype("int64")
    if kind in ("polars", "pyarrow"):
        library = pytest.importorskip(kind, reason=f"{kind} is not installed")
        make = library.table if kind == "pyarrow" else library.DataFrame
        spoiled, rounded = (make({"n": t["n"].tolist()}) for t in (spoiled, rounded))
    else:
        spoiled, rounded = spoiled.astype(kind), rounded.astype(kind)
    column = keep_large(rounded, spoiled)["n"]
    found = getattr(column, "to_pylist", lambda: list(column))()
    assert found == [2**53 if i == 5 else value for i, value in enumerate(LARGE)]
