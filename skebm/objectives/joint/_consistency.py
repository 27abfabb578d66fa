"""Losses of p(y | x) on unlabelled rows: entropy, soft labels, virtual adversaries."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from skebm.utils import normal_like

PROBE_LENGTH = 0.1


def entropy(log_prob: Tensor) -> Tensor:
    """Return H(p(y | x)) in nats of log probabilities (..., n_classes)."""
    return -(log_prob.exp() * log_prob).sum(dim=-1)


def soft_cross_entropy(target: Tensor, log_prob: Tensor) -> Tensor:
    """Return the cross-entropy with class probabilities, both (..., n_classes)."""
    return -(target * log_prob).sum(dim=-1)


def virtual_adversarial_loss(
    logits_of: Callable[[Tensor], Tensor],
    x: Tensor,
    log_prob: Tensor,
    radius: float,
    generator: torch.Generator,
    shape: Tensor | None = None,
) -> Tensor:
    r"""Return the virtual adversarial loss, the mean over rows.

    .. math:: KL(p(y|x) \,\|\, p(y|x + r)), \qquad
              r = \epsilon \frac{g}{|g|} S, \quad
              g = \nabla_d KL(p(y|x) \,\|\, p(y|x + d S)), \quad |d| = 0.1

    One power iteration from a random direction d; p(y|x) is held fixed.

    Parameters
    ----------
    logits_of : callable
        From rows (..., n_features) to logits (..., n_classes).
    x : Tensor of shape (..., n_features)
        Rows.
    log_prob : Tensor of shape (..., n_classes)
        log p(y|x), already at hand.
    radius : float
        Length of r, in standardised units.
    generator : torch.Generator
        Source of d.
    shape : Tensor of shape (n_features, n_features) or None, default=None
        S, which makes an ellipsoid of the ball; None is the identity.

    References
    ----------
    Miyato, Maeda, Koyama, Ishii. Virtual Adversarial Training: A Regularization Method
    for Supervised and Semi-Supervised Learning. IEEE PAMI, 2018.
    """
    fixed = log_prob.detach()
    target = fixed.exp()
    direction = normal_like(x, generator)
    probe = PROBE_LENGTH * direction / direction.norm(dim=-1, keepdim=True)
    probe.requires_grad_()
    near = torch.log_softmax(logits_of(x + _shaped(probe, shape)), dim=-1)
    divergence = soft_cross_entropy(target, near).sum()
    (slope,) = torch.autograd.grad(divergence, probe)
    worst = radius * slope / (slope.norm(dim=-1, keepdim=True) + 1e-20)
    far = torch.log_softmax(logits_of(x + _shaped(worst, shape)), dim=-1)
    return (target * (fixed - far)).sum(dim=-1).mean()


def _shaped(rows: Tensor, shape: Tensor | None) -> Tensor:
    return rows if shape is None else rows @ shape
