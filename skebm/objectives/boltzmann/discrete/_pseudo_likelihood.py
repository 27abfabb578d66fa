"""Pseudo-likelihood: each unit given the others."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from skebm.networks import RBM
from skebm.objectives.boltzmann.discrete._ratios import log_ratios


def pseudo_likelihood(rbm: RBM, v: Tensor, generator: torch.Generator) -> Tensor:
    r"""Return minus the log pseudo-likelihood of each row, shape (n,).

    .. math:: -\sum_i \log p(v_i \mid v_{-i})
        = \sum_i \log\Big(1 + \sum_{v'} \frac{p(v')}{p(v)}\Big)

    over the rows v' that differ from v in unit i alone.

    References
    ----------
    J. Besag, "Statistical analysis of non-lattice data", The Statistician 24 (1975).
    """
    del generator
    return torch.logsumexp(pad(-log_ratios(rbm, v), (1, 0)), dim=-1).sum(-1)
