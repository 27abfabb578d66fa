"""The training of a net by gradients: its state, its epochs and its snapshots."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from skebm.distributed import ALONE, Processes
from skebm.exceptions import NonFiniteChainError
from skebm.networks import EnergyModel
from skebm.objectives import Batch, Loss, Objective
from skebm.training._adam import AdamW
from skebm.training._batches import TableBatches
from skebm.training._guard import Problem, find_problem
from skebm.training._schedule import EpochSpan, Schedule
from skebm.utils import Phase, warming_average

STEPS_BETWEEN_CHECKS = 100
STEPS_BETWEEN_AVERAGES = 4


class GradientRun:
    """Trains a model by the gradients of the losses that an objective yields.

    Holds all that training changes: model, averaged weights, the objective's state,
    optimisers and generator. `configure` sets what may differ from one training of the
    same run to the next.

    Parameters
    ----------
    model : EnergyModel
        What is trained; on the device.
    objective : Objective
        Builds its state for the model.
    generator : torch.Generator
        Source of randomness, on the model's device.
    averaging_decay : float
        Decay an update of the weight average; 0 keeps none.
    processes : Processes, default=ALONE
        The processes that train the model together, each with the same batches.
    """

    def __init__(
        self,
        model: EnergyModel,
        objective: Objective,
        generator: torch.Generator,
        averaging_decay: float,
        processes: Processes = ALONE,
    ) -> None:
        self.model, self.processes = processes.divide(model), processes
        self.generator = generator
        self.device = generator.device
        self.state: nn.Module = objective.init(model, model.reference, generator)
        self.state.to(self.device)
        self.groups = objective.parameter_groups(model, self.state)
        self.optimizers = {
            name: AdamW(
                group.parameters,
                lr=1e-3,
                betas=group.betas,
                weight_decay=group.weight_decay,
                fused=True,
            )
            for name, group in self.groups.items()
        }
        self.rate_factor = 1.0
        self.averaged: AveragedModel | None = None
        if averaging_decay:
            self.averaged = AveragedModel(
                model.network, multi_avg_fn=warming_average(averaging_decay)
            )

    def configure(
        self,
        objective: Objective,
        schedule: Schedule,
        gradient_clip: float | None = None,
    ) -> GradientRun:
        """Set how the next epochs are trained; return the run.

        Parameters
        ----------
        objective : Objective
            Yields the losses; of the kind that the run was begun with.
        schedule : Schedule
            Learning rate and batch size.
        gradient_clip : float or None, default=None
            Largest norm of a group's gradient.
        """
        self.objective, self.schedule = objective, schedule
        self.gradient_clip = gradient_clip
        self.healthy = objective.healthy_for(self.model)
        return self

    @property
    def learning_rate(self) -> float:
        """The schedule's largest learning rate."""
        return self.schedule.learning_rate

    @property
    def averaged_model(self) -> EnergyModel:
        """The model with averaged weights; where none are kept, with the last ones."""
        if self.averaged is None:
            return self.model
        averaged = EnergyModel(
            self.averaged.module, self.model.reference, self.model.entropy_weight
        )
        return self.processes.divide(averaged)

    def evaluated_model(self) -> EnergyModel:
        """Return the averaged model, its net in evaluation mode."""
        model = self.averaged_model
        model.network.eval()
        return model

    # ------------------------------------------------------------------- steps

    def epoch(
        self, batches: TableBatches, span: EpochSpan
    ) -> tuple[dict[str, float], Problem | None]:
        """Train for one epoch; return the means of its metrics and any problem."""
        self.model.network.train()
        rows = self.schedule.rows_per_step(span.begin, len(batches))
        n_steps = batches.n_steps(rows)
        checked: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
        pending: dict[str, list[Tensor]] = defaultdict(list)
        problem: Problem | None = None
        epoch_batches = batches.epoch(rows, self.generator, span.begin, span.end)
        told = Phase(f"steps of epoch {span.number}", n_steps)
        for step, batch in enumerate(epoch_batches, start=1):
            rate = self.schedule.rate(batch.progress) * self.rate_factor
            try:
                self._step(batch, rate, pending)
            except NonFiniteChainError as error:
                problem = Problem(error.problem, error.remedy)
                break
            if step % STEPS_BETWEEN_AVERAGES == 0 or step == n_steps:
                self._update_average()
            if step % STEPS_BETWEEN_CHECKS == 0 or step == n_steps:
                told.done(step)
                metrics = _collect(pending)  # a device-host synchronisation
                pending.clear()
                for name, values in metrics.items():
                    checked[name].append(values)
                problem = self.processes.agree(find_problem(metrics, self.healthy))
                if problem:
                    break
        self.objective.end_epoch(self.model, self.state, self.generator)
        means = {k: float(np.concatenate(v).mean()) for k, v in checked.items()}
        return means, problem

    def _step(
        self, batch: Batch, rate: float, pending: dict[str, list[Tensor]]
    ) -> None:
        """Descend the losses of one step; add their metrics to ``pending``."""
        losses = self.objective.step(self.model, batch, self.state, self.generator)
        for loss in _checked(losses, self.objective, self.groups.keys()):
            self._descend(loss, rate)
            pending[f"{loss.group}_loss"].append(loss.value.detach())
            for name, value in loss.figures.items():
                pending[name].append(value)

    def _descend(self, loss: Loss, rate: float) -> None:
        group = self.groups[loss.group]
        optimizer = self.optimizers[loss.group]
        optimizer.param_groups[0]["lr"] = rate * group.rate
        optimizer.zero_grad()
        loss.value.backward(inputs=group.parameters)
        self.processes.average(parameter.grad for parameter in group.parameters)
        if self.gradient_clip is not None:
            torch.nn.utils.clip_grad_norm_(group.parameters, self.gradient_clip)
        optimizer.step()

    def _update_average(self) -> None:
        """Take the present weights into the average."""
        if self.averaged is not None:
            self.averaged.update_parameters(self.model.network)

    # --------------------------------------------------------------- snapshots

    def state_dict(self) -> dict[str, Any]:
        """Return all that is needed to go on from here, sharing memory."""
        averaged = None if self.averaged is None else self.averaged.state_dict()
        return {
            "network": self.model.network.state_dict(),
            "averaged": averaged,
            "objective": self.state.state_dict(),
            "optimizers": {k: o.state_dict() for k, o in self.optimizers.items()},
            "generator": self.generator.get_state(),
            "rate_factor": self.rate_factor,
        }

    def learnt_state(self) -> dict[str, Any]:
        """Return the part of `state_dict` that answers need.

        Optimisers are not in it, nor the last weights where these are averaged: a run
        restored to it goes on from the average, with new optimisers.
        """
        state = self.state_dict()
        del state["optimizers"]
        if self.averaged is not None:
            del state["network"]
        return state

    def snapshot(self) -> dict[str, Any]:
        """Return a copy of `state_dict`."""
        return copy.deepcopy(self.state_dict())

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go back to a snapshot; the snapshot stays usable.

        A new run may also be restored to a `learnt_state`.
        """
        if self.averaged is not None and snapshot["averaged"] is not None:
            self.averaged.load_state_dict(snapshot["averaged"])
        if "network" in snapshot:
            self.model.network.load_state_dict(snapshot["network"])
        elif self.averaged is not None:
            self.model.network.load_state_dict(self.averaged.module.state_dict())
        self.state.load_state_dict(snapshot["objective"])
        for name, state in snapshot.get("optimizers", {}).items():
            self.optimizers[name].load_state_dict(copy.deepcopy(state))
        self.generator.set_state(snapshot["generator"])
        self.rate_factor = snapshot["rate_factor"]


def _checked(
    losses: Iterable[Loss], objective: Objective, groups: Collection[str]
) -> Iterator[Loss]:
    """Yield what an objective's step yields.

    Raises
    ------
    TypeError
        Where it returns or yields something else than losses of known groups.
    """
    name = type(objective).__name__
    if isinstance(losses, Tensor) or not isinstance(losses, Iterable):
        raise TypeError(
            f"{name}.step must yield losses, each a skebm.objectives.Loss (write "
            f"`yield Loss('energy', value)`). It returned a {type(losses).__name__}."
        )
    for loss in losses:
        if not isinstance(loss, Loss):
            raise TypeError(
                f"{name}.step must yield losses, each a skebm.objectives.Loss. It "
                f"yielded a {type(loss).__name__}."
            )
        if loss.group not in groups:
            raise TypeError(
                f"{name}.step yielded a loss of the group {loss.group!r}; its "
                f"parameter_groups are {sorted(groups)}."
            )
        yield loss


def _collect(pending: dict[str, list[Tensor]]) -> dict[str, NDArray[np.float64]]:
    return {
        name: torch.stack(values).double().cpu().numpy()
        for name, values in pending.items()
    }
