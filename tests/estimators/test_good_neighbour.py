"""Importing and fitting change no global state of torch or numpy."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from joblib import Parallel, delayed
from torch import nn

from skebm import EBMDensityEstimator, JEMClassifier
from skebm.training._adam import AdamW

IMPORT_CHECK = """
import numpy as np, torch, sklearn, random
def state():
    return (torch.get_default_dtype(), torch.get_num_threads(),
            torch.get_num_interop_threads(), torch.is_grad_enabled(),
            torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark,
            torch.distributions.Distribution._validate_args, str(np.geterr()),
            torch.initial_seed(), torch.get_rng_state().numpy().tobytes(),
            str(np.random.get_state()), random.getstate(), str(sklearn.get_config()))
before = state()
import skebm
import skebm.evaluation, skebm.model_selection, skebm.objectives, skebm.training
assert state() == before
"""


def test_import_changes_nothing():
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_CHECK], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("random_state", [0, None])
@pytest.mark.parametrize("estimator", [EBMDensityEstimator, JEMClassifier])
def test_fit_changes_nothing(estimator, random_state, blobs):
    """The autouse fixture compares the global state before and after."""
    model = estimator(max_iter=2, random_state=random_state).fit(*blobs)
    model.sample(2)
    assert np.isfinite(model.score_samples(blobs[0])).all()


def dropout_net(n_features, n_outputs):
    return nn.Sequential(
        nn.Linear(n_features, 16), nn.Dropout(0.5), nn.SiLU(), nn.Linear(16, n_outputs)
    )


@pytest.mark.parametrize("network", ["mlp", dropout_net])
def test_fits_in_threads_are_those_of_one_thread(network, blobs):
    X, _ = blobs

    def energies(seed):
        model = EBMDensityEstimator(
            network=network,
            reference="gaussian",
            normalizer=None,
            max_iter=20,
            early_stopping=False,
            random_state=seed,
        )
        return model.fit(X).energy(X)

    seeds = [0, 1, 0, 1]
    alone = [energies(seed) for seed in seeds]
    threads = Parallel(4, backend="threading")(delayed(energies)(s) for s in seeds)
    np.testing.assert_array_equal(threads, alone)
    assert np.ptp(alone[0]) > 0  # something was learnt


def test_training_leaves_the_global_generator_alone(blobs, monkeypatch):
    """Only the building of nets holds the generator that all threads share."""
    states = []
    step = AdamW.step

    def spied(self, *args, **kwargs):
        states.append(torch.default_generator.get_state().numpy().tobytes())
        return step(self, *args, **kwargs)

    monkeypatch.setattr(AdamW, "step", spied)
    before = torch.default_generator.get_state().numpy().tobytes()
    for estimator in (EBMDensityEstimator, JEMClassifier):
        model = estimator(reference="gaussian", normalizer=None, max_iter=2)
        model.fit(*blobs)
    assert set(states) == {before}
