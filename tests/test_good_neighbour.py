"""Importing and fitting change no global state of torch or numpy."""

import subprocess
import sys

import numpy as np
import pytest

from skebm import EBMDensityEstimator, JEMClassifier

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
