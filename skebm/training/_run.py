"""Everything that changes while a model is trained, and its snapshots."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from skebm.networks import EnergyModel
from skebm.objectives import Objective
from skebm.utils import warming_average


class TrainingRun:
    """Model, averaged weights, objective's state, optimisers and generator of a run.

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
    """

    def __init__(
        self,
        model: EnergyModel,
        objective: Objective,
        generator: torch.Generator,
        averaging_decay: float,
    ) -> None:
        self.model = model
        self.generator = generator
        self.device = generator.device
        self.state: nn.Module = objective.init(model, model.reference, generator)
        self.state.to(self.device)
        self.groups = objective.parameter_groups(model, self.state)
        self.optimizers = {
            name: torch.optim.AdamW(
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

    @property
    def served(self) -> EnergyModel:
        """The model to be judged and used: with averaged weights where there are."""
        if self.averaged is None:
            return self.model
        return EnergyModel(
            self.averaged.module, self.model.reference, self.model.entropy_weight
        )

    def update_average(self) -> None:
        """Take the present weights into the average."""
        if self.averaged is not None:
            self.averaged.update_parameters(self.model.network)

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

    def snapshot(self) -> dict[str, Any]:
        """Return a copy of `state_dict`."""
        return copy.deepcopy(self.state_dict())

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go back to a snapshot; the snapshot stays usable."""
        self.model.network.load_state_dict(snapshot["network"])
        if self.averaged is not None and snapshot["averaged"] is not None:
            self.averaged.load_state_dict(snapshot["averaged"])
        self.state.load_state_dict(snapshot["objective"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(copy.deepcopy(snapshot["optimizers"][name]))
        self.generator.set_state(snapshot["generator"])
        self.rate_factor = snapshot["rate_factor"]
