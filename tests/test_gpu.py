"""On a CUDA device: fits there, scores alike on both, loads without one."""

import pickle

import numpy as np
import pytest
import torch

from skebm import BernoulliRBM, EBMDensityEstimator, JEMClassifier

pytestmark = pytest.mark.gpu

FAST = {"max_iter": 5, "reference": "gaussian", "random_state": 0, "device": "cuda"}


@pytest.mark.parametrize("estimator", [EBMDensityEstimator, JEMClassifier])
def test_scores_are_alike_on_both_devices(estimator, blobs):
    X, y = blobs
    model = estimator(**FAST).fit(X, y)
    assert next(model.network_.parameters()).is_cuda
    state = model.__getstate__()
    state["_device"] = "cpu"
    on_cpu = estimator.__new__(estimator)
    on_cpu.__setstate__(state)
    np.testing.assert_allclose(
        model.score_samples(X), on_cpu.score_samples(X), rtol=1e-4, atol=1e-3
    )


def test_fit_leaves_the_device_generator_alone(blobs):
    before = torch.cuda.get_rng_state()
    EBMDensityEstimator(**FAST).fit(blobs[0])
    assert torch.equal(torch.cuda.get_rng_state(), before)


def test_one_seed_one_result(blobs):
    first, second = (EBMDensityEstimator(**FAST).fit(blobs[0]) for _ in range(2))
    np.testing.assert_array_equal(
        first.score_samples(blobs[0]), second.score_samples(blobs[0])
    )


def test_a_pickle_holds_no_cuda_storage(blobs):
    model = EBMDensityEstimator(**FAST).fit(blobs[0])
    assert b"torch" not in pickle.dumps(model.__getstate__())
    assert pickle.loads(pickle.dumps(model)).sample(3).shape == (3, 2)


@pytest.mark.parametrize("method", ["pcd", "cd", "tempering"])
@pytest.mark.parametrize("gaps", [False, True])
def test_a_machine_trains_there_and_scores_alike_on_both(method, gaps):
    rng = np.random.RandomState(0)
    X = (rng.uniform(size=(200, 30)) < 0.3).astype(np.float32)
    table = np.where(rng.uniform(size=X.shape) < 0.1, np.nan, X) if gaps else X
    options = {"method": method, "n_iter": 2, "random_state": 0, "device": "cuda"}
    model = BernoulliRBM(30, **options).fit(table)
    model.partial_fit(table[:20])
    again = BernoulliRBM(30, **options).fit(table).partial_fit(table[:20])
    np.testing.assert_array_equal(model.components_, again.components_)
    on_gpu = model.score_samples(X)
    for kind in ("gibbs", "tempering"):
        assert model.sample(3, 0, method=kind, n_steps=20).shape == (3, 30)
    assert np.isfinite(model.impute(table)).all()
    model.set_params(device="cpu")
    np.testing.assert_allclose(model.score_samples(X), on_gpu, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(
        model.transform(table[:5]),
        model.set_params(device="cuda").transform(table[:5]),
        atol=1e-3,
    )
