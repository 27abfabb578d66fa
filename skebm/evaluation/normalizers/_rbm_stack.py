"""Annealings of RBMs of one shape, made as one stack of matrices.

Each chain moves as it would alone, to the last bit; see `skebm.training._stacked`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from skebm.networks import BernoulliUnits
from skebm.utils import in_threads
from skebm.utils._stacks import stacked_products

#: Numbers of a stack's units; see `skebm.training._stacked`.
MAX_UNITS = 32_000
#: Operations on so many numbers, or a multiple, have no end that is rounded otherwise.
WHOLE = 64


@dataclass(frozen=True, eq=False)
class Walk:
    """An annealing to be made.

    Attributes
    ----------
    path : _Path
        The tempered RBMs, and the source of randomness.
    ladder : list of float
        The betas.
    v : Tensor of shape (n, d)
        Where the chains begin.
    """

    path: Any
    ladder: list[float]
    v: Tensor

    @property
    def is_stackable(self) -> bool:
        """Whether the walk may be made as part of a stack."""
        rbm = self.path.rbm
        n_units = len(self.v) * len(rbm.weight)
        return (
            type(rbm.visible) is BernoulliUnits
            and self.v.dtype == rbm.weight.dtype == torch.float32
            and self.v.device.type == "cpu"
            and n_units % WHOLE == 0
            and 2 * n_units <= MAX_UNITS
        )

    @property
    def likeness(self) -> Hashable:
        """What walks share that are made at once: as a stack, or each in a thread."""
        if not self.is_stackable:
            return None if self.v.device.type != "cpu" else "each alone"
        return self.path.rbm.weight.shape, self.v.shape, *self.ladder

    def make(self) -> Iterator[Tensor]:
        """Yield the log weights of each step; the path has the ends in the end."""
        return self.path.walk(self.ladder, self.v)


def make_walks(walks: Sequence[Walk]) -> list[Iterable[Tensor]]:
    """Make walks of one likeness; return the log weights of the steps of each."""
    if len(walks) == 1:
        return [walks[0].make()]
    if not walks[0].is_stackable:
        return in_threads(_made_alone, walks)
    size = MAX_UNITS // (len(walks[0].v) * max(walks[0].path.rbm.weight.shape))
    n_threads = min(torch.get_num_threads(), len(walks) // 2)
    n_stacks = max(-(-len(walks) // max(1, size)), n_threads)
    ends = [len(walks) * k // n_stacks for k in range(n_stacks + 1)]
    parts = [walks[start:end] for start, end in pairwise(ends)]
    return [steps for part in in_threads(_made, parts) for steps in part]


@torch.no_grad()
def _made_alone(walk: Walk) -> list[Tensor]:
    return list(walk.make())


@torch.no_grad()
def _made(walks: Sequence[Walk]) -> list[Iterable[Tensor]]:
    """Return the log weights of each step of each walk; move the ends of the paths."""
    paths, ladder = [walk.path for walk in walks], walks[0].ladder
    weight = torch.stack([path.rbm.weight for path in paths])
    hidden_bias = torch.stack([path.rbm.hidden_bias for path in paths])[:, None]
    visible_bias = torch.stack([path.rbm.visible_bias for path in paths])
    base_bias = torch.stack([path.base_bias for path in paths])
    v = torch.stack([walk.v for walk in walks])
    n_walks, n, n_visible = v.shape
    n_hidden = weight.shape[1]
    # A row between those of two walks lets operations begin anew with each.
    pull = weight.new_empty(n_walks, n + 1, n_hidden)[:, :n]
    field = weight.new_empty(n_walks, n + 1, n_visible)[:, :n]
    noise = weight.new_empty(n_walks, n * (n_hidden + n_visible))
    hidden_noise = noise[:, : n * n_hidden].unflatten(1, (n, n_hidden))
    visible_noise = noise[:, n * n_hidden :].unflatten(1, (n, n_visible))
    tilt = torch.stack([path.tilt for path in paths])
    steps = []
    for before, beta in pairwise(ladder):
        torch.baddbmm(hidden_bias, v, weight.mT, out=pull)
        rise = functional.softplus(beta * pull)
        rise -= functional.softplus(before * pull)
        steps.append(rise.sum(2) + (beta - before) * stacked_products(v, tilt))
        for numbers, path in zip(noise, paths, strict=True):
            numbers.uniform_(generator=path.generator)
        probability = pull.mul_(beta).sigmoid_()
        h = torch.lt(hidden_noise, probability, out=probability)
        bias = torch.lerp(base_bias, visible_bias, beta)[:, None]
        torch.baddbmm(bias, h, weight, alpha=beta, out=field)
        v = torch.lt(visible_noise, field.sigmoid_(), out=v)
    for path, end in zip(paths, v, strict=True):
        path.ends = end
    return list(torch.stack(steps, dim=1))
