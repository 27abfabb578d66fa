"""What a reference is: a recipe that is fitted to rows and yields a density."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from torch import Tensor, nn

if TYPE_CHECKING:
    from skebm.references._mixture import GaussianMixtureDensity


class Density(nn.Module, ABC):
    """A normalised density whose state is a handful of tensors.

    A subclass takes its tensors as constructor arguments and registers each as a
    persistent buffer of the same name, so that ``type(d)(**d.arrays())`` is a copy.
    """

    #: Whether the density is zero somewhere, so that `extended_log_prob` differs.
    bounded_support: ClassVar[bool] = False
    #: Whether some columns take isolated values, so that chains move by `transition`.
    is_discrete: ClassVar[bool] = False
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

    def sample_extended(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Return draws that follow `extended_log_prob`; those of `sample` by default.

        On bounded support some of them lie outside it.
        """
        return self.sample(n_samples, generator)

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

    def reflect(self, x: Tensor) -> Tensor:
        """Return rows, those outside a bounded support reflected into it."""
        return x

    def outside(self, x: Tensor) -> Tensor:
        """Return the columns, as a mask, in which a row lies outside the support.

        NaN is never outside. A support that no column bounds has no such column.
        """
        return torch.zeros(x.shape[1], dtype=torch.bool, device=x.device)

    def bounds(self) -> tuple[Tensor, Tensor] | None:
        """Return the lower and upper corner of a support that is a box, else None."""
        return None

    def as_mixture(self) -> GaussianMixtureDensity | None:
        """Return the Gaussian mixture that this is or contains, or None."""
        return None

    def arrays(self) -> dict[str, Tensor]:
        """Return the tensors that `__init__` takes, by name."""
        return dict(self.state_dict())

    @staticmethod
    def adapt(density: Any) -> Density:
        """Return a density that has `log_prob` and `sample` alone as a `Density`."""
        return density if isinstance(density, Density) else _AdaptedDensity(density)


class _AdaptedDensity(Density):
    """A density of another library; its transitions count if it declares them."""

    def __init__(self, density: Any) -> None:
        super().__init__()
        self.density = density
        self.has_transitions = getattr(density, "has_transitions", False)  # type: ignore[misc]

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log q0(x) in nats, shape (n,)."""
        return self.density.log_prob(x)

    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Return draws of shape (n_samples, n_features)."""
        return self.density.sample(n_samples, generator)

    def transition(
        self, x: Tensor, scale: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Return rows after a step of the density's own."""
        return self.density.transition(x, scale, generator)


#: Takes the given columns of a row, shape (n_observed,), to a density of the others.
Conditional = Callable[[Tensor], Density]


class Reference(BaseEstimator, ABC):
    """A recipe for a reference density: options now, rows later."""

    #: Whether held-out rows must lie in the support, so that the fit needs them too.
    needs_all_rows: ClassVar[bool] = False
    #: Whether a single Gaussian is fitted, so that no mixture helps to fill rows.
    is_gaussian: ClassVar[bool] = False

    def check_options(self) -> None:
        """Raise ValueError naming an option that is out of its range."""

    def in_units(
        self, mean: NDArray[np.float64], scale: NDArray[np.float64]
    ) -> Reference:
        """Return the recipe for rows (x - mean) / scale; matters to fitted ones."""
        del mean, scale
        return self

    def for_normalized(self) -> Reference:
        """Return a reference of full support, for a net that is a log density."""
        return self

    def coarser(self) -> Reference | None:
        """Return a coarser reference to start again from where tilting gains nothing.

        None where there is no such reference.
        """
        return None

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
