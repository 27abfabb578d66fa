"""Fits on a device that is not the CPU, without a GPU: a stand-in written in Python.

Each group of cases runs in a process of its own, since a device stays registered.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils import backend_registration

import skebm
from skebm.objectives import OBJECTIVES

HERE = Path(__file__).parent
#: Two epochs of three steps, and of one.
N_MORE_STEPS = 4
#: Waits of a step: each end of chains is checked; a step asks whether the flow learns.
WAITS = dict.fromkeys(
    ("cd", "pcd", "improved_cd", "short_run", "jem", "wake_sleep", "flow_contrastive"),
    1,
)
pytestmark = pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this torch has no back ends in Python",
)


def run(group):
    """Return the results of a group of cases, by name."""
    root = str(Path(skebm.__file__).parents[1])
    found = subprocess.run(
        [sys.executable, str(HERE / "cases.py"), group],
        env=os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)[group]


def assert_no_errors(results):
    """Check that every case ran, and that on the device."""
    errors = {name: case["error"] for name, case in results.items() if case["error"]}
    assert not errors, "\n".join(f"{name}: {error}" for name, error in errors.items())
    fits = {k: v["operations"] for k, v in results.items() if "fit" in k}
    assert all(fits.values()), f"not on the device: {fits}"


@pytest.mark.parametrize("group", ["density", "classifier", "machines"])
def test_no_tensor_is_left_on_the_cpu(group):
    results = run(group)
    assert len(results) >= 10
    assert_no_errors(results)


def test_a_step_does_not_wait_for_the_device():
    results = run("steps")
    assert_no_errors(results)
    names = [*OBJECTIVES.keys() - {"hdge"}, "classifier"]
    waits = {name: waits_of_a_step(results, name) for name in names}
    assert waits == {name: WAITS.get(name, 0) for name in names}


def waits_of_a_step(results, name):
    """Return how often the CPU waits in a step: those of six less those of two."""
    few, many = (results[f"{name}, {size}"] for size in (100, 25))
    assert many["operations"] > few["operations"], "no more steps than before"
    more = sum(many[k] - few[k] for k in ("_local_scalar_dense", "nonzero"))
    return more / N_MORE_STEPS


def test_a_tensor_left_on_the_cpu_is_found():
    results = run("misplaced")
    assert "is on the CPU" in results["sum"]["error"]
    assert "is on the CPU" in results["generator"]["error"]
    assert "numpy" in results["numpy"]["error"]
    assert results["index"]["error"] is None
    assert results["number"] == {
        "error": None,
        "_local_scalar_dense": 1,
        "nonzero": 0,
        "operations": 2,
    }
