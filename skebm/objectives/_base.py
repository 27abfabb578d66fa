"""The protocol of objectives: a batch goes in, losses of parameter groups come out."""

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


class CategoryNoise(Protocol):
    """Noise that moves the category columns of rows."""

    columns: list[int]

    def alike(
        self,
        x: Tensor,
        time: Tensor,
        n_points: int,
        generator: torch.Generator,
        absorbing: bool = False,
    ) -> Tensor:
        """Return points of each row that may have made a noisy copy of it."""

    def log_base(self, x: Tensor) -> Tensor:
        """Return the log density of the measure that the noise leaves alone."""


class RowCells(Protocol):
    """Quantization cells: all rows within a cell stand for the same value."""

    @property
    def diffusion(self) -> CategoryNoise | None:
        """The noise of columns of categories; None without any."""

    def redraw(self, z: Tensor, generator: torch.Generator) -> Tensor:
        """Return rows drawn at random within the cells of the rows z."""


@dataclass(frozen=True)
class Batch:
    """Rows of one training step.

    Attributes
    ----------
    x : Tensor of shape (n, n_features)
        Standardised rows, labelled or not.
    y : Tensor of shape (n,) or (n, V), or None
        Class indices, -1 where unlabelled; in V versions where members differ.
    weight : Tensor of shape (n,) or None
        Weights of the rows, used by the terms over data only.
    labeled : Batch or None
        Labelled rows, drawn separately, since few labels would be rare in x.
    soft_labels, confidence : Tensor of shape (n, V, n_classes) and (n, V), or None
        Class probabilities of the rows by a graph, and the confidence in each.
    neighbors : Batch or None
        One of the nearest neighbours of each row of x.
    taught : Tensor of shape (n, n_classes) or None
        Class probabilities that supervised members learn; 0 where a row has none.
    noise_scale : Tensor of shape (n_features,) or None
        Standard deviations of the noise added to columns with tied values.
    reference : Density or None
        Density whose bounded support noisy rows are reflected into.
    cells : RowCells or None
        Quantization cells within which rows are redrawn.
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
    taught: Tensor | None = None
    noise_scale: Tensor | None = None
    reference: Density | None = None
    cells: RowCells | None = None
    number: int = 0
    progress: float = 0.0

    def dequantized(self, generator: torch.Generator) -> Tensor:
        """Return the rows that densities train on: x redrawn in cells, plus noise."""
        x = self.x
        if self.cells is not None:
            x = self.cells.redraw(x, generator)
        if self.noise_scale is not None:
            x = x + self.noise_scale * normal_like(x, generator)
        return x if self.reference is None else self.reference.reflect(x)

    def mean(self, values: Tensor) -> Tensor:
        """Return the weighted mean of values, one for each row."""
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
        Parameters that the loss of that name trains.
    rate : float
        Learning rate, as a multiple of that of the training.
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
    """Defaults of an objective: the values of options that are "auto".

    Attributes
    ----------
    network : str
        Name of the net.
    learning_rate : float
        Learning rate of the training.
    n_steps : int
        Approximate number of steps of a fit.
    n_iter_no_change : int
        Epochs without improvement after which training stops.
    reference : str
        Name of the reference. The maps of "copula" have kinks, which disturb chains,
        scores and generators.
    """

    network: str = "wave_mlp"
    learning_rate: float = 1e-3
    n_steps: int = 4000
    n_iter_no_change: int = 50
    reference: str = "gmm"


class Objective(BaseEstimator, ABC):
    """A training objective: options in the constructor, everything learnt in a state.

    A new method is one subclass. `step` is a generator function: the loop takes an
    optimiser step on each loss before it asks for the next one. So several optimisers
    and inner loops need no support from the loop.

    The state is an ``nn.Module`` whose parameters and buffers (generator net, chains,
    buffers) travel with checkpoints and are rolled back after a divergence.
    """

    #: Stable range of metrics: training has diverged where one of them lies outside.
    healthy: ClassVar[dict[str, tuple[float, float]]] = {}
    #: Values of the options that are "auto".
    recipe: ClassVar[Recipe] = Recipe()
    #: Whether the objective needs labelled rows, and a net with one output per class.
    needs_labels: ClassVar[bool] = False
    #: Whether it joins an objective of the density with losses of a classifier.
    is_joint: ClassVar[bool] = False
    #: Largest number of columns that the method is practical for; None for any.
    max_features: ClassVar[int | None] = None
    #: Advice in the error for tables with more columns.
    remedy: ClassVar[str] = ""

    def check_options(self) -> None:
        """Raise ValueError naming an option that is out of its range."""

    def check_columns(self, n_features: int) -> None:
        """Raise ValueError where X has more columns than `max_features`."""
        if self.max_features is not None and n_features > self.max_features:
            name = type(self).__name__
            raise ValueError(
                f"objective {name} and X with {n_features} columns don't go together: "
                f"{name} takes at most {self.max_features} columns. {self.remedy}"
            )

    def check_model(self, model: EnergyModel, n_features: int) -> None:
        """Raise ValueError naming both where method and model do not go together.

        Called once before training, with the fitted reference in the model.
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
        """Scale lambda between the critic c and the energy, E = -c / lambda."""
        return 1.0

    def init(
        self, model: EnergyModel, reference: Density, generator: torch.Generator
    ) -> nn.Module:
        """Return the initial state: all that is learnt besides the energy's net.

        An empty one, unless an objective learns more.
        """
        del model, reference, generator
        return nn.Module()

    def parameter_groups(
        self, model: EnergyModel, state: nn.Module
    ) -> dict[str, ParameterGroup]:
        """Return the parameter groups, by the names of the losses that train them."""
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
        """Yield the losses of one step, each minimised before the next is asked for."""

    def end_epoch(
        self, model: EnergyModel, state: nn.Module, generator: torch.Generator
    ) -> None:
        """Update the state at the end of an epoch; by default do nothing."""
