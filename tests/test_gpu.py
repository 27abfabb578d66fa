"""On a CUDA device: fits there, scores alike on both, loads without one."""

import pickle

import numpy as np
import pytest
import torch

from skebm import EBMDensityEstimator, JEMClassifier

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
