"""The gradient of a discrete loss, in the form that an RBM's ascent asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from skebm.networks import RBM

#: From an RBM, rows v and a generator to the loss of each row.
DiscreteLoss = Callable[[RBM, Tensor, torch.Generator], Tensor]
#: Weight of the newest rows in the running means that centre the gradient.
OFFSET_RATE = 0.01
#: Most numbers that a chunk of rows, hidden units and statistics may have.
MAX_NUMBERS = 2**21


class DiscreteGradient:
    r"""Gradient of minus a loss of an RBM, without states of the model.

    Every neighbour of every row is visited: n times as many numbers as the RBM has
    weights, n being the rows of a batch. Entries between 0 and 1 of binary columns
    are drawn anew in each call.

    Parameters
    ----------
    loss : callable
        From an RBM, rows and a generator to the loss of each row; see
        `DISCRETE_LOSSES`.
    chains : Tensor
        Passed on unchanged; nothing moves them.
    offsets : pair of Tensor
        mu and lambda as in `ContrastiveGradient`; updated in place.
    centered : bool
        Whether to centre.
    generator : torch.Generator
        The only source of randomness.

    Attributes
    ----------
    hidden_bias, visible_bias : Tensor
        The gradients of the biases after a call.

    Examples
    --------
    >>> import torch
    >>> from skebm.networks import RBM
    >>> from skebm.objectives import DISCRETE_LOSSES, DiscreteGradient
    >>> gradient = DiscreteGradient(
    ...     DISCRETE_LOSSES["ratio_matching"],
    ...     torch.zeros(1, 2),
    ...     (torch.zeros(3), torch.zeros(2)),
    ...     centered=False,
    ...     generator=torch.Generator(),
    ... )
    >>> rbm = RBM(torch.zeros(2, 3), torch.zeros(2), torch.zeros(3))
    >>> left, right = gradient(rbm, torch.ones(4, 3))
    >>> left.mT @ right  # of W: half a hidden unit times the slope of g^2
    tensor([[0.1250, 0.1250, 0.1250],
            [0.1250, 0.1250, 0.1250]])
    """

    def __init__(
        self,
        loss: DiscreteLoss,
        chains: Tensor,
        offsets: tuple[Tensor, Tensor],
        *,
        centered: bool,
        generator: torch.Generator,
    ) -> None:
        self.loss = loss
        self.chains = chains
        self.visible_offset, self.hidden_offset = offsets
        self.centered = centered
        self.generator = generator
        self.hidden_bias = torch.empty_like(self.hidden_offset)
        self.visible_bias = torch.empty_like(self.visible_offset)

    def __call__(self, rbm: RBM, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return factors of the gradient of W, given rows v of data."""
        with torch.inference_mode(False), torch.enable_grad():
            slopes = self._slopes(rbm, self._whole(v.clone()))
        dw, self.hidden_bias, self.visible_bias = (-s for s in slopes)
        if self.centered:
            self.hidden_offset.lerp_(
                rbm.hidden_field(v).sigmoid_().mean(0), OFFSET_RATE
            )
            self.visible_offset.lerp_(v.mean(0), OFFSET_RATE)
            mu, lam = self.visible_offset, self.hidden_offset
            dw = dw - self.hidden_bias[:, None] * mu - lam[:, None] * self.visible_bias
            self.visible_bias = self.visible_bias - dw.mT @ lam
            self.hidden_bias = self.hidden_bias - dw @ mu
        if len(dw) < dw.shape[1]:
            return torch.eye(len(dw)).to(dw), dw
        return dw.mT, torch.eye(dw.shape[1]).to(dw)

    def snapshot(self) -> tuple[Tensor, Tensor]:
        """Return a copy of all that calls change."""
        return self.visible_offset.clone(), self.hidden_offset.clone()

    def restore(self, snapshot: tuple[Tensor, Tensor]) -> None:
        """Go back to a snapshot; the snapshot stays usable."""
        for offset, value in zip(
            (self.visible_offset, self.hidden_offset), snapshot, strict=True
        ):
            offset.copy_(value)

    def _whole(self, v: Tensor) -> Tensor:
        """Return rows of 0 and 1, drawn where v has values between."""
        if bool(((v == 0) | (v == 1)).all()):
            return v
        noise = torch.empty_like(v).uniform_(generator=self.generator)
        return torch.lt(noise, v).to(v.dtype)

    def _slopes(self, rbm: RBM, v: Tensor) -> list[Tensor]:
        """Return the gradient of the mean loss by W, c and b."""
        leaves: Any = {
            k: x.clone().requires_grad_() for k, x in rbm.parameters().items()
        }
        trained, n_rows = replace(rbm, **leaves), len(v)
        parts = v.split(max(1, MAX_NUMBERS // max(1, rbm.weight.numel())))
        for part in parts:
            (self.loss(trained, part, self.generator).sum() / n_rows).backward()
        names = ("weight", "hidden_bias", "visible_bias")
        return [leaves[name].grad for name in names]
