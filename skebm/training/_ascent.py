"""The training of an RBM by ascent of its log-likelihood, in closed form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar, Protocol, cast

import numpy as np
import torch
from torch import Tensor

from skebm.networks import RBM, GaussianUnits
from skebm.training._guard import Problem
from skebm.training._schedule import (
    AVERAGE_EVERY,
    EpochSpan,
    RateSchedule,
    average_share,
)
from skebm.training._stacked import Epoch, make_epochs
from skebm.utils._together import together

#: Largest change of a scale's logarithm in a step.
MAX_STRETCH = 0.1
#: Largest root mean square of the gradient of Gaussian units' weights; less for more
#: hidden units than this, as all of them move the density together.
MAX_SLOPE, FEW_UNITS = 0.2, 16
#: No log odds of an RBM that converges come near.
MAX_PARAMETER = 1e5


class Gradient(Protocol):
    """The gradient of an RBM's log-likelihood, in factors.

    Attributes
    ----------
    hidden_bias, visible_bias : Tensor
        The gradients of the biases after a call.
    chains : Tensor
        Hidden states of the persistent chains.
    visible_offset, hidden_offset : Tensor
        Running means that the gradient is centred by.
    """

    hidden_bias: Tensor
    visible_bias: Tensor
    chains: Tensor
    visible_offset: Tensor
    hidden_offset: Tensor

    def __call__(self, rbm: RBM, rows: Any, /) -> tuple[Tensor, Tensor]:
        """Return the factors of the gradient of W, given rows of data."""

    def snapshot(self) -> Any:
        """Return a copy of all that calls change."""

    def restore(self, snapshot: Any) -> None:
        """Go back to a snapshot; the snapshot stays usable."""


class Chains(Protocol):
    """Chains over the missing entries of the rows, which training moves.

    Attributes
    ----------
    x : Tensor of shape (n, n_features)
        The rows as they are completed; NaN before a row's first visit.
    """

    x: Tensor

    def snapshot(self) -> Any:
        """Return a copy of the states of the chains."""

    def restore(self, snapshot: Any) -> None:
        """Go back to a snapshot; the snapshot stays usable."""


class AscentMetric(Protocol):
    """A number that tells how well an epoch went.

    Attributes
    ----------
    name : str
        Its name in the history.
    """

    name: str

    def add(self, gradient: Any) -> None:
        """Take note of the gradient of one step."""

    def of_epoch(self, rbm: RBM, rows: Any, generator: torch.Generator) -> float:
        """Return the metric of an epoch, of which ``rows`` are the last batch."""


class Batches(Protocol):
    """Rows in mini-batches."""

    def n_steps(self, batch_size: int) -> int:
        """Return the number of batches in an epoch."""

    def epoch(self, batch_size: int, generator: torch.Generator) -> Iterator[Any]:
        """Yield the batches of one epoch."""


class RBMAscent:
    r"""Ascent of an RBM's log-likelihood, in place.

    .. math:: u \leftarrow \mu u + \epsilon \nabla \log p, \qquad
        W \leftarrow (1 - \tfrac{\epsilon \lambda}{1 - \mu}) W + u, \qquad
        \bar W \leftarrow \delta \bar W + (1 - \delta) W

    likewise for the biases, without decay. The average is taken every ten steps.

    Parameters
    ----------
    rbm : RBM
        Changed in place.
    gradient : Gradient
        Of the log-likelihood.
    momentum : float
        mu.
    weight_decay : float
        lambda.
    averaging : float
        delta; 0 keeps no average.

    Attributes
    ----------
    n_steps, n_averaged : int
        Steps so far, and those that are in the average.
    is_stackable : bool
        Whether RBMs of one shape may be trained as a stack.
    """

    is_stackable: ClassVar[bool] = True

    def __init__(
        self,
        rbm: RBM,
        gradient: Gradient,
        *,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        averaging: float = 0.0,
    ) -> None:
        self.rbm, self.gradient = rbm, gradient
        self.momentum, self.weight_decay = momentum, weight_decay
        self.averaging, self.n_steps, self.n_averaged = averaging, 0, 0
        self.velocity: RBM | None = None
        if momentum:
            zeros = {k: torch.zeros_like(v) for k, v in rbm.parameters().items()}
            self.velocity = replace(rbm, **zeros)  # type: ignore[arg-type]
        self._average = self._copied(rbm) if averaging else rbm

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
        if self.n_steps - self.n_averaged == AVERAGE_EVERY:
            self._update_average()

    def _factors(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return the factors of the gradient of W; those of the biases are beside."""
        return self.gradient(self.rbm, v)

    @property
    def average(self) -> RBM:
        """The RBM of averaged parameters; `rbm` itself where none is kept."""
        if not self.averaging or self.n_steps == self.n_averaged:
            return self._average
        average = self._copied(self._average)
        self._follow(average)
        return average

    @property
    def running_average(self) -> RBM:
        """The average as it was last updated; `rbm` itself where none is kept."""
        return self._average

    def _update_average(self) -> None:
        """Take the steps since the last update into the average."""
        if self.averaging:
            self._follow(self._average)
        self.n_averaged = self.n_steps

    def _follow(self, average: RBM) -> None:
        """Move an average towards the RBM, by the steps since the last update."""
        n, n_new = self.n_steps, self.n_steps - self.n_averaged
        share = average_share(self.averaging, n, n_new)
        learnt = self._learnt
        for value, target in zip(learnt(average), learnt(self.rbm), strict=True):
            value.lerp_(target, share)

    def state(self) -> dict[str, Any]:
        """Return all that `load` goes on from, sharing memory."""
        state = {"parameters": self.rbm.parameters(), "n_steps": self.n_steps}
        if self.velocity is not None:
            state["velocity"] = self.velocity.parameters()
        if self.averaging:
            state["average"] = self.average.parameters()
        return state

    def snapshot(self) -> tuple[list[Tensor], int, int]:
        """Return a copy of all that steps change."""
        return [x.clone() for x in self._changed()], self.n_steps, self.n_averaged

    def restore(self, snapshot: tuple[list[Tensor], int, int]) -> None:
        """Go back to a snapshot; the snapshot stays usable."""
        values, self.n_steps, self.n_averaged = snapshot
        for tensor, value in zip(self._changed(), values, strict=True):
            tensor.copy_(value)

    def _changed(self) -> list[Tensor]:
        changed = self._learnt(self.rbm)
        if self.velocity is not None:
            changed += list(self.velocity.parameters().values())
        return changed + self._learnt(self._average) if self.averaging else changed

    def _learnt(self, rbm: RBM) -> list[Tensor]:
        """Return the tensors of an RBM that training changes."""
        return list(rbm.parameters().values())

    def _copied(self, rbm: RBM) -> RBM:
        """Return an RBM whose learnt tensors are copies."""
        copies: Any = {k: v.clone() for k, v in rbm.parameters().items()}
        return replace(rbm, **copies)

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state; what it lacks starts afresh.

        The parameters themselves are those that this was made with.
        """
        self.n_steps = self.n_averaged = state["n_steps"]
        kept = (("velocity", self.velocity), ("average", self._average))
        for name, rbm in kept:
            if rbm is not None and name in state:
                for key, value in rbm.parameters().items():
                    value.copy_(state[name][key])


class GaussianRBMAscent(RBMAscent):
    r"""Ascent of the log-likelihood of an RBM with Gaussian visible units.

    Besides weights and biases, the scales of the units are learnt. They stretch the
    density along an axis, p(v) = p~(x) / d with x = v / d, so that their gradient needs
    no states of the model:

    .. math:: \frac{\partial \log p}{\partial \log d_i}
        = \langle x_i (x_i - \bar \theta_i(x)) \rangle_{\text{data}} - 1, \qquad
        \bar \theta(x) = b + E[h \mid x] \, W

    Half of it, the step towards the variance that is left over, is followed at the same
    rate, at most `MAX_STRETCH` a step.
    """

    is_stackable = False

    def __init__(self, rbm: RBM, gradient: Gradient, **options: float) -> None:
        super().__init__(_with_own_scale(rbm), gradient, **options)

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
        largest = MAX_SLOPE * min(1.0, FEW_UNITS / len(self.rbm.weight)) ** 0.5
        shrink = (largest / slope).clamp(max=1.0)
        for part in (left, gradient.hidden_bias, gradient.visible_bias):
            part.mul_(shrink)
        return left, right

    def _learnt(self, rbm: RBM) -> list[Tensor]:
        return [*super()._learnt(rbm), _gaussian(rbm).scale]

    def _copied(self, rbm: RBM) -> RBM:
        return _with_own_scale(super()._copied(rbm))

    def state(self) -> dict[str, Any]:
        """Return all that `load` goes on from, sharing memory."""
        scales = [_gaussian(rbm).scale for rbm in (self.rbm, self.average)]
        return {**super().state(), "scale": scales[0], "average_scale": scales[1]}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state; what it lacks starts afresh."""
        super().load(state)
        if "scale" in state:
            _gaussian(self._average).scale.copy_(state["average_scale"])
            _gaussian(self.rbm).scale.copy_(state["scale"])


class AscentRun:
    """Trains an RBM, as `Loop` asks for.

    Parameters
    ----------
    ascent : RBMAscent
        Makes the steps, in place.
    schedule : RateSchedule
        Learning rates and batch size.
    metric : AscentMetric
        For the history; training diverges where it is not finite.
    generator : torch.Generator
        Source of randomness, on the device of the RBM.
    completion : Chains or None, default=None
        Completes the rows with missing entries.
    """

    def __init__(
        self,
        ascent: RBMAscent,
        schedule: RateSchedule,
        metric: AscentMetric,
        generator: torch.Generator,
        completion: Chains | None = None,
    ) -> None:
        self.ascent, self.schedule = ascent, schedule
        self.metric, self.generator = metric, generator
        self.completion = completion
        self.rate_factor = 1.0

    @property
    def learning_rate(self) -> float:
        """The schedule's largest learning rate."""
        return self.schedule.learning_rate

    def evaluated_model(self) -> RBM:
        """Return the RBM of averaged parameters."""
        return self.ascent.average

    def epoch(
        self, batches: Batches, span: EpochSpan
    ) -> tuple[dict[str, float], Problem | None]:
        """Train for one epoch; return its metrics and any problem."""
        batch_size, ascent, metric = self.schedule.batch_size, self.ascent, self.metric
        rates = self.schedule.rates(span, batches.n_steps(batch_size))
        rates = (rates * self.rate_factor).tolist()
        epoch = Epoch(ascent, batches, batch_size, rates, metric, self.generator)
        rows = together(make_epochs, epoch.likeness, epoch)
        value = metric.of_epoch(ascent.rbm, rows, self.generator)
        metrics = {metric.name: value, "learning_rate": rates[-1]}
        parameters = list(ascent.rbm.parameters().values())
        return metrics, find_divergence(
            metric.name.replace("_", "-"),
            value,
            parameters,
            f"Lower learning_rate={self.learning_rate} or scale X.",
        )

    def state(self) -> dict[str, Any]:
        """Return all that is needed to go on from here, sharing memory."""
        gradient = self.ascent.gradient
        return {
            "chains": gradient.chains,
            "visible_offset": gradient.visible_offset,
            "hidden_offset": gradient.hidden_offset,
            **self.ascent.state(),
        }

    def snapshot(self) -> tuple[Any, Any, Any, Tensor]:
        """Return a copy of all that training changes."""
        completion = None if self.completion is None else self.completion.snapshot()
        gradient = self.ascent.gradient.snapshot()
        random_numbers = self.generator.get_state()
        return self.ascent.snapshot(), gradient, completion, random_numbers

    def restore(self, snapshot: tuple[Any, Any, Any, Tensor]) -> None:
        """Go back to a snapshot; the snapshot stays usable."""
        ascent, gradient, completion, random_numbers = snapshot
        self.ascent.restore(ascent)
        self.ascent.gradient.restore(gradient)
        if self.completion is not None:
            self.completion.restore(completion)
        self.generator.set_state(random_numbers)


def find_divergence(
    name: str, value: float, parameters: list[Tensor], remedy: str
) -> Problem | None:
    """Return the problem of a metric or of parameters that are out of bounds."""
    largest = float(torch.stack([x.abs().max() for x in parameters]).max())
    if np.isfinite(value) and largest < MAX_PARAMETER:
        return None
    cause = f"its {name} is {value:.4g}, its largest parameter {largest:.4g}"
    return Problem(cause, remedy)


def _gaussian(rbm: RBM) -> GaussianUnits:
    return cast(GaussianUnits, rbm.visible)


def _with_own_scale(rbm: RBM) -> RBM:
    """Return the RBM with a copy of its units' scale."""
    units = _gaussian(rbm)
    return replace(rbm, visible=replace(units, scale=units.scale.clone()))
