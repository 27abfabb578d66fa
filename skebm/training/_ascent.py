"""The slim loop that trains a restricted Boltzmann machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skebm.networks import RBM, GaussianUnits
from skebm.objectives import ContrastiveGradient
from skebm.samplers import Clamped
from skebm.training._batches import _fits

#: Steps between updates of the average of the parameters.
AVERAGE_EVERY = 10
#: Gibbs steps that redraw missing entries at each visit of a row.
N_MISSING_STEPS = 1
#: Largest change of a scale's logarithm in a step.
MAX_STRETCH = 0.1
#: Largest root mean square of the gradient of Gaussian units' weights.
MAX_SLOPE = 0.2


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
        chains = Clamped(rbm, v.masked_fill(missing, torch.nan))
        v = torch.where(v.isnan(), chains.start(generator), v)  # at the first visit
        for _ in range(N_MISSING_STEPS):
            v = chains.sample_blocks(v, generator)
        self.x[rows] = v.to(self.x.device)
        return v


class MachineTraining:
    r"""Ascent of an RBM's log-likelihood, in place.

    .. math:: u \leftarrow \mu u + \epsilon \nabla \log p, \qquad
        W \leftarrow (1 - \tfrac{\epsilon \lambda}{1 - \mu}) W + u, \qquad
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
        self.averaging, self.n_steps, self._n_averaged = averaging, 0, 0
        self.velocity: RBM | None = None
        if momentum:
            zeros = {k: torch.zeros_like(v) for k, v in rbm.parameters().items()}
            self.velocity = replace(rbm, **zeros)  # type: ignore[arg-type]
        self._average = rbm
        if averaging:
            copies = {k: v.clone() for k, v in rbm.parameters().items()}
            self._average = replace(rbm, **copies)  # type: ignore[arg-type]

    def step(self, v: Tensor, rate: float) -> None:
        """Make a step of size `rate` by the rows v."""
        rbm, gradient = self.rbm, self.gradient
        left, right = self._factors(v)
        kept = 1 - rate * self.weight_decay / (1 - self.momentum)
        if self.velocity is None:
            rbm.weight.addmm_(left.mT, right, beta=kept, alpha=rate)
            rbm.hidden_bias.add_(gradient.hidden_bias, alpha=rate)
            rbm.visible_bias.add_(gradient.visible_bias, alpha=rate)
        else:
            u, mu = self.velocity, self.momentum
            u.weight.addmm_(left.mT, right, beta=mu, alpha=rate)
            u.hidden_bias.mul_(mu).add_(gradient.hidden_bias, alpha=rate)
            u.visible_bias.mul_(mu).add_(gradient.visible_bias, alpha=rate)
            torch.add(u.weight, rbm.weight, alpha=kept, out=rbm.weight)
            rbm.hidden_bias.add_(u.hidden_bias)
            rbm.visible_bias.add_(u.visible_bias)
        self.n_steps += 1
        if self.n_steps - self._n_averaged == AVERAGE_EVERY:
            self._update_average()

    def _factors(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return the factors of the gradient of W; those of the biases are beside."""
        return self.gradient(self.rbm, v)

    @property
    def average(self) -> RBM:
        """The machine of averaged parameters; `rbm` itself where none is kept."""
        self._update_average()
        return self._average

    def _update_average(self) -> None:
        """Take the steps since the last time into the average.

        It runs over the last tenth of the steps until delta's own memory is shorter.
        """
        n, n_new = self.n_steps, self.n_steps - self._n_averaged
        if not (self.averaging and n_new):
            return
        memory = self.averaging ** (n_new / AVERAGE_EVERY)
        kept = min(memory, (n - n_new) / (n + 9 * n_new))
        self._follow(1 - kept)
        self._n_averaged = n

    def _follow(self, share: float) -> None:
        """Move the average towards the machine by this share of the way."""
        for name, value in self._average.parameters().items():
            value.lerp_(getattr(self.rbm, name), share)

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
        self.n_steps = self._n_averaged = state["n_steps"]
        kept = (("velocity", self.velocity), ("average", self.average))
        for name, machine in kept:
            if machine is not None and name in state:
                for key, value in machine.parameters().items():
                    value.copy_(state[name][key])


class GaussianTraining(MachineTraining):
    r"""Ascent of the log-likelihood of a machine with Gaussian visible units.

    Besides weights and biases, the scales of the units are learnt. They stretch the
    density along an axis, p(v) = p~(x) / d with x = v / d, so that their gradient needs
    no states of the model:

    .. math:: \frac{\partial \log p}{\partial \log d_i}
        = \langle x_i (x_i - \bar \theta_i(x)) \rangle_{\text{data}} - 1, \qquad
        \bar \theta(x) = b + E[h \mid x] \, W

    Half of it, the step towards the variance that is left over, is followed at the same
    rate, at most `MAX_STRETCH` a step.
    """

    def __init__(
        self, rbm: RBM, gradient: ContrastiveGradient, **options: float
    ) -> None:
        super().__init__(replace(rbm, visible=_own(rbm)), gradient, **options)
        self._average = replace(self._average, visible=_own(rbm))
        if not self.averaging:
            self._average = self.rbm

    def step(self, v: Tensor, rate: float) -> None:
        """Make a step of size `rate` by the rows v."""
        units = _gaussian(self.rbm)
        x = units.statistic(v)
        mean = self.rbm.visible_field(self.rbm.hidden_field(v).sigmoid_())
        slope = (x * (x - mean)).mean(0) - 1
        super().step(v, rate)
        stretch = slope.mul_(rate / 2).clamp_(-MAX_STRETCH, MAX_STRETCH).exp_()
        units.scale.mul_(stretch)
        if units.min_scale is not None:
            torch.maximum(units.scale, units.min_scale, out=units.scale)

    def _factors(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return factors of the gradient, shrunk to at most `MAX_SLOPE` a weight."""
        gradient = self.gradient
        left, right = gradient(self.rbm, v)
        slope = (left.mT @ right).square().mean().sqrt()
        shrink = (MAX_SLOPE / slope).clamp(max=1.0)
        for part in (left, gradient.hidden_bias, gradient.visible_bias):
            part.mul_(shrink)
        return left, right

    def _follow(self, share: float) -> None:
        super()._follow(share)
        _gaussian(self._average).scale.lerp_(_gaussian(self.rbm).scale, share)

    def state(self) -> dict[str, Any]:
        """Return what `load` goes on from."""
        scales = [_gaussian(machine).scale for machine in (self.rbm, self.average)]
        return {**super().state(), "scale": scales[0], "average_scale": scales[1]}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state; what it lacks starts afresh."""
        super().load(state)
        if "scale" in state:
            _gaussian(self.average).scale.copy_(state["average_scale"])
            _gaussian(self.rbm).scale.copy_(state["scale"])


def _gaussian(rbm: RBM) -> GaussianUnits:
    assert isinstance(rbm.visible, GaussianUnits)
    return rbm.visible


def _own(rbm: RBM) -> GaussianUnits:
    """Return the machine's units with a scale of their own."""
    return replace(_gaussian(rbm), scale=_gaussian(rbm).scale.clone())
