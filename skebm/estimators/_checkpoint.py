"""Fits that go on after they were killed: what they are of, and where they begin."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from skebm.distributed import current
from skebm.estimators._input import agreed_random_state, private_random_state
from skebm.training import Checkpoints, stored_words

#: Options that do not change what is fitted.
WITHOUT_EFFECT = ("checkpoint", "verbose")


@dataclass(frozen=True, eq=False)
class Start:
    """Where a fit begins: its source of randomness, and files it goes on from."""

    rng: np.random.RandomState
    checkpoints: Checkpoints | None = None


def fresh_start(options, *tables):
    """Return the start of a fit to tables that keeps no files."""
    return Start(agreed_random_state(options.random_state, *tables))


def start_of(estimator, read, y=None):
    """Return the start of a fit, which may be where a killed one began.

    Of processes that fit together, the first one keeps the files.

    Raises
    ------
    ValueError
        Where the folder holds a fit of other options or rows.
    """
    rng = private_random_state(estimator.random_state)
    if estimator.checkpoint is None or not current().speaks:
        return Start(agreed_random_state(rng, read.table))
    folder = Path(estimator.checkpoint)
    is_random = estimator.random_state is None
    if is_random and (stored := stored_words(folder, "random numbers", "state")):
        rng.set_state(_state_of(stored))
    about = {
        "versions": {name: version(name) for name in ("skebm", "torch", "numpy")},
        "parameters": {"estimator": type(estimator).__name__, **_options(estimator)},
        "data": _data(read, y),
    }
    if is_random:
        state = rng.get_state()
        about["random numbers"] = {
            "state": json.dumps([state[0], state[1].tolist(), *state[2:]])
        }
    checkpoints = Checkpoints(folder, about)
    return Start(agreed_random_state(rng, read.table), checkpoints)


def _state_of(words):
    name, keys, *position = json.loads(words)
    return (name, np.array(keys, dtype=np.uint32), *position)


def _options(estimator):
    """Return the options as words that do not depend on the process."""
    options = {}
    for name, value in estimator.get_params(deep=True).items():
        if isinstance(value, np.random.RandomState):
            value = hashlib.sha256(value.get_state()[1].tobytes()).hexdigest()
        if name not in WITHOUT_EFFECT:
            options[name] = re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))
    return options


def _data(read, y):
    """Return the shape, the names and digests of rows, weights and labels."""
    parts = {"X": read.table, "sample_weight": read.weight, "y": y}
    names = None if read.names is None else list(read.names)
    return {
        "shape of X": str(read.table.shape),
        "names of columns": str(names),
        **{name: _digest(part) for name, part in parts.items()},
    }


def _digest(part):
    if part is None:
        return "None"
    part = np.ascontiguousarray(part)
    return hashlib.sha256(f"{part.dtype}".encode() + part.tobytes()).hexdigest()
