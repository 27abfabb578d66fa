"""Columns in which almost every row has a category of its own are named."""

import warnings

import numpy as np
import pandas as pd
import pytest

from skebm import EBMDensityEstimator, JEMClassifier, SoftmaxRBM
from skebm.exceptions import DataWarning
from skebm.tables._identifiers import warn_of_identifiers

N_ROWS = 60
QUICK = {
    "network": "mlp",
    "reference": "gaussian",
    "normalizer": None,
    "ood_score": "log_density",
    "max_iter": 1,
    "random_state": 0,
}
ESTIMATORS = [
    EBMDensityEstimator(**QUICK),
    JEMClassifier(**QUICK, objective=None, stacking=False, graph_weight=0),
    SoftmaxRBM(2, n_iter=1, random_state=0),
]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_a_column_of_names_is_told(estimator):
    X = pd.DataFrame({"sky": ["sun", "rain"] * (N_ROWS // 2)})
    X["who"] = [f"person {i // 2 if i < 10 else i}" for i in range(N_ROWS)]
    y = np.arange(N_ROWS) % 2
    message = r"column 'who' \(55 in 60 rows\).*leave it out"
    with pytest.warns(DataWarning, match=message):
        estimator.fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_identifiers(np.arange(9.0)[:, None], [0], None)


@pytest.mark.parametrize(
    ("n_rows", "n_categories", "is_told"),
    [(10, 10, False), (49, 49, False), (50, 44, False), (50, 45, True)],
)
def test_no_false_alarm(n_rows, n_categories, is_told):
    indices = np.r_[np.arange(n_rows) % n_categories, np.nan]
    X = np.c_[indices, np.arange(n_rows + 1)]  # numbers may all differ
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        warn_of_identifiers(X, [0], np.array(["a", "b"]))
    assert len(told) == is_told
