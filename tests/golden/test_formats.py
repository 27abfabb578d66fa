"""Estimators that earlier versions stored in a format of this major version load.

The files of a format were written by ``python tests/golden/test_formats.py``. They are
never written again: a new format gets a folder of its own.
"""

import json
import pickle
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import InconsistentVersionWarning

from skebm import BernoulliRBM, EBMDensityEstimator, JEMClassifier
from skebm.estimators import _stored
from skebm.exceptions import CalibrationWarning
from skebm.networks import MLP

FOLDERS = sorted(Path(__file__).parent.glob("format_*"))
X = np.random.RandomState(0).normal(size=(60, 2))
QUICK = {
    "network": partial(MLP, hidden_features=(4,)),
    "reference": "gaussian",
    "normalizer": "importance",
    "ood_score": "log_density",
    "max_iter": 2,
    "random_state": 0,
}
ESTIMATORS = {
    "density": EBMDensityEstimator(**QUICK),
    "classifier": JEMClassifier(**QUICK, stacking=False),
    "rbm": BernoulliRBM(2, n_iter=2, random_state=0),
}


def rows_of(name):
    return (X > 0).astype(float) if name == "rbm" else X


def write():
    folder = Path(__file__).parent / f"format_{_stored.FORMAT}"
    folder.mkdir()
    scores = {}
    for name, model in ESTIMATORS.items():
        rows = rows_of(name)
        model.fit(rows, np.where(X[:, 0] > 1, -1, (X[:, 1] > 0).astype(int)))
        scores[name] = model.score_samples(rows[:5]).tolist()
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(model, protocol=5))
    (folder / "scores.json").write_text(json.dumps(scores, indent=1) + "\n")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_state_of_an_earlier_format_loads(name, folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InconsistentVersionWarning)
        model = pickle.loads((folder / f"{name}.pkl").read_bytes())
    expected = json.loads((folder / "scores.json").read_text())[name]
    found = model.score_samples(rows_of(name)[:5])
    np.testing.assert_allclose(found, expected, atol=1e-4)
    with warnings.catch_warnings():
        # The earlier format calibrates by the held-out rows alone.
        warnings.simplefilter("ignore", CalibrationWarning)
        assert np.isfinite(model.offset_)
    # Options that came later have the values of what the earlier version did.
    assert type(model).__name__ in repr(model)
    assert clone(model).get_params().keys() == ESTIMATORS[name].get_params().keys()
    if name == "rbm" and folder.name == "format_1":
        assert model.early_stopping is False
    if name == "density":  # training goes on
        assert np.isfinite(model.partial_fit(X).score(X))


def test_the_present_format_has_files():
    assert f"format_{_stored.FORMAT}" in [folder.name for folder in FOLDERS]


if __name__ == "__main__":
    write()
