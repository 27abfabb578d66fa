"""Fits by two processes, against those by one."""

import importlib.util
import os
import pickle
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import skebm
import skebm.distributed
from skebm.distributed import ALONE
from skebm.distributed._rows import Division

pytestmark = pytest.mark.distributed
SCRIPT = Path(__file__).with_name("_fits.py")
LIMIT = 240  # seconds, of a crowded machine
#: Finite differences of energies divide rounding errors by a small step.
BOUNDS = {"fd_score_matching": 1e-5}


def load_fits():
    spec = importlib.util.spec_from_file_location("_fits", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FITS = load_fits()


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Return what each of two processes found."""
    return run_two(tmp_path_factory.mktemp("two"), "quick")


def run_two(folder, speed):
    shared = {
        **os.environ,
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(skebm.__file__).parents[1]),
    }
    command = [sys.executable, str(SCRIPT), str(folder), speed]
    started = [
        subprocess.Popen(
            command,
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        said = [process.communicate(timeout=LIMIT)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0], "\n".join(said)
    return [pickle.loads((folder / f"{r}.pickle").read_bytes()) for r in range(2)]


def test_both_take_part(two):
    assert [found["size"] for found in two] == [2, 2]


def assert_as_one(two, name):
    """Chains as well: every process draws the random numbers of all rows."""
    first, second = (found["objectives"][name] for found in two)
    np.testing.assert_array_equal(first, second)
    one = FITS.of_objectives([name])[name]
    np.testing.assert_allclose(first, one, rtol=0, atol=BOUNDS.get(name, 1e-6))


@pytest.mark.parametrize("name", sorted(set(FITS.NAMES) - set(FITS.SLOW)))
def test_two_processes_give_the_parameters_of_one(name, two):
    assert_as_one(two, name)


@pytest.mark.slow
def test_two_processes_give_the_parameters_of_one_with_more_exchanges(tmp_path):
    two = run_two(tmp_path, "slow")
    for name in FITS.SLOW:
        assert_as_one(two, name)


def test_estimators_seeded_by_the_system_are_equal_in_both(two):
    first, second = (found["estimators"] for found in two)
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name], err_msg=name)
    np.testing.assert_array_equal(first["pickled"], first["density"])


def test_means_rows_and_decisions(two):
    for found in two:
        assert found["exchanges"]["average"].tolist() == [0.5, 1.5]
        assert found["exchanges"]["gathered"].ravel().tolist() == [0, 1, 2]
        assert found["exchanges"]["agreed"] == 0


def test_alone_each_fits_its_own_rows(two):
    options = {"random_state": 0, **FITS.QUICK}
    for rank, found in enumerate(two):
        model = skebm.EBMDensityEstimator(**options).fit(FITS.ROWS + rank)
        np.testing.assert_array_equal(
            found["alone"][0], FITS.parameters(model.network_)
        )


def test_different_rows_are_refused_in_both(two):
    for found in two:
        assert "must be given the same rows. Process 1 has others" in found["alone"][1]


def test_the_end_of_a_process_is_an_error_of_the_other(two):
    assert "The processes of a fit lost touch" in two[0]["last_one"]
    assert "last_one" not in two[1]


# ------------------------------------------------------------------ one process


def test_without_a_launcher_nothing_happens(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    skebm.distributed.init()
    assert not torch.distributed.is_initialized()
    assert skebm.distributed.current() is ALONE
    assert (skebm.distributed.rank(), skebm.distributed.size()) == (0, 1)
    skebm.distributed.shutdown()


@pytest.mark.parametrize("timeout", [0, -1, "long", float("inf")])
def test_a_wrong_timeout_is_refused(timeout):
    with pytest.raises(ValueError, match=r"'timeout' parameter of skebm\.distributed"):
        skebm.distributed.init(timeout=timeout)


def test_one_process_of_one_and_other_threads_are_alone(monkeypatch):
    environment = {
        "RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    skebm.distributed.init()
    try:
        assert torch.distributed.is_initialized()
        assert skebm.distributed.current() is ALONE
        monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
        assert skebm.distributed.size() == 2
        with skebm.distributed.alone():
            assert skebm.distributed.size() == 1
        sizes = []
        thread = threading.Thread(target=lambda: sizes.append(skebm.distributed.size()))
        thread.start()
        thread.join()
        assert sizes == [1]
    finally:
        skebm.distributed.shutdown()
    assert not torch.distributed.is_initialized()


@pytest.mark.parametrize("n_rows, size", [(6, 2), (7, 2), (9, 4), (8, 3)])
def test_rows_are_divided_evenly_and_in_order(n_rows, size):
    x = torch.arange(n_rows)
    parts = [
        Division(SimpleNamespace(rank=rank, size=size), n_rows).own(x)
        for rank in range(size)
    ]
    assert torch.equal(torch.cat(parts), x)
    lengths = [len(part) for part in parts]
    assert max(lengths) - min(lengths) <= 1
