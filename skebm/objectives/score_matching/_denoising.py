"""Denoising score matching."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from skebm.networks import EnergyModel
from skebm.objectives._base import Batch, Loss, check_range
from skebm.objectives.score_matching._base import (
    ScoreMatchingObjective,
    score_at,
)
from skebm.utils import is_positive, is_sequence, normal_like


class DenoisingScoreMatching(ScoreMatchingObjective):
    r"""Denoising score matching.

    .. math::

        \min_E \; \tfrac{1 - w}{2} E \left|\nabla \log r_E(x + \sigma u)
            + \frac{u}{\sigma}\right|^2
        + \tfrac{w}{2} E_{q_0} |\nabla \log r_E - \nabla \log q_0|^2, \qquad
        u \sim N(0, I)

    with :math:`r_E = q_0 ((1 - w) e^{-E} + w)`. The score of a mixture is the mean of
    its components' scores given x, so that the minimum is :math:`r_E = (1 - w) p_\sigma
    + w q_0`, where :math:`p_\sigma` is the data's density smoothed. Only first
    derivatives by the rows are taken. Each u is used with both signs, which keeps the
    gradient's variance bounded where :math:`\sigma` is small. What w is for:
    `ScoreMatching`.

    Several levels are drawn evenly, with equal weights. An energy that does not depend
    on the level then learns the mean of the smoothed densities; other weights, such as
    the usual :math:`\sigma^2`, would only change the proportions. So wide levels cost
    likelihood. Their purpose, to train where there are no rows, is served by
    :math:`q_0` without a bias; so one small level is the default.

    Parameters
    ----------
    noise_scales : tuple of float, default=(0.05,)
        The levels :math:`\sigma`, in standardised units.
    reference_share : float, default=0.5
        w. 0 is the method as published, and what a normalised network gets.

    References
    ----------
    Vincent. A connection between score matching and denoising autoencoders. Neural
    Computation 2011. Several levels: Song, Ermon. Generative modeling by estimating
    gradients of the data distribution. NeurIPS 2019.

    Examples
    --------
    >>> from skebm.objectives import DenoisingScoreMatching
    >>> DenoisingScoreMatching(noise_scales=(0.05, 0.2))
    DenoisingScoreMatching(noise_scales=(0.05, 0.2))
    """

    def __init__(
        self,
        noise_scales: tuple[float, ...] = (0.05,),
        reference_share: float = 0.5,
    ) -> None:
        self.noise_scales = noise_scales
        self.reference_share = reference_share

    def check_options(self) -> None:
        """Raise ValueError naming an option that is out of its range."""
        super().check_options()
        right = is_sequence(self.noise_scales, is_positive)
        check_range(self, "noise_scales", right, "a tuple of numbers above 0")

    def step(
        self,
        model: EnergyModel,
        batch: Batch,
        state: nn.Module,
        generator: torch.Generator,
    ) -> Iterator[Loss]:
        """Yield the mean squared error of scores at noisy rows and draws of q0."""
        del state
        x = batch.dequantized(generator)
        levels = x.new_tensor(self.noise_scales)
        chosen = torch.randint(
            len(levels), (len(x), 1), generator=generator, device=x.device
        )
        scale = levels[chosen]
        u = normal_like(x, generator)
        points, targets = [x + scale * u, x - scale * u], [-u / scale, u / scale]
        share = self.share(model)
        if share:
            draws = model.reference.sample_extended(len(x), generator)
            log_reference = model.reference.extended_log_prob
            points.append(draws)
            targets.append(score_at(log_reference, draws, create_graph=False)[1])
        _, score = score_at(self.log_density(model), torch.cat(points))
        losses = 0.5 * (score - torch.cat(targets)).square().sum(dim=1)
        of_rows = losses[: 2 * len(x)].view(2, -1).mean(dim=0)
        of_draws = losses[2 * len(x) :]
        yield self.loss(batch, torch.cat([of_rows, of_draws]), share)
