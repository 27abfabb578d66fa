"""Bases of the score matching objectives: rows, draws, the mixed density."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from skebm.networks import EnergyModel
from skebm.objectives._base import Batch, Loss, Objective, check_range
from skebm.utils import check_number, is_number, normal_like

LogDensity = Callable[[Tensor], Tensor]


class ScoreMatchingObjective(Objective):
    r"""Fisher divergence between the mixed data and the mixed model.

    .. math::

        \min_E \; \tfrac{1}{2} E_r |\nabla \log r(x) - \nabla \log r_E(x)|^2, \qquad
        r = (1 - w) \, p_\sigma + w \, q_0, \qquad
        r_E = q_0 \left((1 - w) \, e^{-E} + w\right)

    Here :math:`p_\sigma` is the data's density smoothed by Gaussian noise. The
    published methods have :math:`w = 0`. They determine neither the relative masses of
    separate modes nor the energy where there are no rows. Draws of :math:`q_0` connect
    the modes and cover the empty regions. Since both sides are mixed,
    :math:`E = -\log(p_\sigma / q_0)`, its constant included (so that
    :math:`\log Z = 0`), is the only minimum. A normalised net has no free constant,
    and far from the reference the mixture would hide it: for it :math:`w = 0`.

    A box (``reference=None``) is used with the half normals, a tenth of a unit wide, of
    its extended density beyond the bounds: integration by parts needs a density that
    vanishes at the boundary.
    """

    reference_share: float

    def check_options(self) -> None:
        """Raise ValueError naming an option that is out of its range."""
        share = is_number(self.reference_share, 0) and self.reference_share < 1
        check_range(self, "reference_share", share, "a number in [0, 1)")

    def share(self, model: EnergyModel) -> float:
        """Return w, the weight of the reference in r."""
        return 0.0 if model.is_normalized else self.reference_share

    def mean(self, batch: Batch, values: Tensor, share: float) -> Tensor:
        """Return the mean over r of values at the rows, followed by draws of q0."""
        of_rows = batch.mean(values[: len(batch.x)])
        if not share:
            return of_rows
        return torch.lerp(of_rows, values[len(batch.x) :].mean(), share)

    def loss(self, batch: Batch, values: Tensor, share: float) -> Loss:
        """Return the loss, the mean over r, with the mean over rows as a metric."""
        of_rows = batch.mean(values[: len(batch.x)].detach())
        return Loss("energy", self.mean(batch, values, share), {"data_loss": of_rows})

    def tilt(self, model: EnergyModel, x: Tensor) -> Tensor:
        """Return log r_E - log q0, shape (n,)."""
        share = self.share(model)
        if not share:
            return -model.energy(x)
        odds = math.log1p(-share) - math.log(share)
        return softplus(odds - model.energy(x)) + math.log(share)

    def log_density(self, model: EnergyModel) -> LogDensity:
        """Return log r_E, a function of rows."""
        if model.is_normalized:
            return model.log_prob_unnormalized
        return lambda x: model.reference.extended_log_prob(x) + self.tilt(model, x)


class ImplicitScoreMatching(ScoreMatchingObjective):
    r"""Score matching after integration by parts, on rows with a little noise.

    .. math:: E_r\left[tr \nabla s(x) + \tfrac{1}{2} |s(x)|^2\right], \qquad
              s = \nabla \log r_E
    """

    noise_scale: float

    def check_options(self) -> None:
        """Raise ValueError naming an option that is out of its range."""
        super().check_options()
        check_number(self, "noise_scale", 0)

    @abstractmethod
    def row_losses(
        self, model: EnergyModel, x: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Return an estimate of the bracket at each row, shape (n,)."""

    def step(
        self,
        model: EnergyModel,
        batch: Batch,
        state: nn.Module,
        generator: torch.Generator,
    ) -> Iterator[Loss]:
        """Yield the mean loss over rows and draws of the reference."""
        del state
        x = batch.dequantized(generator)
        x = x + self.noise_scale * normal_like(x, generator)
        share = self.share(model)
        if share:
            draws = model.reference.sample_extended(len(x), generator)
            x = torch.cat([x, draws])
        yield self.loss(batch, self.row_losses(model, x, generator), share)


def score_at(
    log_density: LogDensity, x: Tensor, create_graph: bool = True
) -> tuple[Tensor, Tensor]:
    """Return x as a leaf and the gradient of the log density at x, both (n, d)."""
    leaf = x.detach().requires_grad_()
    total = log_density(leaf).sum()
    (score,) = torch.autograd.grad(total, leaf, create_graph=create_graph)
    return leaf, score


def random_signs(x: Tensor, generator: torch.Generator) -> Tensor:
    """Return random signs of the shape, dtype and device of x."""
    bits = torch.randint(2, x.shape, generator=generator, device=x.device)
    return 2 * bits.to(x.dtype) - 1
