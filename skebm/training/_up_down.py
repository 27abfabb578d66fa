"""The fine-tuning of a deep belief net by the up-down algorithm."""

from __future__ import annotations

import torch
from torch import Tensor

from skebm.networks import DeepBeliefNet
from skebm.objectives import UpDown
from skebm.training._ascent import Batches, find_divergence
from skebm.training._guard import Problem
from skebm.training._schedule import EpochSpan, RateSchedule


class UpDownRun:
    """Trains all layers of a deep belief net together, as `Loop` asks for.

    Parameters
    ----------
    net : DeepBeliefNet
        Changed in place.
    objective : UpDown
        Draws the states and yields the loss.
    schedule : RateSchedule
        Learning rates and batch size.
    generator : torch.Generator
        Source of randomness, on the device of the net.
    """

    def __init__(
        self,
        net: DeepBeliefNet,
        objective: UpDown,
        schedule: RateSchedule,
        generator: torch.Generator,
    ) -> None:
        self.net, self.objective = net, objective
        self.schedule, self.generator = schedule, generator
        self.rate_factor = 1.0
        self.parameters = [*net.top.parameters().values()]
        for layer in net.layers:
            self.parameters += [layer.weight, layer.bias]
            self.parameters += [layer.recognition_weight, layer.recognition_bias]

    @property
    def learning_rate(self) -> float:
        """The schedule's largest learning rate."""
        return self.schedule.learning_rate

    def evaluated_model(self) -> DeepBeliefNet:
        """Return the net."""
        return self.net

    def epoch(
        self, batches: Batches, span: EpochSpan
    ) -> tuple[dict[str, float], Problem | None]:
        """Train for one epoch; return the last loss and any problem."""
        batch_size = self.schedule.batch_size
        rates = self.schedule.rates(span, batches.n_steps(batch_size))
        rates = (rates * self.rate_factor).tolist()
        epoch = batches.epoch(batch_size, self.generator)
        for rows, rate in zip(epoch, rates, strict=True):
            loss = self._step(rows, rate)
        remedy = f"Lower fine_tuning_rate={self.learning_rate}."
        problem = find_divergence("fine-tuning loss", loss, self.parameters, remedy)
        return {"loss": loss, "learning_rate": rates[-1]}, problem

    def _step(self, rows: Tensor, rate: float) -> float:
        """Descend the loss of one batch; return its value."""
        draws = self.objective.draw(self.net, rows, self.generator)
        with torch.enable_grad():
            for parameter in self.parameters:
                parameter.requires_grad_()
            loss = self.objective.loss(self.net, *draws)
            gradients = torch.autograd.grad(loss, self.parameters)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.requires_grad_(False).sub_(gradient, alpha=rate)
        return float(loss.detach())

    def snapshot(self) -> tuple[list[Tensor], Tensor]:
        """Return a copy of all that training changes."""
        return [p.clone() for p in self.parameters], self.generator.get_state()

    def restore(self, snapshot: tuple[list[Tensor], Tensor]) -> None:
        """Go back to a snapshot; the snapshot stays usable."""
        values, random_numbers = snapshot
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.requires_grad_(False).copy_(value)
        self.generator.set_state(random_numbers)
