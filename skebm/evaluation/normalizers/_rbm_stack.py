"""Annealings of RBMs of one shape, made as one stack of matrices.

Each chain moves as it would alone, to the last bit; see `skebm.training._stacked`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from skebm.networks import BernoulliUnits

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
    def likeness(self) -> Hashable | None:
        """What walks share that can be made as a stack; None where this can't be."""
        rbm = self.path.rbm
        n_units = len(self.v) * len(rbm.weight)
        if (
            type(rbm.visible) is not BernoulliUnits
            or self.v.dtype != torch.float32
            or rbm.weight.dtype != torch.float32
            or self.v.device.type != "cpu"
            or n_units % WHOLE
            or 2 * n_units > MAX_UNITS
        ):
            return None
        return rbm.weight.shape, self.v.shape, *self.ladder


def make_walks(walks: Sequence[Walk]) -> list[Iterable[Tensor]]:
    """Make walks of one likeness; return the log weights of the steps of each."""
    if len(walks) == 1:
        return [walk.path.walk(walk.ladder, walk.v) for walk in walks]
    size = max(1, MAX_UNITS // (len(walks[0].v) * max(walks[0].path.rbm.weight.shape)))
    made: list[Iterable[Tensor]] = []
    for start in range(0, len(walks), size):
        made += _made(walks[start : start + size])
    return made


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
    tilt_term = weight.new_empty(n_walks, n)
    steps = []
    for before, beta in pairwise(ladder):
        torch.baddbmm(hidden_bias, v, weight.mT, out=pull)
        rise = functional.softplus(beta * pull)
        rise -= functional.softplus(before * pull)
        for s, path, term in zip(v, paths, tilt_term, strict=True):
            torch.mv(s, path.tilt, out=term)
        steps.append(rise.sum(2) + (beta - before) * tilt_term)
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
