"""Score matching with the exact trace of the Hessian."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from skebm.networks import EnergyModel
from skebm.objectives.score_matching._base import ImplicitScoreMatching, score_at


class ScoreMatching(ImplicitScoreMatching):
    r"""Score matching with the exact trace of the Hessian.

    .. math::

        \min_E \; E_r\left[\Delta \log r_E(x)
            + \tfrac{1}{2} |\nabla \log r_E(x)|^2\right], \qquad
        r_E = q_0 \left((1 - w) \, e^{-E} + w\right)

    By parts this is half the expected squared distance of the scores, up to a constant.
    The rows of r are the data's, with a little noise, and a share w drawn from
    :math:`q_0` (see Notes). A step takes one pass back a column.

    Parameters
    ----------
    reference_share : float, default=0.5
        w. 0 is the method as published, and what a normalised network gets.
    noise_scale : float, default=0.05
        :math:`\sigma`, standard deviation of the noise added to the rows, in
        standardised units. The energy is that of the smoothed density; without noise a
        net puts spikes on the rows, and edges have no score.

    Raises
    ------
    ValueError
        In `fit`, where X has more than 100 columns.

    Notes
    -----
    Score matching is blind to the masses of modes that are apart, and to the energy
    where there are no rows. Rows mixed with draws of :math:`q_0`, and a model mixed
    alike, heal that (Zhang et al., 2022); here the net's own constant takes the place
    of log Z, which the mixed model needs. With ``reference=None`` the box is used with
    soft bounds, since integration by parts needs a density that vanishes at its
    boundary. What each part brings: ``docs/notes/score_matching.md``.

    References
    ----------
    Hyvarinen. Estimation of non-normalized statistical models by score matching. JMLR
    2005. Zhang, Key, Hayes, Barber, Paige, Briol. Towards healing the blindness of
    score matching. NeurIPS 2022 Workshop on Score-Based Methods (arXiv:2209.07396).

    Examples
    --------
    >>> from skebm.objectives import ScoreMatching
    >>> ScoreMatching(noise_scale=0.1)
    ScoreMatching(noise_scale=0.1)
    """

    max_features: ClassVar[int | None] = 100
    remedy: ClassVar[str] = (
        "Take objective='sliced_score_matching', whose cost doesn't grow with columns."
    )

    def __init__(self, reference_share: float = 0.5, noise_scale: float = 0.05) -> None:
        self.reference_share = reference_share
        self.noise_scale = noise_scale

    def row_losses(
        self, model: EnergyModel, x: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Return the trace plus half the squared score."""
        del generator
        x, score = score_at(self.log_density(model), x)
        trace = torch.zeros_like(score[:, 0])
        for j in range(x.shape[1]):
            (row,) = torch.autograd.grad(score[:, j].sum(), x, create_graph=True)
            trace = trace + row[:, j]
        return trace + 0.5 * score.square().sum(dim=1)
