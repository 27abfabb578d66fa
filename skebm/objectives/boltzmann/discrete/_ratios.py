"""Log ratios of the probabilities of a row and of its neighbours."""

from __future__ import annotations

import math
from typing import Protocol, cast

import torch
from torch import Tensor
from torch.nn.functional import softplus

from skebm.networks import RBM


class DiscreteUnits(Protocol):
    """What visible units of finitely many values can do."""

    def switched(self, v: Tensor, theta: Tensor) -> Tensor:
        """Return by how much theta s(v) changes where a unit of v gets another value.

        theta of shape (k, n_statistics) or (n, k, n_statistics) gives shape (n, k,
        units, values).
        """

    def others(self, v: Tensor) -> Tensor:
        """Return where the value is another one, shape (n, units, values)."""


def as_discrete(rbm: RBM) -> DiscreteUnits:
    """Return the visible units of an RBM as what they can do."""
    return cast(DiscreteUnits, rbm.visible)


def log_ratios(rbm: RBM, v: Tensor) -> Tensor:
    r"""Return log p(v) - log p(v') of rows v and neighbours v', (n, units, values).

    A neighbour differs in the value of one unit. Infinity where the value is no other.
    """
    units = as_discrete(rbm)
    field = rbm.hidden_field(v)[:, :, None, None]
    gain = softplus(field + units.switched(v, rbm.weight)) - softplus(field)
    gain = gain.sum(1) + units.switched(v, rbm.visible_bias[None])[:, 0]
    return torch.where(units.others(v), -gain, math.inf)
