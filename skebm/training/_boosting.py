"""The training of boosted trees: an epoch is a few trees against fresh noise."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch

from skebm.networks import EnergyModel
from skebm.networks._capabilities import as_boosted
from skebm.objectives import NCE, Objective
from skebm.training._batches import TableBatches
from skebm.training._guard import Problem
from skebm.training._run import GradientRun
from skebm.training._schedule import EpochSpan, Schedule

#: Most rows of the table that the trees of one epoch are grown from.
MAX_ROWS = 20_000


class BoostingRun:
    """Adds trees to a model, as `Loop` asks for.

    Each epoch takes rows and noise anew, and grows some trees from the derivatives of
    the objective in the energy.

    Parameters
    ----------
    model : EnergyModel
        Of a net such as `BoostedTrees`; changed in place.
    generator : torch.Generator
        Source of randomness, on the model's device.
    """

    def __init__(self, model: EnergyModel, generator: torch.Generator) -> None:
        self.model, self.generator = model, generator
        trees = as_boosted(model.network)
        assert trees is not None
        self.trees = trees
        self.rate_factor = 1.0

    def configure(
        self,
        objective: Objective,
        schedule: Schedule,
        gradient_clip: float | None = None,
    ) -> BoostingRun:
        """Set how the next epochs are trained; return the run."""
        del gradient_clip  # there is no gradient of parameters
        assert isinstance(objective, NCE)
        self.objective, self.schedule = objective, schedule
        return self

    @property
    def learning_rate(self) -> float:
        """Factor of the values of new trees."""
        return self.schedule.learning_rate

    @property
    def averaged_model(self) -> EnergyModel:
        """The model: of trees no average is kept."""
        return self.model

    def evaluated_model(self) -> EnergyModel:
        """Return the model."""
        return self.model

    @torch.no_grad()
    def epoch(
        self, batches: TableBatches, span: EpochSpan
    ) -> tuple[dict[str, float], Problem | None]:
        """Grow the trees of one epoch; return the loss after it."""
        n_rows = min(len(batches), MAX_ROWS)
        batch = next(iter(batches.epoch(n_rows, self.generator, span.begin, span.end)))
        contrast = self.objective.contrast(self.model, batch, self.generator)
        points = self.model.reference.to_latent(contrast.rows).cpu().numpy()
        rows = self.trees.histogram(points)
        critic = self.model.critic(contrast.rows).double().cpu().numpy()
        rate = self.learning_rate * self.rate_factor
        for _ in range(self.trees.n_trees_per_epoch):
            slope, curvature = contrast.derivatives(critic)
            critic += self.trees.grow(rows, slope, curvature, rate)
        loss = contrast.loss(critic)
        problem = None if np.isfinite(loss) else Problem(f"the loss became {loss}")
        return {"energy_loss": float(loss)}, problem

    # --------------------------------------------------------------- snapshots

    def state_dict(self) -> dict[str, Any]:
        """Return all that is needed to go on from here, sharing memory."""
        return {
            "network": self.model.network.state_dict(),
            "generator": self.generator.get_state(),
            "rate_factor": self.rate_factor,
        }

    def learnt_state(self) -> dict[str, Any]:
        """Return the part of `state_dict` that answers need, which is all of it."""
        return self.state_dict()

    def snapshot(self) -> dict[str, Any]:
        """Return a copy of `state_dict`."""
        return copy.deepcopy(self.state_dict())

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go back to a snapshot; the snapshot stays usable."""
        self.model.network.load_state_dict(snapshot["network"])
        self.generator.set_state(snapshot["generator"])
        self.rate_factor = snapshot["rate_factor"]


#: What trains an `EnergyModel`.
EnergyRun = GradientRun | BoostingRun
