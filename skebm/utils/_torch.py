"""Devices, generators and conversions between NumPy and torch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from skebm.utils._progress import Phase

SCORING_BATCH = 1024
#: Held while torch's global generators are in use: fits may run in several threads.
_GLOBAL_GENERATORS = threading.RLock()


def resolve_device(device: str | torch.device | None) -> torch.device:
    """Return the device named by ``device``; "auto" or None takes CUDA if available.

    Raises
    ------
    ValueError
        Where the name is unknown or the device is not on this machine.
    """
    if device is None or device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    problem = (
        f"device={device!r} is not a device skebm runs on; expected 'auto', 'cpu', "
        "'cuda' or 'cuda:<number>'."
    )
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(problem) from error
    if resolved.type not in ("cpu", "cuda"):  # MPS, for one, has no float64
        raise ValueError(problem)
    if resolved.type == "cuda":
        n_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (resolved.index or 0) >= n_devices:
            raise ValueError(
                f"device={device!r} was asked for, but torch sees {n_devices} CUDA "
                "devices here. Use device='cpu' or device='auto'."
            )
    return resolved


def nearest_device(device: str | torch.device | None) -> str:
    """Return the name of the device, or "cpu" where it is not on this machine."""
    try:
        return str(resolve_device(device))
    except ValueError:
        return "cpu"


def make_generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a new generator on ``device``, seeded by ``seed``."""
    generator = torch.Generator(device=device)
    generator.manual_seed(int(seed))
    return generator


def draw_seed(random_state: np.random.RandomState) -> int:
    """Draw a seed for a torch generator from a NumPy random state."""
    return int(random_state.randint(np.iinfo(np.int32).max))


def value_and_gradient(
    function: Callable[[Tensor], Tensor], x: Tensor
) -> tuple[Tensor, Tensor]:
    """Return f(x) of rows, shape (n,), and its gradients (n, d), without a graph.

    The gradient is zero where the function is a constant.
    """
    leaf = x.detach().requires_grad_()
    with torch.enable_grad():
        values = function(leaf)
        gradient = None
        if values.requires_grad:
            (gradient,) = torch.autograd.grad(values.sum(), leaf, allow_unused=True)
    if gradient is None:
        gradient = torch.zeros_like(x)
    return values.detach(), gradient


def normal_like(x: Tensor, generator: torch.Generator) -> Tensor:
    """Draw standard normal numbers of x's shape, dtype and device."""
    noise = torch.randn(
        x.shape, generator=generator, device=generator.device, dtype=x.dtype
    )
    return noise.to(x.device)


def uniform_like(x: Tensor, generator: torch.Generator) -> Tensor:
    """Draw uniform numbers in [0, 1) of x's shape, dtype and device."""
    noise = torch.rand(
        x.shape, generator=generator, device=generator.device, dtype=x.dtype
    )
    return noise.to(x.device)


def pick(
    weights: Tensor, generator: torch.Generator, n_draws: int | None = None
) -> Tensor:
    """Draw columns of each row by the weights in it, shape (n,) or (n, n_draws).

    Weights are at least zero and need not sum to one. Where all are zero, or one is
    NaN, some column is returned.
    """
    # torch.multinomial draws one number per column, which takes far longer.
    levels = weights.cumsum(1)
    uniform = uniform_like(levels.new_empty(len(levels), n_draws or 1), generator)
    # A product that is rounded up to the last level would select no column.
    below = levels[:, -1:].nextafter(levels.new_zeros(()))
    levels_drawn = (uniform * levels[:, -1:]).minimum(below)
    drawn = torch.searchsorted(levels, levels_drawn, right=True)
    drawn = drawn.clamp(max=levels.shape[1] - 1)
    return drawn[:, 0] if n_draws is None else drawn


@contextmanager
def isolated_rng(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global generators inside the block and put them back after it.

    Initialisers and dropout of user-made nets draw from the global generators, which
    nobody outside `fit` may see change. They draw other numbers in double precision, so
    single precision is the default inside. One thread at a time: keep the block short.
    """
    on_cuda = device.type == "cuda"
    with _GLOBAL_GENERATORS:
        default_dtype = torch.get_default_dtype()
        cpu_state = torch.default_generator.get_state()
        cuda_state = torch.cuda.get_rng_state(device) if on_cuda else None
        torch.default_generator.manual_seed(seed)
        torch.set_default_dtype(torch.float32)
        if on_cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        try:
            yield
        finally:
            torch.set_default_dtype(default_dtype)
            torch.default_generator.set_state(cpu_state)
            if cuda_state is not None:
                torch.cuda.set_rng_state(cuda_state, device)


def in_padded_batches(
    function: Callable[[Tensor], Tensor],
    x: np.ndarray,
    prepare: Callable[[np.ndarray], Tensor],
    batch_size: int = SCORING_BATCH,
) -> np.ndarray:
    """Apply ``function`` to the rows of ``x`` in batches of one fixed size.

    Matrix products round differently at different batch sizes; a last batch filled
    up with copies of its first row makes a row's score independent of the other rows.
    ``prepare`` takes rows to a tensor. Returns float64 of shape (n, ...).
    """
    results, told = None, Phase("answers for rows", len(x))
    for start in range(0, len(x), batch_size):
        rows = x[start : start + batch_size]
        batch = prepare(rows)
        if len(rows) < batch_size:
            filler = batch[:1].expand(batch_size - len(rows), *batch.shape[1:])
            batch = torch.cat([batch, filler])
        values = function(batch)[: len(rows)].detach()
        if results is None:
            # A small block kept from each batch would leave the heap full of holes.
            results = torch.empty((len(x), *values.shape[1:]), dtype=torch.float64)
        results[start : start + len(rows)] = values
        told.done(start + len(rows))
    if results is None:
        raise ValueError("x has no rows to apply the function to.")
    return results.numpy()


def in_parts(x: Tensor, size: int) -> Sequence[Tensor]:
    """Return the rows in parts of so many, which keep memory small.

    All at once while torch traces a program, which knows no number of rows.
    """
    return (x,) if torch.compiler.is_compiling() else x.split(max(1, size))


def log_add_exp(a: Tensor, b: Tensor) -> Tensor:
    """Return log(exp(a) + exp(b)), in a traced program too.

    There ``torch.logaddexp`` becomes ONNX's exponentials, which are 0 far below 0.
    """
    if torch.compiler.is_compiling():
        return torch.stack([a, b]).logsumexp(dim=0)
    return torch.logaddexp(a, b)


def to_numpy_tree(tree: Any) -> Any:
    """Replace the tensors of nested dicts, lists and tuples by NumPy arrays."""
    if isinstance(tree, Tensor):
        return tree.detach().cpu().numpy().copy()
    if isinstance(tree, dict):
        return {key: to_numpy_tree(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)(to_numpy_tree(value) for value in tree)
    return tree


def to_tensor_tree(tree: Any) -> Any:
    """Replace the NumPy arrays of nested dicts, lists and tuples by CPU tensors."""
    if isinstance(tree, np.ndarray):
        return torch.from_numpy(tree.copy())
    if isinstance(tree, dict):
        return {key: to_tensor_tree(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)(to_tensor_tree(value) for value in tree)
    return tree


def warming_average(
    decay: float,
) -> Callable[[Any, Any, Tensor | int], None]:
    """Return an exponential average that forgets the first weights quickly."""

    def average(averaged: Any, current: Any, n_averaged: Tensor | int) -> None:
        n = int(n_averaged)
        get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))(
            averaged, current, n_averaged
        )

    return average


def in_threads(function: Callable[[Any], Any], parts: Sequence[Any]) -> list[Any]:
    """Return the function of each part, in as many threads as torch uses.

    Each of them uses one thread for its own operations.
    """
    n_threads = torch.get_num_threads()
    if min(n_threads, len(parts)) <= 1:
        return [function(part) for part in parts]
    options: Any = {"initializer": torch.set_num_threads, "initargs": (1,)}
    try:
        with ThreadPoolExecutor(min(n_threads, len(parts)), **options) as pool:
            return list(pool.map(function, parts))
    finally:
        torch.set_num_threads(n_threads)
