"""What a reference is: a recipe that is fitted to rows and yields a density."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from torch import Tensor, nn


class Density(nn.Module, ABC):
    """A normalised density whose state is a handful of tensors.

    A subclass takes its tensors as constructor arguments and registers each as a
    persistent buffer of the same name, so that ``type(d)(**d.arrays())`` is a copy.
    """

    #: Whether the density is zero somewhere, so that `extended_log_prob` differs.
    has_walls: ClassVar[bool] = False
    #: Whether marginals and conditionals are closed forms: `partition` is there.
    has_conditionals: ClassVar[bool] = False
    #: Whether there is a `transition`: for chains, and for noise about rows.
    has_transitions: ClassVar[bool] = False

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """Return log q0(x) in nats, shape (n,); differentiable in x."""

    @abstractmethod
    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Return draws of shape (n_samples, n_features)."""

    def extended_log_prob(self, x: Tensor) -> Tensor:
        """Return log q0(x), finite and sloping back to the support outside of it.

        What a generator is trained on; the same as `log_prob` on full support.
        """
        return self.log_prob(x)

    def partition(self, observed: Tensor) -> tuple[Density, Conditional]:
        """Return the marginal of some columns and the conditional of the others.

        Parameters
        ----------
        observed : Tensor of bool of shape (n_features,)
            Which columns are given; not all.

        Returns
        -------
        marginal : Density
            q0(x_O), of the given columns, in double precision.
        conditional : callable, (n_observed,) -> Density
            Takes x_O to q0(x_M | x_O).
        """
        raise NotImplementedError(f"{type(self).__name__} has no closed forms.")

    def transition(
        self, x: Tensor, scale: Tensor, generator: torch.Generator
    ) -> Tensor:
        r"""Return rows after a step of a chain that is reversible with respect to q0.

        .. math:: q_0(x) K(x' | x) = q_0(x') K(x | x')

        Taken as a proposal for :math:`q_0 e^{-E}`, it is accepted with probability
        :math:`\min(1, e^{E(x) - E(x')})`: neither q0 nor a gradient is asked for.

        Parameters
        ----------
        x : Tensor of shape (n, n_features)
            Where the chains are.
        scale : Tensor of shape (n,)
            Length of each step, above 0 and up to 1, the spread of what x is in.
        generator : torch.Generator
            The only source of randomness.
        """
        raise NotImplementedError(f"{type(self).__name__} has no transitions.")

    def coordinates(self, x: Tensor) -> Tensor:
        """Return rows in columns that are about normal: what a net sees."""
        return x

    def from_coordinates(self, z: Tensor) -> Tensor:
        """Return the rows of these coordinates."""
        return z

    def in_coordinates(self) -> Density:
        """Return the density of the coordinates, its Jacobian counted, for chains.

        Or the density itself, where chains had better move among the rows.
        """
        return self

    @property
    def narrowest_scale(self) -> float:
        """Least standard deviation that log q0 curves with; inf where it is flat."""
        return math.inf

    def for_training(self, seed: int) -> Density:
        """Return the density to train by: this, or one with draws in stock."""
        del seed
        return self

    def inside(self, x: Tensor) -> Tensor:
        """Return x, mirrored at the walls where it lies beyond them."""
        return x

    def arrays(self) -> dict[str, Tensor]:
        """Return the tensors that `__init__` takes, by name."""
        return dict(self.state_dict())


#: Takes the given columns of a row, shape (n_observed,), to a density of the others.
Conditional = Callable[[Tensor], Density]


class Reference(BaseEstimator, ABC):
    """A recipe for a reference density: options now, rows later."""

    #: Whether held-out rows must lie in the support, so that the fit needs them too.
    needs_all_rows: ClassVar[bool] = False

    def check_options(self) -> None:
        """Raise ValueError naming an option that is out of its range."""

    def in_units(
        self, mean: NDArray[np.float64], scale: NDArray[np.float64]
    ) -> Reference:
        """Return the recipe for rows (x - mean) / scale; matters to fitted ones."""
        del mean, scale
        return self

    @abstractmethod
    def fit(
        self, x: Tensor, *, weight: Tensor | None, generator: torch.Generator
    ) -> Density:
        """Return the density fitted to standardised rows x of shape (n, n_features).

        Parameters
        ----------
        x : Tensor of shape (n, n_features)
            Rows, on the CPU.
        weight : Tensor of shape (n,) or None
            Weights of the rows.
        generator : torch.Generator
            Source of randomness, on the CPU.
        """
