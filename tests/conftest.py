"""Options and guards of the whole suite."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

#: Examples of each property: 25 properties make 500 of them, or 10 000 of --run-slow.
N_EXAMPLES = 20
N_SLOW_EXAMPLES = 400


def pytest_addoption(parser):
    parser.addoption("--run-slow", action="store_true", help="run slow tests too")


def pytest_configure(config):
    is_slow = config.getoption("--run-slow")
    settings.register_profile(
        "skebm",
        max_examples=N_SLOW_EXAMPLES if is_slow else N_EXAMPLES,
        derandomize=not is_slow,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    settings.load_profile("skebm")
    # Workers share the cores; a test's nets are too small to gain from threads.
    torch.set_num_threads(1)


def pytest_collection_modifyitems(config, items):
    for item in items:
        if "slow" in item.keywords and not config.getoption("--run-slow"):
            item.add_marker(pytest.mark.skip(reason="slow: needs --run-slow"))
        if "gpu" in item.keywords and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no CUDA device here"))


@pytest.fixture(autouse=True)
def global_state_stays():
    """Fail any test in which the package changes global state of torch or numpy."""
    before = _global_state()
    yield
    assert _global_state() == before, "global state of torch or numpy was changed"


@pytest.fixture
def seeded():
    """Seed torch's global generator for nets that a test builds, and put it back."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def _global_state():
    name, keys, *position = np.random.get_state()
    return (
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.is_grad_enabled(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_float32_matmul_precision(),
        torch.backends.cudnn.benchmark,
        torch.distributions.Distribution._validate_args,
        tuple(np.geterr().items()),
        torch.default_generator.get_state().numpy().tobytes(),
        (name, keys.tobytes(), *position),
    )


@pytest.fixture(scope="session")
def blobs():
    """Three well separated classes in two columns, (X, y), 150 rows."""
    rng = np.random.RandomState(0)
    centers = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]])
    y = np.arange(150) % 3
    return centers[y] + rng.normal(size=(150, 2)), y
