"""Minimum probability flow: dynamics that would leave the data."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from skebm.networks import RBM
from skebm.objectives.boltzmann.discrete._ratios import log_ratios

#: Half the log ratio at which the loss goes on as a straight line: a row may be so
#: unlikely that its exponential would end training.
MAX_EXPONENT = 3.0


def minimum_probability_flow(rbm: RBM, v: Tensor, generator: torch.Generator) -> Tensor:
    r"""Return the flow of probability from each row to its neighbours, shape (n,).

    .. math:: \sum_{v'} \sqrt{\frac{p(v')}{p(v)}}

    In an instant, dynamics that keep p would carry so much out of the data. Beyond
    :math:`e^3` a term goes on along its tangent.

    References
    ----------
    J. Sohl-Dickstein, P. Battaglino and M. R. DeWeese, "Minimum probability flow
    learning", ICML 2011.
    """
    del generator
    exponent = -0.5 * log_ratios(rbm, v)
    capped = exponent.clamp(max=MAX_EXPONENT)
    excess = (exponent - capped).masked_fill(exponent.isneginf(), 0.0)
    return (capped.exp() + math.exp(MAX_EXPONENT) * excess).sum((1, 2))
