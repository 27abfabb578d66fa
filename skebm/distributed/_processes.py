"""The processes that fit together: one alone, or a group of torch.distributed."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from skebm.distributed._rows import DividedModel
from skebm.exceptions import DistributedError
from skebm.networks import EnergyModel
from skebm.utils import to_numpy_tree, to_tensor_tree

Value = TypeVar("Value")
#: Rows of a table that are compared between processes.
N_COMPARED_ROWS = 1000


class Processes(Protocol):
    """Processes that take the same steps.

    What training asks of them. `ALONE` is one process, for which nothing happens.
    """

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""

    @property
    def size(self) -> int:
        """Number of processes."""

    @property
    def speaks(self) -> bool:
        """Whether this process prints."""

    def divide(self, model: EnergyModel) -> EnergyModel:
        """Return a model of whose rows each process computes a share."""

    def average(self, tensors: Iterable[Tensor | None]) -> None:
        """Replace tensors by their means over processes; None is passed over."""

    def agree(self, value: Value) -> Value:
        """Return the value of the first process."""

    def agree_state(self, state: Any) -> Any:
        """Return nested tensors of the first process, on the CPU."""

    def check_alike(self, what: str, *tables: Any) -> None:
        """Raise ValueError in all processes where their tables differ."""


class _Alone:
    """One process."""

    rank = 0
    size = 1
    speaks = True

    def divide(self, model: EnergyModel) -> EnergyModel:
        """Return the model."""
        return model

    def average(self, tensors: Iterable[Tensor | None]) -> None:
        """Change nothing."""

    def agree(self, value: Value) -> Value:
        """Return the value."""
        return value

    def agree_state(self, state: Any) -> Any:
        """Return the state."""
        return state

    def check_alike(self, what: str, *tables: Any) -> None:
        """Compare nothing."""


#: One process by itself.
ALONE: Processes = _Alone()


@dataclass(frozen=True)
class Group:
    """The processes of torch.distributed's default group."""

    rank: int
    size: int

    @property
    def speaks(self) -> bool:
        """Whether this process prints: the first one does."""
        return self.rank == 0

    def divide(self, model: EnergyModel) -> EnergyModel:
        """Return a model of whose rows each process computes a share."""
        return DividedModel(model.network, model.reference, model.entropy_weight, self)

    def average(self, tensors: Iterable[Tensor | None]) -> None:
        """Replace tensors by their means over processes; None is passed over."""
        present = [tensor for tensor in tensors if tensor is not None]
        if not present:
            return
        flat = torch.cat([tensor.flatten() for tensor in present])
        with _explained():
            dist.all_reduce(flat)
        flat /= self.size
        parts = flat.split([tensor.numel() for tensor in present])
        for tensor, part in zip(present, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def gather(self, own: Tensor, counts: Sequence[int]) -> Tensor:
        """Return the rows of all processes, which have so many each."""
        most = max(counts)  # processes pass on tensors of one shape
        padded = own.new_zeros((most, *own.shape[1:]))
        padded[: len(own)] = own
        found = [torch.empty_like(padded) for _ in counts]
        with _explained():
            dist.all_gather(found, padded)
        pieces = [rows[:count] for rows, count in zip(found, counts, strict=True)]
        return torch.cat(pieces)

    def agree(self, value: Value) -> Value:
        """Return the value of the first process."""
        box: list[Any] = [value if self.rank == 0 else None]
        with _explained():
            dist.broadcast_object_list(box, src=0)
        return value if self.rank == 0 else box[0]

    def agree_state(self, state: Any) -> Any:
        """Return nested tensors of the first process, on the CPU."""
        packed = to_numpy_tree(state) if self.rank == 0 else None
        return to_tensor_tree(self.agree(packed))

    def check_alike(self, what: str, *tables: Any) -> None:
        """Raise ValueError in all processes where their tables differ."""
        own = [_fingerprint(table) for table in tables]
        found: list[Any] = [None] * self.size
        with _explained():
            dist.all_gather_object(found, own)
        other = [rank for rank, prints in enumerate(found) if prints != found[0]]
        if other:
            shapes = [[shape for shape, _ in found[rank]] for rank in (0, other[0])]
            raise ValueError(
                f"All processes must be given the same {what}. Process {other[0]} has "
                f"others than process 0: their shapes are {shapes[1]} and {shapes[0]}. "
                "Fits of different rows go in `with skebm.distributed.alone():`."
            )


def _fingerprint(table: Any) -> tuple[tuple[int, ...], int]:
    """Return the shape of a table, and a number that some of its rows determine."""
    step = max(1, table.shape[0] // N_COMPARED_ROWS)
    rows = table[::step]
    values = rows if isinstance(rows, np.ndarray) else rows.data  # of a sparse matrix
    return tuple(table.shape), zlib.crc32(np.ascontiguousarray(values).tobytes())


@contextmanager
def _explained() -> Iterator[None]:
    """Tell what the failure of an exchange means."""
    try:
        yield
    except RuntimeError as error:
        raise DistributedError(
            "The processes of a fit lost touch: one has ended, takes longer than the "
            "timeout of skebm.distributed.init, or makes other calls than the others. "
            f"torch.distributed says: {error}"
        ) from error
