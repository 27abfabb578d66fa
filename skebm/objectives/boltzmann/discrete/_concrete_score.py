"""Concrete score matching: ratios of probabilities, by denoising."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from skebm.networks import RBM
from skebm.objectives.boltzmann.discrete._ratios import as_discrete, log_ratios

#: Odds of the value of a unit against each other one, in noisy rows.
ODDS = 20.0


def concrete_score_matching(rbm: RBM, v: Tensor, generator: torch.Generator) -> Tensor:
    r"""Return the denoising form of concrete score matching, shape (n,).

    .. math:: \frac1\omega \sum_{v'} \Big(\frac{p(v')}{p(\tilde v)}
        - \frac{q(v' \mid v)}{q(\tilde v \mid v)}\Big)^2

    over the neighbours v' of a noisy row :math:`\tilde v \sim q(\cdot \mid v)`, each of
    whose units has kept its value with odds :math:`\omega` against each other one. The
    best ratios are those of noisy rows,
    :math:`E[q(v' | v) / q(\tilde v | v) \mid \tilde v]`. Without noise, as published,
    the loss has no lower bound where a row's neighbour is not among the rows.

    References
    ----------
    C. Meng, K. Choi, J. Song and S. Ermon, "Concrete score matching: generalized score
    matching for discrete data", NeurIPS 2022.
    """
    units = as_discrete(rbm)
    theta = rbm.visible.bias(rbm.visible.statistic(v), ODDS - 1)
    noisy = rbm.visible.draw_(theta.clone(), torch.empty_like(theta), generator)
    target = units.switched(noisy, theta[:, None])[:, 0].exp()
    log_ratio = -log_ratios(rbm, noisy)
    capped = log_ratio.clamp(max=math.log(ODDS))
    error = capped.exp() - target
    # No ratio of noisy rows is above the odds: beyond, the loss goes on as a line.
    excess = (log_ratio - capped).masked_fill(log_ratio.isneginf(), 0.0)
    losses = error.square() + 2 * ODDS * error.detach() * excess
    return losses.masked_fill(~units.others(noisy), 0.0).sum((1, 2)) / ODDS
