"""The slim loop that trains a restricted Boltzmann machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skebm.networks import RBM
from skebm.objectives import ContrastiveGradient
from skebm.training._batches import _fits

#: Steps between updates of the average of the parameters.
AVERAGE_EVERY = 10
#: Gibbs steps that redraw missing entries at each visit of a row.
N_MISSING_STEPS = 1


class MachineBatches:
    """Rows in random order, in batches as even as can be.

    Parameters
    ----------
    x : Tensor of shape (n, d) or scipy CSR matrix
        A sparse one is made dense a batch at a time. NaN entries of a tensor are
        missing: they are filled from the machine, given the rest of their row, each
        time the row is seen; x is then changed.
    device : torch.device
    """

    def __init__(self, x: Any, device: torch.device) -> None:
        self.device, self.is_dense = device, isinstance(x, Tensor)
        self.missing = None
        if isinstance(x, Tensor):
            missing = x.isnan()
            self.missing = missing if missing.any() else None
            x = x.to(device) if self.missing is None and _fits(x, device) else x
        self.x = x

    def n_steps(self, batch_size: int) -> int:
        """Return the number of batches in an epoch."""
        return -(-self.x.shape[0] // batch_size)

    def epoch(
        self, batch_size: int, generator: torch.Generator, rbm: RBM
    ) -> Iterator[Tensor]:
        """Yield the batches of one epoch."""
        n = self.x.shape[0]
        order = torch.randperm(n, generator=generator, device=generator.device)
        n_batches = self.n_steps(batch_size)
        ends = [n * k // n_batches for k in range(n_batches + 1)]
        if isinstance(self.x, Tensor):
            order = order.to(self.x.device)
            for start, end in pairwise(ends):
                yield self._take(order[start:end], generator, rbm)
            return
        shuffled = self.x[order.cpu().numpy()]
        for start, end in pairwise(ends):
            rows = shuffled[start:end].toarray().astype(np.float32, copy=False)
            yield torch.from_numpy(rows).to(self.device)

    def _take(self, rows: Tensor, generator: torch.Generator, rbm: RBM) -> Tensor:
        v = self.x.index_select(0, rows).to(self.device)
        if self.missing is None:
            return v
        missing = self.missing[rows].to(self.device)
        base = rbm.visible_field(rbm.weight.new_zeros(len(v), len(rbm.weight)))
        drawn = rbm.visible.draw_(base, torch.empty_like(base), generator)
        v = torch.where(v.isnan(), drawn, v)  # at the first visit
        for _ in range(N_MISSING_STEPS):
            v = torch.where(missing, rbm.sample_blocks(v, generator), v)
        self.x[rows] = v.to(self.x.device)
        return v


class MachineTraining:
    r"""Ascent of an RBM's log-likelihood, in place.

    .. math:: u \leftarrow \mu u + \nabla \log p - \lambda W, \qquad
        W \leftarrow W + \epsilon u, \qquad
        \bar W \leftarrow \delta \bar W + (1 - \delta) W

    likewise for the biases, without decay. The average is taken every ten steps.

    Parameters
    ----------
    rbm : RBM
        Changed in place.
    gradient : ContrastiveGradient
    momentum : float
        mu.
    weight_decay : float
        lambda.
    averaging : float
        delta; 0 keeps no average.
    """

    def __init__(
        self,
        rbm: RBM,
        gradient: ContrastiveGradient,
        *,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        averaging: float = 0.0,
    ) -> None:
        self.rbm, self.gradient = rbm, gradient
        self.momentum, self.weight_decay = momentum, weight_decay
        self.averaging, self.n_steps = averaging, 0
        self.velocity: RBM | None = None
        if momentum:
            zeros = {k: torch.zeros_like(v) for k, v in rbm.parameters().items()}
            self.velocity = replace(rbm, **zeros)  # type: ignore[arg-type]
        self.average = rbm
        if averaging:
            copies = {k: v.clone() for k, v in rbm.parameters().items()}
            self.average = replace(rbm, **copies)  # type: ignore[arg-type]

    def step(self, v: Tensor, rate: float) -> None:
        """Make a step of size `rate` by the rows v."""
        rbm, gradient = self.rbm, self.gradient
        left, right = gradient(rbm, v)
        decay = self.weight_decay
        if self.velocity is None:
            rbm.weight.addmm_(left.mT, right, beta=1 - rate * decay, alpha=rate)
            rbm.hidden_bias.add_(gradient.hidden_bias, alpha=rate)
            rbm.visible_bias.add_(gradient.visible_bias, alpha=rate)
        else:
            velocity = self.velocity
            velocity.weight.addmm_(left.mT, right, beta=self.momentum)
            if decay:
                velocity.weight.sub_(rbm.weight, alpha=decay)
            velocity.hidden_bias.mul_(self.momentum).add_(gradient.hidden_bias)
            velocity.visible_bias.mul_(self.momentum).add_(gradient.visible_bias)
            for name, value in rbm.parameters().items():
                value.add_(getattr(velocity, name), alpha=rate)
        self.n_steps += 1
        if self.averaging and self.n_steps % AVERAGE_EVERY == 0:
            n = self.n_steps // AVERAGE_EVERY
            share = 1 - min(self.averaging, n / (n + 9))  # a mean of few at first
            for name, value in self.average.parameters().items():
                value.lerp_(getattr(rbm, name), share)

    def state(self) -> dict[str, Any]:
        """Return what `load` goes on from."""
        state = {"parameters": self.rbm.parameters(), "n_steps": self.n_steps}
        if self.velocity is not None:
            state["velocity"] = self.velocity.parameters()
        if self.averaging:
            state["average"] = self.average.parameters()
        return state

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state; what it lacks starts afresh."""
        self.n_steps = state["n_steps"]
        kept = (("velocity", self.velocity), ("average", self.average))
        for name, machine in kept:
            if machine is not None and name in state:
                for key, value in machine.parameters().items():
                    value.copy_(state[name][key])
