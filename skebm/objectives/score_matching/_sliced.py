"""Sliced score matching: score matching along random directions."""

from __future__ import annotations

import torch
from torch import Tensor

from skebm.networks import EnergyModel
from skebm.objectives.score_matching._base import (
    ImplicitScoreMatching,
    random_signs,
    score_at,
)
from skebm.utils import check_choice, check_count, check_flag, normal_like

PROJECTIONS = {"rademacher": random_signs, "gaussian": normal_like}


class SlicedScoreMatching(ImplicitScoreMatching):
    r"""Score matching along random directions v, with :math:`E[v v^T] = I`.

    .. math::

        \min_E \; E_r E_v\left[v^T \nabla^2 \log r_E(x) \, v
            + \tfrac{1}{2} |\nabla \log r_E(x)|^2\right], \qquad
        r_E = q_0 \left((1 - w) \, e^{-E} + w\right)

    The second term is the variance-reduced form; otherwise it is
    :math:`(v^T \nabla \log r_E)^2 / 2`, of the same mean. A direction costs one pass
    back, however many the columns. What r and w are for: `ScoreMatching`.

    Parameters
    ----------
    variance_reduced : bool, default=True
        Whether the second term is taken over all directions at once.
    projections : {"rademacher", "gaussian"}, default="rademacher"
        Law of the entries of v. Signs have the smaller variance, and with one column
        none.
    n_projections : int, default=1
        Directions a row.
    reference_share : float, default=0.5
        w. 0 is the method as published, and what a normalised network gets.
    noise_scale : float, default=0.05
        :math:`\sigma` of the noise added to the rows, in standardised units.

    References
    ----------
    Song, Garg, Shi, Ermon. Sliced score matching: A scalable approach to density and
    score estimation. UAI 2019 (arXiv:1905.07088).

    Examples
    --------
    >>> from skebm.objectives import SlicedScoreMatching
    >>> SlicedScoreMatching(n_projections=4)
    SlicedScoreMatching(n_projections=4)
    """

    def __init__(
        self,
        variance_reduced: bool = True,
        projections: str = "rademacher",
        n_projections: int = 1,
        reference_share: float = 0.5,
        noise_scale: float = 0.05,
    ) -> None:
        self.variance_reduced = variance_reduced
        self.projections = projections
        self.n_projections = n_projections
        self.reference_share = reference_share
        self.noise_scale = noise_scale

    def check_options(self) -> None:
        """Raise ValueError naming an option that is out of its range."""
        super().check_options()
        check_choice(self, "projections", self.projections, PROJECTIONS)
        check_flag(self, "variance_reduced", self.variance_reduced)
        check_count(self, "n_projections")

    def row_losses(
        self, model: EnergyModel, x: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Return the mean over directions of curvature plus half the squared slope."""
        x, score = score_at(self.log_density(model), x)
        losses = torch.zeros_like(score[:, 0])
        for _ in range(self.n_projections):
            v = PROJECTIONS[self.projections](x, generator)
            slope = (score * v).sum(dim=1)
            (row,) = torch.autograd.grad(slope.sum(), x, create_graph=True)
            losses = losses + (row * v).sum(dim=1)
            if not self.variance_reduced:
                losses = losses + 0.5 * slope.square()
        losses = losses / self.n_projections
        if self.variance_reduced:
            losses = losses + 0.5 * score.square().sum(dim=1)
        return losses
