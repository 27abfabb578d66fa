"""Ratio matching: squared errors of bounded ratios of probabilities."""

from __future__ import annotations

import torch
from torch import Tensor

from skebm.networks import RBM
from skebm.objectives.boltzmann.discrete._ratios import log_ratios


def ratio_matching(rbm: RBM, v: Tensor, generator: torch.Generator) -> Tensor:
    r"""Return the ratio matching loss of each row, shape (n,).

    .. math:: \sum_{v'} g\Big(\frac{p(v)}{p(v')}\Big)^2, \qquad g(u) = \frac1{1 + u}

    over the neighbours v' of v: its mean over data is that of the squared difference of
    g between model and data, but for a constant.

    References
    ----------
    A. Hyvarinen, "Some extensions of score matching", Computational Statistics & Data
    Analysis 51 (2007).
    """
    del generator
    return torch.sigmoid(-log_ratios(rbm, v)).square().sum((1, 2))
