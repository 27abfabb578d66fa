"""The protocol between the training loop and what is minimised."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import torch
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from skebm.networks import EnergyModel
from skebm.references import Density
from skebm.utils import check_range as check_range
from skebm.utils import normal_like

#: Metrics of energies: differences from the reference's log density.
RELATIVE_METRICS = {"energy_gap", "log_normalizer"}


class RowCells(Protocol):
    """Cells of the space of rows whose points all stand for one value."""

    def redraw(self, z: Tensor, generator: torch.Generator) -> Tensor:
        """Return rows drawn anew within their cells."""


@dataclass(frozen=True)
class Batch:
    """Rows of one step.

    Attributes
    ----------
    x : Tensor of shape (n, n_features)
        Standardised rows, labelled or not.
    y : Tensor of shape (n,) or (n, V), or None
        Class indices, -1 where unlabelled; in V versions where members differ.
    weight : Tensor of shape (n,) or None
        Weights of the rows; they multiply data terms only.
    labeled : Batch or None
        Labelled rows drawn apart, since few labels would be rare in x.
    soft_labels, confidence : Tensor of shape (n, V, n_classes) and (n, V), or None
        Class probabilities that a graph gives the rows, and how far to trust each.
    neighbors : Batch or None
        For each row of x one of its nearest neighbours.
    noise_scale : Tensor of shape (n_features,) or None
        Standard deviations of the noise that ties in the columns ask for.
    reference : Density or None
        Whose walls turn rows and their noise back.
    cells : RowCells or None
        Within which rows are drawn anew.
    number : int
        Index of the step in its epoch, from 0.
    progress : float
        Share of the training that is done, 0 to 1.
    """

    x: Tensor
    y: Tensor | None = None
    weight: Tensor | None = None
    labeled: Batch | None = None
    soft_labels: Tensor | None = None
    confidence: Tensor | None = None
    neighbors: Batch | None = None
    noise_scale: Tensor | None = None
    reference: Density | None = None
    cells: RowCells | None = None
    number: int = 0
    progress: float = 0.0

    def dequantized(self, generator: torch.Generator) -> Tensor:
        """Return x with all that noise: what a density is trained on."""
        x = self.x
        if self.cells is not None:
            x = self.cells.redraw(x, generator)
        if self.noise_scale is not None:
            x = x + self.noise_scale * normal_like(x, generator)
        return x if self.reference is None else self.reference.reflect(x)

    def mean(self, values: Tensor) -> Tensor:
        """Return the weighted mean of one value a row."""
        if self.weight is None:
            return values.mean()
        return (self.weight * values).sum() / self.weight.sum()


@dataclass(frozen=True)
class Loss:
    """One loss of a step, the parameter group that descends it, and its metrics."""

    group: str
    value: Tensor
    figures: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters with an optimiser of their own.

    Attributes
    ----------
    parameters : list of nn.Parameter
        What the loss of that name descends.
    rate : float
        Learning rate, as a multiple of the trainer's.
    betas : tuple of float
        Adam's decay rates.
    weight_decay : float
        Decoupled weight decay.
    """

    parameters: list[nn.Parameter]
    rate: float = 1.0
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """What a density is trained with where its options are "auto".

    Attributes
    ----------
    network : str
        Name of the net.
    learning_rate : float
        The trainer's.
    n_steps : int
        About how many steps a fit makes.
    n_iter_no_change : int
        Epochs without improvement after which it stops.
    reference : str
        Name of what is tilted; the maps of "copula" have kinks, which chains, scores
        and generators meet.
    """

    network: str = "wave_mlp"
    learning_rate: float = 1e-3
    n_steps: int = 4000
    n_iter_no_change: int = 50
    reference: str = "gmm"


class Objective(BaseEstimator, ABC):
    """What is minimised; options in the constructor, everything learnt in a state.

    A new method is one subclass. `step` is a generator function: the loop descends
    each loss before it asks for the next one, so that several optimisers and inner
    loops need nothing from the loop.

    The state is an ``nn.Module`` whose parameters and buffers (generator net, chains,
    buffers) travel with checkpoints and are rolled back after a divergence.
    """

    #: Stable range of metrics: training has diverged where one of them lies outside.
    healthy: ClassVar[dict[str, tuple[float, float]]] = {}
    #: The net, rate and number of steps that the method was measured with.
    recipe: ClassVar[Recipe] = Recipe()
    #: Whether the objective makes sense only for a net with one output a class.
    needs_labels: ClassVar[bool] = False
    #: Whether it joins an objective of the density with losses of a classifier.
    is_joint: ClassVar[bool] = False
    #: Most columns the method is practical for; None for any number.
    max_features: ClassVar[int | None] = None
    #: What to do where a table has more columns.
    remedy: ClassVar[str] = ""

    def check_options(self) -> None:
        """Raise ValueError naming an option that is out of its range."""

    def check_columns(self, n_features: int) -> None:
        """Raise ValueError where X has more columns than the method can take."""
        if self.max_features is not None and n_features > self.max_features:
            name = type(self).__name__
            raise ValueError(
                f"objective {name} and X with {n_features} columns don't go together: "
                f"{name} takes at most {self.max_features} columns. {self.remedy}"
            )

    def check_model(self, model: EnergyModel, n_features: int) -> None:
        """Raise ValueError naming both where the method can't train this model.

        Called with the reference in place, once, before training.
        """

    def healthy_for(self, model: EnergyModel) -> dict[str, tuple[float, float]]:
        """Return the stable ranges of metrics that have one for this model.

        The energy of a normalised net is measured from a reference that takes no part
        in its training, so that metrics of its level have none.
        """
        relative = RELATIVE_METRICS if model.is_normalized else set()
        return {k: v for k, v in self.healthy.items() if k not in relative}

    @property
    def critic_scale(self) -> float:
        """lambda, by which the critic is divided to give minus the energy."""
        return 1.0

    @abstractmethod
    def init(
        self, model: EnergyModel, reference: Density, generator: torch.Generator
    ) -> nn.Module:
        """Return the state for this model."""

    def parameter_groups(
        self, model: EnergyModel, state: nn.Module
    ) -> dict[str, ParameterGroup]:
        """Return the parameter groups by the names that `step` uses."""
        del state
        return {"energy": ParameterGroup(list(model.network.parameters()))}

    @abstractmethod
    def step(
        self,
        model: EnergyModel,
        batch: Batch,
        state: nn.Module,
        generator: torch.Generator,
    ) -> Iterator[Loss]:
        """Yield the losses of one step; each is descended before the next."""

    def end_epoch(
        self, model: EnergyModel, state: nn.Module, generator: torch.Generator
    ) -> None:
        """Do what is to be done once an epoch; nothing by default."""
