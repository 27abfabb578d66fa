"""Which processes fit together: joined by `init`, left by `shutdown`."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from skebm.distributed._processes import ALONE, Group, Processes
from skebm.utils import InvalidParameterError, is_positive


@dataclass
class _Membership:
    """What `init` has joined: by which process and thread, and whether it counts now.

    Children of a process, and its other threads, fit alone.
    """

    place: tuple[int, int] | None = None
    began_group: bool = False
    n_pauses: int = 0


_MEMBERSHIP = _Membership()


def init(timeout: float = 600.0) -> None:
    """Let the fits of this process be made by all processes of a launcher together.

    Reads RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT and LOCAL_RANK, which ``torchrun``
    and others set; without them, nothing happens and fits are made alone. A group that
    torch.distributed has already is joined as it is. Otherwise one is begun: by gloo,
    and by NCCL for CUDA, where this process takes the device LOCAL_RANK.

    From then on every process must make the same calls of `fit` and `partial_fit`, with
    the same rows and options. Fits in other threads, or in processes of joblib, are
    made alone.

    Parameters
    ----------
    timeout : float, default=600.0
        Seconds to wait for another process before `skebm.exceptions.DistributedError`.

    Raises
    ------
    skebm.exceptions.DistributedError
        By `fit`, in all other processes, where one has ended or takes too long.

    Examples
    --------
    A script ``train.py``, run by ``torchrun --nproc-per-node 4 train.py``; run by
    ``python train.py``, it fits alone:

    >>> import skebm.distributed
    >>> from sklearn.datasets import load_iris
    >>> from skebm import EBMDensityEstimator
    >>> skebm.distributed.init()
    >>> X, _ = load_iris(return_X_y=True)
    >>> model = EBMDensityEstimator(max_iter=2, random_state=0).fit(X)
    >>> if skebm.distributed.rank() == 0:
    ...     print(model.n_iter_)
    2
    """
    if not is_positive(timeout):
        raise InvalidParameterError(
            "The 'timeout' parameter of skebm.distributed.init must be a number of "
            f"seconds above zero. Got {timeout!r} instead."
        )
    if not dist.is_available():
        return
    if not dist.is_initialized():
        if not {"RANK", "WORLD_SIZE"} <= os.environ.keys():
            return
        backend = "gloo"
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
            backend = "cpu:gloo,cuda:nccl"
        dist.init_process_group(backend, timeout=timedelta(seconds=timeout))
        _MEMBERSHIP.began_group = True
    _MEMBERSHIP.place = _here()


def shutdown() -> None:
    """Let fits be made alone again; end the group of processes that `init` began.

    Examples
    --------
    >>> import skebm.distributed
    >>> skebm.distributed.shutdown()
    """
    if _MEMBERSHIP.began_group and dist.is_initialized():
        dist.destroy_process_group()
    _MEMBERSHIP.place, _MEMBERSHIP.began_group = None, False


@contextmanager
def alone() -> Iterator[None]:
    """Let the fits in a ``with`` block be made by this process alone.

    Examples
    --------
    >>> import skebm.distributed
    >>> with skebm.distributed.alone():
    ...     skebm.distributed.size()
    1
    """
    _MEMBERSHIP.n_pauses += 1
    try:
        yield
    finally:
        _MEMBERSHIP.n_pauses -= 1


def current() -> Processes:
    """Return the processes that make a fit which begins here.

    Examples
    --------
    >>> import skebm.distributed
    >>> skebm.distributed.current().size
    1
    """
    if _MEMBERSHIP.place != _here() or _MEMBERSHIP.n_pauses:
        return ALONE
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return ALONE
    return Group(dist.get_rank(), dist.get_world_size())


def rank() -> int:
    """Return the number of this process among those that fit together, from 0.

    Examples
    --------
    >>> import skebm.distributed
    >>> skebm.distributed.rank()
    0
    """
    return current().rank


def size() -> int:
    """Return the number of processes that fit together; 1 without `init`.

    Examples
    --------
    >>> import skebm.distributed
    >>> skebm.distributed.size()
    1
    """
    return current().size


def _here() -> tuple[int, int]:
    return os.getpid(), threading.get_ident()
