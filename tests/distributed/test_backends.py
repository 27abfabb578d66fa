"""Many fits by joblib's back ends: each is made alone, and equals one made here."""

import joblib
import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

import skebm.distributed
from skebm import EBMDensityEstimator

pytestmark = pytest.mark.distributed
ROWS = np.random.RandomState(0).normal(size=(60, 2))
GRID = {"batch_size": [20, 30]}


def search(n_jobs):
    model = EBMDensityEstimator(
        network="mlp",
        reference="gaussian",
        normalizer="importance",
        max_iter=1,
        random_state=0,
    )
    found = GridSearchCV(model, GRID, cv=2, n_jobs=n_jobs).fit(ROWS)
    scores = found.cv_results_["mean_test_score"]
    assert np.isfinite(scores).all()
    return scores


def test_threads_fit_as_one_process_does():
    with joblib.parallel_backend("threading"):
        np.testing.assert_array_equal(search(2), search(None))


@pytest.mark.slow
def test_processes_fit_as_one_process_does():
    with joblib.parallel_backend("loky"):
        np.testing.assert_allclose(search(2), search(None), rtol=1e-6)


@pytest.mark.slow
def test_a_cluster_of_dask_fits_as_one_process_does():
    distributed = pytest.importorskip("distributed", reason="needs dask.distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with (
        distributed.LocalCluster(**options) as cluster,
        distributed.Client(cluster),
        joblib.parallel_backend("dask"),
    ):
        np.testing.assert_allclose(search(2), search(None), rtol=1e-6)
    assert skebm.distributed.size() == 1
