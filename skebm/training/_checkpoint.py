"""Files from which a training that was killed goes on."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from skebm.exceptions import TrainingWarning
from skebm.utils import warn_user

#: Largest share of the time of a training that writing its file takes.
MAX_SHARE = 0.05
MANIFEST = "fit.json"


class CheckpointFile:
    """The state of one training, in a file that is written as a whole or not at all.

    Parameters
    ----------
    path : Path
        Tensors, numbers and words, as torch stores them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written, self._seconds = time.perf_counter(), 0.0
        self._failed = False

    def load(self) -> dict[str, Any] | None:
        """Return the stored state; None where there is none."""
        if not self.path.exists():
            return None
        return torch.load(self.path, map_location="cpu", weights_only=True)

    @property
    def is_due(self) -> bool:
        """Whether another state may be written, by the time that the last one took."""
        return (time.perf_counter() - self._written) * MAX_SHARE >= self._seconds

    def save(self, state: Mapping[str, Any]) -> None:
        """Store a state in place of the last one.

        Where that fails, as on a full disk, the training goes on and a warning says so:
        it would be lost otherwise, and of several processes the others would wait.
        """
        started = time.perf_counter()
        try:
            self._replace(state)
        except (OSError, RuntimeError) as error:  # torch has its own for a short write
            self.path.with_suffix(".part").unlink(missing_ok=True)
            self._warn(error)
        self._written = time.perf_counter()
        self._seconds = self._written - started

    def _replace(self, state: Mapping[str, Any]) -> None:
        temporary = self.path.with_suffix(".part")
        with temporary.open("wb") as file:
            torch.save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self.path)

    def _warn(self, error: Exception) -> None:
        """Warn, once, that a state could not be written."""
        if self._failed:
            return
        self._failed = True
        last = "an earlier epoch" if self.path.exists() else "the beginning"
        warn_user(
            f"The checkpoint {str(self.path)!r} can't be written: {error}. Training "
            f"goes on; if it is killed, it begins again at {last}.",
            TrainingWarning,
        )


class Checkpoints:
    """A folder with the files of the trainings of one fit, in their order.

    Parameters
    ----------
    folder : Path
        Made where it is not there.
    about : mapping of str to mapping of str to str
        What the fit is of: groups of names and words. A folder that holds another fit
        is refused.

    Raises
    ------
    ValueError
        Where the folder holds another fit; names what differs.
    """

    def __init__(self, folder: Path, about: Mapping[str, Mapping[str, str]]) -> None:
        self.folder, self._n_trainings = folder, 0
        folder.mkdir(parents=True, exist_ok=True)
        manifest = folder / MANIFEST
        if manifest.exists():
            _check_same(folder, json.loads(manifest.read_text()), about)
            return
        temporary = manifest.with_suffix(".part")
        temporary.write_text(json.dumps(about, indent=1))
        os.replace(temporary, manifest)

    def next_file(self) -> CheckpointFile:
        """Return the file of the training that begins."""
        self._n_trainings += 1
        return CheckpointFile(self.folder / f"training_{self._n_trainings}.pt")

    def remove(self) -> None:
        """Remove the files: the fit has ended."""
        for number in range(1, self._n_trainings + 1):
            path = self.folder / f"training_{number}.pt"
            path.unlink(missing_ok=True)
            path.with_suffix(".part").unlink(missing_ok=True)
        (self.folder / MANIFEST).unlink(missing_ok=True)


def stored_words(folder: Path, group: str, name: str) -> str | None:
    """Return words about the fit that a folder holds; None where there are none."""
    manifest = folder / MANIFEST
    if not manifest.exists():
        return None
    return json.loads(manifest.read_text()).get(group, {}).get(name)


def _check_same(
    folder: Path,
    there: Mapping[str, Mapping[str, str]],
    here: Mapping[str, Mapping[str, str]],
) -> None:
    differences = []
    for group in {**here, **there}:
        one, other = there.get(group, {}), here.get(group, {})
        for name in {**other, **one}:
            if one.get(name) == other.get(name):
                continue
            values = f" ({one.get(name)} there, {other.get(name)} here)"
            is_long = len(values) > 120 or group == "data"
            differences.append(name if is_long else name + values)
    if differences:
        raise ValueError(
            f"The 'checkpoint' folder {str(folder)!r} holds another fit, which differs "
            f"in {'; '.join(differences)}. To go on with it, make these the same; to "
            "begin anew, remove its files or name another folder."
        )
