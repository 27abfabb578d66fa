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
#: Rows whose digest is taken at once.
CHUNK_ROWS = 10_000


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
    if estimator.checkpoint is None:
        return Start(agreed_random_state(rng, read.table))
    checkpoints, problem = None, None
    if current().speaks:
        try:
            checkpoints = _open(estimator, read, y, rng)
        except (OSError, ValueError) as error:  # which the other processes wait for
            problem = error
    problem = current().agree(problem)
    if problem is not None:
        raise problem
    return Start(agreed_random_state(rng, read.table), checkpoints)


def _open(estimator, read, y, rng):
    """Return the files of a fit; those of a killed one set its random numbers."""
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
    return Checkpoints(folder, about)


def _state_of(words):
    name, keys, *position = json.loads(words)
    return (name, np.array(keys, dtype=np.uint32), *position)


def _options(estimator):
    """Return the options as words that do not depend on the process."""
    options = {}
    for name, value in estimator.get_params(deep=True).items():
        if isinstance(value, np.random.RandomState):
            name_of_state, keys, *position = value.get_state()
            value = f"{name_of_state} {_digest(keys)} {position}"
        elif isinstance(value, np.ndarray):
            value = f"{value.shape} {_digest(value)}"
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
    if part.dtype == object:  # whose bytes are addresses
        return hashlib.sha256(repr(part.tolist()).encode()).hexdigest()
    digest = hashlib.sha256(f"{part.dtype}".encode())
    for first in range(0, len(part), CHUNK_ROWS):  # not a second copy of the table
        digest.update(np.ascontiguousarray(part[first : first + CHUNK_ROWS]))
    return digest.hexdigest()
