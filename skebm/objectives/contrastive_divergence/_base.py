"""Base of the methods whose negative phase is a run of Markov chains."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from skebm.networks import EnergyModel
from skebm.objectives._base import Batch, Loss, Objective
from skebm.objectives._chain import ChainKernel, check_explores, check_sampler
from skebm.references import Density
from skebm.samplers import AbstractSampler, make_sampler
from skebm.utils import check_count


class ChainState(nn.Module):
    """State with the kernel that moves the chains; subclasses add their positions."""

    def __init__(self, kernel: ChainKernel) -> None:
        super().__init__()
        self.kernel = kernel


@dataclass(frozen=True, eq=False)
class Negatives:
    """Rows at which chains end, with metrics and a further term of the loss."""

    rows: Batch
    metrics: dict[str, Tensor]
    extra_loss: Tensor | None = None


class AbstractContrastiveDivergence(Objective):
    r"""Gradient of the likelihood with the model's expectation by Markov chains.

    .. math:: \nabla_\theta E_{data}[-\log p(x)]
              = E_{data}[\nabla_\theta E(x)] - E_p[\nabla_\theta E(x)]

    Subclasses choose where the chains of a step start.
    """

    healthy: ClassVar[dict[str, tuple[float, float]]] = {"energy_gap": (-100.0, 100.0)}

    sampler: str | AbstractSampler
    n_steps: int
    n_reference_tries: int
    energy_regularization: float = 0.0

    def check_options(self) -> None:
        """Raise ValueError naming an option that is out of its range."""
        check_sampler(self, self.sampler)
        check_count(self, "n_steps")
        check_count(self, "n_reference_tries", 0)

    def check_model(self, model: EnergyModel, n_features: int) -> None:
        """Raise ValueError naming both where the sampler can't explore the model."""
        super().check_model(model, n_features)
        check_explores(self, self.sampler, model)

    def init(
        self, model: EnergyModel, reference: Density, generator: torch.Generator
    ) -> ChainState:
        """Return a state that holds the kernel and no chains."""
        del model, reference, generator
        return ChainState(self._kernel())

    def _kernel(self) -> ChainKernel:
        return ChainKernel(make_sampler(self.sampler), self.n_reference_tries)

    @abstractmethod
    def negatives(
        self,
        model: EnergyModel,
        data: Batch,
        state: nn.Module,
        generator: torch.Generator,
    ) -> Negatives:
        """Run the chains of a step and return the rows at which they end.

        Parameters
        ----------
        model : EnergyModel
            What the chains explore.
        data : Batch
            Rows of the step and their weights, noise included.
        state : nn.Module
            What `init` returned.
        generator : torch.Generator
            Source of randomness.
        """

    def step(
        self,
        model: EnergyModel,
        batch: Batch,
        state: nn.Module,
        generator: torch.Generator,
    ) -> Iterator[Loss]:
        """Yield the mean energy of the rows minus that of the chains' ends."""
        data = Batch(batch.dequantized(generator), weight=batch.weight)
        negatives = self.negatives(model, data, state, generator)
        chains = negatives.rows
        energy = model.energy(torch.cat([data.x, chains.x]))
        energy_data, energy_chains = energy.split([len(data.x), len(chains.x)])
        gap = chains.mean(energy_chains) - data.mean(energy_data)
        loss = -gap
        if self.energy_regularization:
            squares = data.mean(energy_data**2) + chains.mean(energy_chains**2)
            loss = loss + self.energy_regularization * squares
        if negatives.extra_loss is not None:
            loss = loss + negatives.extra_loss
        yield Loss("energy", loss, {"energy_gap": gap.detach()} | negatives.metrics)
