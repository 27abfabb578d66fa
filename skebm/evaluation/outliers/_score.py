"""The base class of outlier scores, and scores that need no training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from skebm.networks import EnergyModel

CHUNK_ROWS = 1024  # an embedding takes many times the memory of a row


def in_chunks(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return the values of a function at the rows of x, computed in chunks."""
    return torch.cat([function(rows) for rows in x.split(CHUNK_ROWS)])


def seed_of(generator: torch.Generator) -> int:
    """Draw a seed for another generator."""
    device = generator.device
    return int(torch.randint(2**31 - 1, (1,), generator=generator, device=device))


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
    """

    model: EnergyModel
    log_prob: Callable[[Tensor], Tensor]
    energy: Callable[[Tensor], Tensor]


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
        Mean log density of held-out rows.

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
        """Take the mean over the held-out rows."""
        del train, generator, max_steps
        return cls(in_chunks(scored.log_prob, held_out).mean())

    def forward(self, scored: ScoredModel, x: Tensor) -> Tensor:
        """Return minus the distance of log p(x) to the mean."""
        return -(scored.log_prob(x) - self.mean).abs()


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
        with torch.inference_mode(False), torch.enable_grad():
            z = x.clone().requires_grad_()
            log_prob = scored.model.log_prob_unnormalized(z)
            (slope,) = torch.autograd.grad(log_prob.sum(), z)
        return -slope.double().norm(dim=1)
