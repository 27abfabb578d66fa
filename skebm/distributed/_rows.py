"""Rows of a step divided among processes, differentiable as often as nets are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from skebm.networks import EnergyModel
from skebm.networks._energy_model import Members
from skebm.references import Density

#: Fewer rows for each process are computed by all of them.
MIN_ROWS = 2


class Gatherer(Protocol):
    """What dividing rows needs of a group of processes."""

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""

    @property
    def size(self) -> int:
        """Number of processes."""

    def gather(self, own: Tensor, counts: Sequence[int]) -> Tensor:
        """Return the rows of all processes, which have so many each."""


@dataclass(frozen=True)
class Division:
    """Which of n rows each process computes; their numbers differ by one at most."""

    processes: Gatherer
    n_rows: int

    @property
    def counts(self) -> list[int]:
        """Number of rows of each process."""
        least, rest = divmod(self.n_rows, self.processes.size)
        return [least + (r < rest) for r in range(self.processes.size)]

    def own(self, x: Tensor) -> Tensor:
        """Return the rows of this process."""
        counts, rank = self.counts, self.processes.rank
        return x.narrow(0, sum(counts[:rank]), counts[rank])

    def gather(self, own: Tensor) -> Tensor:
        """Return the rows of all processes."""
        return self.processes.gather(own, self.counts)


# All processes hold the same whole tensors and compute the same loss of them. The two
# functions below are each other's derivative, but for a factor: the gradient of what a
# net computes from its own rows is multiplied by the number of processes. So the mean
# over processes of a parameter's gradient is the gradient of the whole loss, both for
# parameters that see own rows and for those that see all. Gradients by rows have the
# factor taken off.


class _Own(torch.autograd.Function):
    """From rows that all processes hold to those of this one."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, division: Division) -> Tensor:
        """Return the rows of this process."""
        ctx.division = division
        return division.own(x).clone()

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> Any:
        """Return the gradients of all processes, each by its own rows."""
        division: Division = ctx.division
        gathered: Any = _Gathered.apply(slopes[0], division)
        return gathered / division.processes.size, None


class _Gathered(torch.autograd.Function):
    """From the rows of this process to those of all."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, division: Division) -> Tensor:
        """Return the rows of all processes."""
        ctx.division = division
        return division.gather(own)

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> Any:
        """Return the gradient by the rows of this process."""
        division: Division = ctx.division
        own: Any = _Own.apply(slopes[0], division)
        return own * division.processes.size, None


def divided(
    processes: Gatherer,
    function: Callable[[Tensor], Tensor],
    x: Tensor,
    dim: int = 0,
) -> Tensor:
    """Return a function of rows, of which each process computes its share.

    Parameters
    ----------
    processes : Gatherer
        The processes; all must call this with the same rows.
    function : callable
        From rows to values, each row's by itself; both have rows in ``dim``.
    x : Tensor
        Rows.
    dim : int, default=0
        The axis of rows.
    """
    if x.shape[dim] < MIN_ROWS * processes.size:
        return function(x)
    division = Division(processes, x.shape[dim])
    own: Any = _Own.apply(x.movedim(dim, 0), division)
    values = function(own.movedim(0, dim))
    gathered: Any = _Gathered.apply(values.movedim(dim, 0), division)
    return gathered.movedim(0, dim)


class DividedModel(EnergyModel):
    """An energy-based model whose rows are divided among processes.

    Parameters
    ----------
    network, reference, entropy_weight
        As of `skebm.networks.EnergyModel`.
    processes : Gatherer
        All must ask the model the same.
    """

    def __init__(
        self,
        network: nn.Module,
        reference: Density,
        entropy_weight: float,
        processes: Gatherer,
    ) -> None:
        super().__init__(network, reference, entropy_weight)
        self.processes = processes

    @property
    def whole(self) -> EnergyModel:
        """The model that computes all rows in this process."""
        return EnergyModel(self.network, self.reference, self.entropy_weight)

    def in_latent_space(self) -> EnergyModel:
        """Return the model of latent points, of the same log Z, or the model itself."""
        latent = self.whole.in_latent_space()
        if latent.reference is self.reference:
            return self
        return DividedModel(
            latent.network, latent.reference, latent.entropy_weight, self.processes
        )

    def logits(self, x: Tensor) -> Tensor:
        """Return g(x), shape (n, n_outputs)."""
        return divided(self.processes, self.whole.logits, x)

    def critic(self, x: Tensor) -> Tensor:
        """Return c(x), shape (n,)."""
        return divided(self.processes, self.whole.critic, x)

    def log_prob_unnormalized(self, x: Tensor) -> Tensor:
        """Return log q0(x) - E(x), shape (n,)."""
        return divided(self.processes, self.whole.log_prob_unnormalized, x)

    def split(self, counts: Sequence[int]) -> list[Members]:
        """Return the members in groups of so many, each a function of its rows."""
        groups = self.whole.split(counts)
        return [partial(divided, self.processes, group, dim=1) for group in groups]
