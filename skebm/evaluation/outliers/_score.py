"""The base class of outlier scores, and scores that need no training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from skebm.networks import EnergyModel
from skebm.references import Density
from skebm.references._base import Folds

CHUNK_ROWS = 1024  # an embedding takes many times the memory of a row
#: So many held-out rows give a threshold by themselves.
ENOUGH_HELD_OUT = 300


def in_chunks(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return the values of a function at the rows of x, computed in chunks."""
    return torch.cat([function(rows) for rows in x.split(CHUNK_ROWS)])


def seed_of(generator: torch.Generator) -> int:
    """Draw a seed for another generator."""
    device = generator.device
    return int(torch.randint(2**31 - 1, (1,), generator=generator, device=device))


def optimism(train: Tensor, held_out: Tensor) -> Tensor:
    r"""Return by how much scores of training rows exceed those of new rows on average.

    The difference of means, shrunk as its standard error asks for, and never negative:

    .. math:: \hat\delta = d \max(0, 1 - \mathrm{se}^2 / d^2), \qquad
              d = \max(0, \bar s_{train} - \bar s_{held out})
    """
    gap = (train.mean() - held_out.mean()).clamp(min=0)
    variance = torch.cat([train, held_out]).var(correction=0)  # few rows have none
    square = variance * (1 / len(train) + 1 / len(held_out))
    shrunk = (1 - square / gap.square()).clamp(min=0)
    return (gap * shrunk).nan_to_num()


def calibration_scores(
    score: OODScore, scored: ScoredModel, train: Tensor, held_out: Tensor
) -> Tensor:
    """Return scores that new rows are compared with.

    Those of held-out rows where they are enough, else those of all rows, the training
    rows as if each had been left out. ``held_out`` is ``train`` where there are none.
    """
    values = in_chunks(partial(score, scored), held_out)
    if len(held_out) >= ENOUGH_HELD_OUT and held_out is not train:
        return values
    left_out = score.left_out(scored, train, held_out)
    return left_out if held_out is train else torch.cat([values, left_out])


def left_out_log_prob(density: Density, folds: Folds, train: Tensor) -> Tensor:
    """Return the log density of its rows as if left out: by folds, or closed form."""
    values = density.left_out_log_prob(train).double()
    for rows, other in folds:
        values[rows] = other.log_prob(train[rows]).double()
    return values


def _whole(density: Density) -> Density:
    return density


DensityFunction = Callable[[Tensor], Tensor]


def _as_it_is(log_density: DensityFunction) -> DensityFunction:
    return log_density


def _as_they_are(rows: Tensor) -> Tensor:
    return rows


@dataclass(frozen=True)
class ScoredModel:
    """A trained model, with its log density and energy of standardised rows.

    Attributes
    ----------
    model : EnergyModel
        The model of standardised rows.
    log_prob : callable
        The normalised log density in nats, float64, in the units of X; in a table with
        categories, the log mass of the row's cell.
    energy : callable
        The energy in nats, float64; in a table with categories, of the row's cell.
    trains_reference : bool
        Whether the reference was fitted to the training rows.
    folds : tuple of (Tensor of int64, Density)
        Numbers of training rows, and the reference fitted to the other ones.
    log_mass : callable
        Makes of a log density that of the mass of a row's cell, in a table with
        categories.
    centred : callable
        Moves rows to the midpoints of their cells: rows of equal entries are equal.
    categories : tuple of int
        Columns of categories.
    trimmed_share : float
        Share of the rows that were left out of training as outliers.
    """

    model: EnergyModel
    log_prob: Callable[[Tensor], Tensor]
    energy: Callable[[Tensor], Tensor]
    trains_reference: bool = False
    folds: Folds = ()
    log_mass: Callable[[DensityFunction], DensityFunction] = _as_it_is
    centred: Callable[[Tensor], Tensor] = _as_they_are
    categories: tuple[int, ...] = ()
    trimmed_share: float = 0.0

    def left_out_reference(
        self, train: Tensor, part: Callable[[Density], Density] = _whole
    ) -> Tensor:
        """Return log q0 of the rows that it was fitted to, as if left out, float64.

        That of the fold that leaves a row out, where there is one: its components were
        chosen without the row. Else in closed form, which keeps their choice.

        Parameters
        ----------
        train : Tensor of shape (n, n_features)
            The rows.
        part : callable
            Takes a reference to the density in question.
        """
        folds = tuple((rows, part(density)) for rows, density in self.folds)
        return left_out_log_prob(part(self.model.reference), folds, train)

    def left_out_log_prob(self, train: Tensor, held_out: Tensor) -> Tensor:
        """Return the log density of training rows, each as if it had been left out.

        The reference leaves them out in closed form, where it can; of the energy the
        mean gain over held-out rows is taken off.
        """
        values = in_chunks(self.log_prob, train)
        if self.model.is_normalized:
            return values - optimism(values, in_chunks(self.log_prob, held_out))
        if self.trains_reference:
            fitted = in_chunks(self.model.reference.log_prob, train).double()
            values = values + self.left_out_reference(train) - fitted
        return values - optimism(
            *(-in_chunks(self.energy, x) for x in (train, held_out))
        )


class OODScore(nn.Module, ABC):
    """A score of standardised rows; higher is more normal.

    A subclass takes its tensors as constructor arguments and registers each as a
    persistent buffer of the same name, or has a `from_arrays` of its own.
    """

    #: Whether `fit` costs almost nothing, so that the score is always prepared.
    is_free: ClassVar[bool] = True

    @classmethod
    def fit(
        cls,
        scored: ScoredModel,
        train: Tensor,
        held_out: Tensor,
        generator: torch.Generator,
        max_steps: int,
    ) -> Self:
        """Return the score, fitted to rows if it has to learn.

        Parameters
        ----------
        scored : ScoredModel
            The trained model.
        train : Tensor of shape (n, n_features)
            Standardised rows that the model was trained on, on its device.
        held_out : Tensor of shape (m, n_features)
            Rows that it was not trained on; ``train`` where there are none.
        generator : torch.Generator
            Source of randomness, on that device.
        max_steps : int
            Most training steps that the score may take: those of the model.
        """
        del scored, train, held_out, generator, max_steps
        return cls()

    @abstractmethod
    def forward(self, scored: ScoredModel, x: Tensor) -> Tensor:
        """Return the scores of the rows, float64, shape (n,)."""

    def of_fitted_rows(self, scored: ScoredModel, x: Tensor) -> Tensor:
        """Return the scores of rows of `fit`; no row is compared with itself.

        By default they are those of other rows.
        """
        return self(scored, x)

    def left_out(self, scored: ScoredModel, train: Tensor, held_out: Tensor) -> Tensor:
        """Return the scores of training rows, each as if it had been left out.

        Asked for right after `fit`, with the same rows. By default the mean excess over
        held-out rows is taken off the scores.
        """
        values = [in_chunks(partial(self, scored), x) for x in (train, held_out)]
        return values[0] - optimism(*values)

    def arrays(self) -> dict[str, Tensor]:
        """Return the tensors that `from_arrays` takes, by name."""
        return dict(self.state_dict())

    @classmethod
    def from_arrays(cls, arrays: dict[str, Tensor]) -> Self:
        """Return a copy of the score that has these arrays."""
        return cls(**arrays)


class LogDensity(OODScore):
    """The log density, in nats and in the units of X."""

    def forward(self, scored: ScoredModel, x: Tensor) -> Tensor:
        """Return log p(x)."""
        return scored.log_prob(x)

    def left_out(self, scored: ScoredModel, train: Tensor, held_out: Tensor) -> Tensor:
        """Return log p of training rows, each as if it had been left out."""
        return scored.left_out_log_prob(train, held_out)


class NegativeEnergy(OODScore):
    """The negative energy: the log ratio of model and reference, up to a constant."""

    def forward(self, scored: ScoredModel, x: Tensor) -> Tensor:
        """Return -E(x)."""
        return -scored.energy(x)


class Typicality(OODScore):
    r"""Minus the distance of the log density from its mean over held-out rows.

    .. math:: s(x) = -|\log p(x) - \tfrac1m \textstyle\sum_i \log p(x_i)|

    In many columns, draws of a density lie where it is neither low nor highest.

    Parameters
    ----------
    mean : Tensor of shape ()
        Mean log density of held-out rows, and of training rows as if left out.

    References
    ----------
    Nalisnick et al. Detecting out-of-distribution inputs to deep generative models
    using typicality. 2019 (arXiv 1906.02994).
    """

    def __init__(self, mean: Tensor) -> None:
        super().__init__()
        self.mean: Tensor
        self.register_buffer("mean", mean)

    @classmethod
    def fit(
        cls,
        scored: ScoredModel,
        train: Tensor,
        held_out: Tensor,
        generator: torch.Generator,
        max_steps: int,
    ) -> Self:
        """Take the mean over the rows that thresholds are made of."""
        del generator, max_steps
        return cls(calibration_scores(LogDensity(), scored, train, held_out).mean())

    def forward(self, scored: ScoredModel, x: Tensor) -> Tensor:
        """Return minus the distance of log p(x) to the mean."""
        return -(scored.log_prob(x) - self.mean).abs()

    def left_out(self, scored: ScoredModel, train: Tensor, held_out: Tensor) -> Tensor:
        """Return the scores of training rows, each as if it had been left out."""
        return -(scored.left_out_log_prob(train, held_out) - self.mean).abs()


class GradientNorm(OODScore):
    r"""Minus the norm of the gradient of the log density in standardised columns.

    .. math:: s(x) = -\|\nabla_z \log p(x)\|

    References
    ----------
    Grathwohl et al. Your classifier is secretly an energy based model and you should
    treat it like one. ICLR 2020.
    """

    def forward(self, scored: ScoredModel, x: Tensor) -> Tensor:
        """Return minus the norm of the gradient."""
        return -_gradient(scored.model.log_prob_unnormalized, x).norm(dim=1)

    def left_out(self, scored: ScoredModel, train: Tensor, held_out: Tensor) -> Tensor:
        """Return the scores of training rows, the reference without them."""
        reference = scored.model.reference
        if not scored.trains_reference or scored.model.is_normalized:
            return super().left_out(scored, train, held_out)
        fitted = [scored.model.log_prob_unnormalized, reference.log_prob]
        whole, of_reference = (
            in_chunks(partial(_gradient, function), train) for function in fitted
        )
        left_out = _gradient(reference.left_out_log_prob, train)
        for rows, other in scored.folds:
            left_out[rows] = _gradient(other.log_prob, train[rows])
        slope = whole - of_reference + left_out
        values = -slope.norm(dim=1)
        return values - optimism(values, in_chunks(partial(self, scored), held_out))


def _gradient(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return the gradients of a function at the rows of x, float64."""
    with torch.inference_mode(False), torch.enable_grad():
        z = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(function(z).sum(), z)
    return slope.double()
