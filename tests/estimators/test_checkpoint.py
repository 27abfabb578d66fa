"""Fits that were killed go on from their checkpoint, and end in the same numbers."""

import json
import signal
import subprocess
import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from skebm import EBMDensityEstimator, JEMClassifier
from skebm.exceptions import TrainingWarning
from skebm.networks import MLP, EnsembleMLP
from skebm.objectives import PCD, VERA
from skebm.training import CheckpointFile, GradientRun

RNG = np.random.RandomState(0)
X = RNG.normal(size=(120, 2))
GAPS = np.where(RNG.uniform(size=X.shape) < 0.2, np.nan, X)
Y = np.where(np.arange(120) % 3, -1, (X[:, 0] > 0).astype(int))
FAST = {
    "network": partial(MLP, hidden_features=(8,)),
    "reference": "gaussian",
    "normalizer": "importance",
    "ood_score": "log_density",
    "batch_size": 60,
    "max_iter": 6,
    "random_state": 0,
}


class Dropped(nn.Sequential):
    """A net that draws from torch's global generator while it is trained."""

    def __init__(self, n_features, n_outputs):
        layers = nn.Linear(n_features, 8), nn.Dropout(0.5), nn.Linear(8, n_outputs)
        super().__init__(*layers)


def density(**options):
    return EBMDensityEstimator(**FAST | options)


CASES = {
    "plain": (partial(density), X, None),
    "last weights": (partial(density, weight_averaging=0.0), X, None),
    "no held-out rows": (partial(density, early_stopping=False), X, None),
    "gaps": (partial(density), GAPS, None),
    "chains": (partial(density, objective=PCD()), X, None),
    "generator": (partial(density, objective=VERA(n_importance_samples=3)), X, None),
    "dropout": (partial(density, network=Dropped), X, None),
    "two trainings": (
        partial(density, reference="gmm", early_stopping=True),
        X[:, 0].round(3)[:, None],
        None,
    ),
    "classifier": (
        partial(
            JEMClassifier,
            **FAST | {"network": partial(EnsembleMLP, hidden_features=(8,))},
            stacking=False,
        ),
        X,
        Y,
    ),
}


class Killed(BaseException):
    """What ends a fit in these tests."""


@pytest.fixture
def kill(monkeypatch):
    """Return what ends the next fit in its n-th epoch; every epoch is kept."""
    monkeypatch.setattr(CheckpointFile, "is_due", True)
    epoch = GradientRun.epoch

    def kill_in(n, error=Killed):
        kill_in.n_trained = 0

        def counted(self, *args):
            if kill_in.n_trained == n:
                raise error
            kill_in.n_trained += 1
            return epoch(self, *args)

        monkeypatch.setattr(GradientRun, "epoch", counted)

    def let():
        monkeypatch.setattr(GradientRun, "epoch", epoch)

    kill_in.let = let
    return kill_in


def outcome(model, rows):
    history = {k: v for k, v in model.history_.items() if k != "seconds"}
    answers = [model.score_samples(rows), model.sample(3, random_state=0)]
    if isinstance(model, JEMClassifier):
        answers = [answers[0], answers[1][0], model.predict_proba(rows)]
    return history, answers, (model.best_epoch_, model.n_iter_)


def assert_same(model, other, rows):
    one, two = outcome(model, rows), outcome(other, rows)
    assert one[0].keys() == two[0].keys()
    for name, column in one[0].items():
        np.testing.assert_array_equal(column, two[0][name], err_msg=name)
    for a, b in zip(one[1], two[1], strict=True):
        np.testing.assert_array_equal(a, b)
    assert one[2] == two[2]


@pytest.mark.parametrize("case", CASES)
def test_a_killed_fit_goes_on_and_ends_in_the_same_numbers(case, kill, tmp_path):
    make, rows, y = CASES[case]
    expected = make().fit(rows, y)
    # Killed twice: before the fourth epoch, and before the sixth, or in the second
    # training before its third.
    kills = (3, 5) if case == "two trainings" else (3, 2)
    for n in kills:
        kill(n)
        with pytest.raises(Killed):
            make(checkpoint=tmp_path / "run").fit(rows, y)
    kill.let()
    kill(100)  # counts alone
    model = make(checkpoint=tmp_path / "run").fit(rows, y)
    n_epochs = 12 if case == "two trainings" else 6
    assert kill.n_trained == n_epochs - sum(kills)
    assert_same(model, expected, rows)
    assert list((tmp_path / "run").iterdir()) == []  # the fit has ended


def test_a_fit_without_a_seed_goes_on_with_its_own(kill, tmp_path):
    kill(3)
    with pytest.raises(Killed):
        density(random_state=None, checkpoint=tmp_path).fit(X)
    words = json.loads((tmp_path / "fit.json").read_text())["random numbers"]["state"]
    name, keys, *position = json.loads(words)
    seeded = np.random.RandomState()
    seeded.set_state((name, np.array(keys, dtype=np.uint32), *position))
    kill.let()
    model = density(random_state=None, checkpoint=tmp_path).fit(X)
    assert_same(model, density(random_state=seeded).fit(X), X)


def test_a_checkpoint_changes_nothing(tmp_path):
    model = density(checkpoint=str(tmp_path / "new" / "run")).fit(X)
    assert_same(model, density().fit(X), X)


FRAME = pd.DataFrame(X, columns=["a", "b"])
OTHERS = [
    ({"max_iter": 7}, X, None, r"differs in max_iter \(6 there, 7 here\)\. To go on"),
    ({"objective": VERA()}, X, None, r"objective \('stratified_nce' there, VERA\(\)"),
    ({"random_state": None}, X, None, "random_state"),
    ({"random_state": np.random.RandomState(0)}, X, None, "random_state"),
    ({}, X + 1e-9, None, "differs in X; to go on|differs in X. To go on"),
    ({}, X[:100], None, "differs in shape of X; X"),
    ({}, FRAME, None, "differs in names of columns"),
    ({}, X, np.ones(120), "differs in sample_weight"),
]


@pytest.mark.parametrize("options, rows, weight, message", OTHERS)
def test_a_checkpoint_of_another_fit_is_refused(
    options, rows, weight, message, kill, tmp_path
):
    kill(1)
    with pytest.raises(Killed):
        density(checkpoint=tmp_path).fit(X)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ValueError, match=f"'checkpoint' folder .*{message}"):
        density(checkpoint=tmp_path, **options).fit(rows, sample_weight=weight)
    assert sorted(tmp_path.iterdir()) == before


def test_labels_are_told_apart(kill, tmp_path):
    make, rows, y = CASES["classifier"]
    kill(1)
    with pytest.raises(Killed):
        make(checkpoint=tmp_path).fit(rows, y)
    with pytest.raises(ValueError, match="differs in y"):
        make(checkpoint=tmp_path).fit(rows, np.where(y == 0, -1, y) * 0 + Y[::-1])


def test_an_interrupted_fit_goes_on(kill, tmp_path):
    """A KeyboardInterrupt ends a fit in its best state; the next one goes on."""
    kill(3, KeyboardInterrupt)
    with pytest.warns(TrainingWarning, match="KeyboardInterrupt"):
        density(checkpoint=tmp_path).fit(X)
    kill.let()
    assert_same(density(checkpoint=tmp_path).fit(X), density().fit(X), X)


def test_other_ways_to_train_do_not_use_it(tmp_path):
    model = density(checkpoint=tmp_path / "run", warm_start=True)
    model.partial_fit(X).fit(X)
    assert not (tmp_path / "run").exists()


CODE = """
import os, pickle, signal, sys
import numpy as np
from skebm import EBMDensityEstimator
from skebm.training import CheckpointFile, GradientRun

folder, n_epochs = sys.argv[1], int(sys.argv[2])
CheckpointFile.is_due = True
epoch = GradientRun.epoch
def counted(self, *args):
    global n_epochs
    n_epochs -= 1
    if n_epochs == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return epoch(self, *args)
GradientRun.epoch = counted
X = np.random.RandomState(0).normal(size=(120, 2))
model = EBMDensityEstimator(
    checkpoint=folder, reference="gaussian", normalizer="importance", max_iter=6,
    ood_score="log_density", random_state=0,
).fit(X)
sys.stdout.buffer.write(model.score_samples(X).tobytes())
"""


def test_a_full_disk_costs_the_checkpoint_not_the_fit(tmp_path, monkeypatch):
    expected = density().fit(X).score_samples(X)

    def write(state, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", write)
    told = r"training_1\.pt' can't be written: .*No space left.*again at the beginning"
    with pytest.warns(TrainingWarning, match=told) as caught:
        model = density(checkpoint=tmp_path / "fit").fit(X)
    assert len(caught) == 1
    np.testing.assert_array_equal(model.score_samples(X), expected)
    assert not list((tmp_path / "fit").iterdir())


def test_a_process_that_was_killed_goes_on_in_a_new_one(tmp_path):
    def run(n_epochs):
        command = [sys.executable, "-c", CODE, str(tmp_path / "run"), str(n_epochs)]
        return subprocess.run(command, capture_output=True)

    killed = run(4)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = run(4)  # epochs 4 to 6
    assert done.returncode == 0, done.stderr
    rows = np.random.RandomState(0).normal(size=(120, 2))
    expected = EBMDensityEstimator(
        reference="gaussian",
        normalizer="importance",
        max_iter=6,
        ood_score="log_density",
        random_state=0,
    ).fit(rows)
    found = np.frombuffer(done.stdout)
    np.testing.assert_array_equal(found, expected.score_samples(rows))
    assert torch.get_num_threads() == 1
