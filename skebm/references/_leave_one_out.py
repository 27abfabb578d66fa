"""Log densities of the rows that a mixture was fitted to, each row left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from skebm.references._mixture import GaussianMixtureDensity

#: Largest share of a component's rows that one row may be.
MAX_SHARE = 1 - 1e-9
#: Largest share of a component's variance, along a row, that the row itself may make.
MAX_LEVERAGE = 0.99


def left_out_log_prob(mixture: GaussianMixtureDensity, x: Tensor) -> Tensor:
    r"""Return log q0(x_i) of a mixture without the part of row i in its components.

    With the row's share w of a component's rows, and v its distance to the mean, the
    component of the other rows has, in closed form,

    .. math:: x - \mu' = \frac{v}{1 - w}, \qquad
              C' = \frac{1}{1 - w} \Big( C - \frac{w}{1 - w} v v^T \Big)

    That is exact for one Gaussian by its rows' moments, and a first order for mixtures,
    whose memberships stay as they are. Of a covariance that is shrunk only the part is
    taken that the rows themselves have made. The gradient is that of the density of the
    other rows.

    Parameters
    ----------
    mixture : GaussianMixtureDensity
        In double precision.
    x : Tensor of shape (n, n_features)
        The rows that it was fitted to, all or a large sample of them; float64.
    """
    n, n_features = x.shape
    log_normals = mixture.log_joint(x)
    log_joint = log_normals.detach()
    squares = 2 * (mixture.constant - log_joint)
    member = log_joint.softmax(dim=1)
    share = (member / member.sum(dim=0)).nan_to_num().clamp(max=MAX_SHARE)
    learnt = _learnt_part(mixture, x.detach(), member) * share
    leverage = (learnt / (1 - share) * squares).clamp(max=MAX_LEVERAGE)
    factor = (1 - learnt) / ((1 - share) * (1 - leverage))
    squares = squares * factor / (1 - share)
    log_det = torch.log1p(-leverage) - n_features * torch.log1p(-learnt)
    rest = (mixture.weights * n - member) / max(1, n - 1)
    change = rest.clamp(min=1e-300).log() - mixture.weights.log() - 0.5 * log_det
    left_out = mixture.constant + change - 0.5 * squares
    # The slope is that of the component of the other rows, C'^-1 (x - mu').
    slope = left_out.softmax(dim=1) * factor * (log_normals - log_joint)
    return left_out.logsumexp(dim=1) + slope.sum(dim=1)


def _learnt_part(mixture: GaussianMixtureDensity, x: Tensor, member: Tensor) -> Tensor:
    r"""Return how much of each covariance its own rows have made, at least a half.

    From :math:`C = (1 - s) S + s T` with the covariance S of its rows and a target T,
    the components' mean covariance or a round one: :math:`s = |C - S| / |S - T|`.
    """
    covariances = mixture.cholesky @ mixture.cholesky.mT
    mean = torch.tensordot(mixture.weights, covariances, 1)
    round_ = torch.eye(x.shape[1]).to(x)
    parts = []
    for k, covariance in enumerate(covariances):
        centred = x - mixture.means[k]
        weighted = centred * member[:, k, None]
        scatter = weighted.mT @ centred / member[:, k].sum().clamp(min=1e-12)
        level = scatter.diagonal().mean()
        distance = max(
            float((scatter - target).norm()) for target in (mean, level * round_)
        )
        shrunk = float((covariance - scatter).norm())
        # Halfway back to all of it: the strength of the shrinking depends on rows, too.
        parts.append(1 - 0.5 * min(1.0, shrunk / max(distance, 1e-12)))
    return x.new_tensor(parts)
