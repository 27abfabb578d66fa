"""Fits that are killed 20 times, and whether they end in the numbers of one go.

A child process fits with ``checkpoint=``; its parent kills it by SIGKILL after a random
time, and starts the next one, which goes on. After so many kills the last one may end.
Its scores, draws and history, but for seconds, must be those of a fit in one go, to the
last bit. Times are such that kills come in all phases: before the first epoch, within
steps, and while the file is written.

    python benchmarks/kill_and_resume.py
"""

from __future__ import annotations

import os
import pickle
import signal
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from _report import parser, report
from sklearn.datasets import load_breast_cancer, load_digits

from skebm import EBMDensityEstimator, JEMClassifier
from skebm.networks import MLP


def density_task():
    X, _ = load_breast_cancer(return_X_y=True)
    rng = np.random.RandomState(0)
    X = np.where(rng.uniform(size=X.shape) < 0.02, np.nan, X)
    options = {
        "network": partial(MLP, hidden_features=(64, 64)),
        "reference": "gaussian",
        "normalizer": "importance",
        "ood_score": "log_density",
        "max_iter": 60,
        "n_iter_no_change": 60,
        "random_state": 0,
    }
    return partial(EBMDensityEstimator, **options), X, None


def classifier_task():
    X, y = load_digits(return_X_y=True)
    y = np.where(np.arange(len(y)) % 20 == 0, y, -1)
    options = {"stacking": False, "normalizer": None, "reference": "gaussian"}
    return partial(JEMClassifier, **options, random_state=0), X, y


TASKS = {"density, rows with gaps": density_task, "classifier": classifier_task}


def answers(model, X):
    found = {k: v for k, v in model.history_.items() if k != "seconds"}
    found |= {
        "scores": model.score_samples(X[:100]),
        "draws": np.asarray(model.sample(5, random_state=0)[0]),
        "epochs": [model.n_iter_, model.best_epoch_],
    }
    if hasattr(model, "predict_proba"):
        found["probabilities"] = model.predict_proba(X)
    return {name: np.asarray(values) for name, values in found.items()}


def different(one, other):
    """Return the names of the answers that are not the same to the last bit."""
    return [
        name
        for name in one.keys() | other.keys()
        if name not in other
        or name not in one
        or one[name].tobytes() != other[name].tobytes()
    ]


def fit_in_child(make, X, y, folder, file):
    """Start a process that fits and writes the answers to a file; return its number."""
    child = os.fork()
    if child:
        return child
    try:
        model = make(checkpoint=folder).fit(X, y)
        file.write_bytes(pickle.dumps(answers(model, X)))
        os._exit(0)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        os._exit(1)


def kill_and_resume(make, X, y, n_kills, rng):
    """Return the seconds in one go, the number of kills, and whether all is equal."""
    started = time.perf_counter()
    expected = answers(make().fit(X, y), X)
    seconds = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        file, run = Path(folder) / "answers", Path(folder) / "run"
        n_killed, n_early = 0, 0
        while n_killed < n_kills:
            child = fit_in_child(make, X, y, run, file)
            # As many kills as a fit has parts, so that it does not end before the last.
            time.sleep(rng.uniform(0, 2 * seconds / n_kills))
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            if not os.WIFSIGNALED(status):
                break  # it had ended
            n_killed += 1
            n_early += not (run / "training_1.pt").exists()
        if n_killed == n_kills:
            child = fit_in_child(make, X, y, run, file)
            os.waitpid(child, 0)
        found = pickle.loads(file.read_bytes())
        return seconds, n_killed, n_early, different(found, expected)


def main():
    options = parser(__doc__, seeds=1)
    options.add_argument("--kills", type=int, default=20)
    options.add_argument("--fits", nargs="+", default=list(TASKS))
    arguments = options.parse_args()
    torch.set_num_threads(1)  # a process with more threads may not be forked
    rows = []
    for name in arguments.fits:
        make, X, y = TASKS[name]()
        for seed in range(arguments.seeds):
            rng = np.random.default_rng(seed)
            found = kill_and_resume(make, X, y, arguments.kills, rng)
            names = (
                "seconds_in_one_go",
                "n_kills",
                "n_before_the_first_file",
                "different",
            )
            rows.append(
                {"fit": name, "seed": seed} | dict(zip(names, found, strict=True))
            )
            print(rows[-1], flush=True)
    report("kill_and_resume", rows, kills=arguments.kills)


if __name__ == "__main__":
    main()
