"""The base classes of references: `Reference` is fitted and returns a `Density`."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from skebm.utils import value_and_gradient

if TYPE_CHECKING:
    from skebm.references._mixture import GaussianMixtureDensity


#: Methods and attributes of `Density` under their names of version 0.1.0.
RENAMED = {
    "has_walls": "bounded_support",
    "coordinates": "to_latent",
    "from_coordinates": "from_latent",
    "in_coordinates": "in_latent_space",
    "inside": "reflect",
}


#: Numbers of rows, and the density fitted to the others.
Folds = tuple[tuple[Tensor, "Density"], ...]


#: Takes values of one column of rows, (n, n_points), to log densities of that shape.
Line = Callable[[Tensor], Tensor]


def keeps_up(kind: type, name: str, basis: str) -> bool:
    """Return whether no subclass has overridden ``basis`` without ``name``."""
    owners = [
        next(i for i, base in enumerate(kind.__mro__) if method in vars(base))
        for method in (name, basis)
    ]
    return owners[0] <= owners[1]


def substituted(log_density: Callable[[Tensor], Tensor], x: Tensor, j: int) -> Line:
    """Return a log density of rows x as a function of values in place of column j."""

    def line(points: Tensor) -> Tensor:
        rows = x[:, None].repeat(1, points.shape[1], 1)
        rows[..., j] = points
        return log_density(rows.flatten(0, 1)).reshape(points.shape)

    return line


class Density(nn.Module, ABC):
    """A normalised density q0 that is defined by a few tensors.

    A subclass takes its tensors as constructor arguments and registers each as a
    persistent buffer of the same name, so that ``type(d)(**d.arrays())`` is a copy.
    It declares its capabilities by class attributes and methods: nothing else in the
    package depends on the class itself.
    """

    #: Whether the density is zero somewhere, so that `extended_log_prob` differs.
    bounded_support: ClassVar[bool] = False
    #: Whether some columns take isolated values, so that chains move by `transition`.
    is_discrete: ClassVar[bool] = False
    #: Whether marginals and conditionals are closed forms, so that `partition` works.
    has_conditionals: ClassVar[bool] = False
    #: Whether `transition` works, for chains and for noise about rows.
    has_transitions: ClassVar[bool] = False
    #: What `Reference.fit` made beside the density by cross-validation, if it did: for
    #: the rows of each fold the density of the other rows. No part of the arrays.
    folds: Folds = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Raise TypeError where a subclass overrides a method by its former name."""
        super().__init_subclass__(**kwargs)
        for old, new in RENAMED.items():
            if old in vars(cls):
                raise TypeError(
                    f"{cls.__name__}.{old} has no effect: Density.{old} was renamed to "
                    f"Density.{new} in version 0.2.0. Rename it."
                )

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """Return log q0(x) in nats, shape (n,); differentiable in x."""

    @abstractmethod
    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Return draws of shape (n_samples, n_features)."""

    def left_out_log_prob(self, x: Tensor) -> Tensor:
        """Return log q0 of the rows it was fitted to, each as if it had been left out.

        About as high as for new rows, where `log_prob` is higher. It is `log_prob`
        itself where a subclass knows no better.
        """
        return self.log_prob(x)

    def extended_log_prob(self, x: Tensor) -> Tensor:
        """Return log q0(x), continued outside the support with a slope back to it.

        Generators are trained on it. On full support it equals `log_prob`.
        """
        return self.log_prob(x)

    def sample_extended(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Return draws that follow `extended_log_prob`; those of `sample` by default.

        On bounded support some of them lie outside it.
        """
        return self.sample(n_samples, generator)

    def along(self, x: Tensor, j: int) -> Line:
        """Return log q0 of rows as a function of values in place of column j.

        Parameters
        ----------
        x : Tensor of shape (n, n_features)
            The rows.
        j : int
            The column.
        """
        return substituted(self.log_prob, x, j)

    def partition(self, observed: Tensor) -> tuple[Density, Conditional]:
        """Return the marginal of some columns and the conditional of the others.

        Parameters
        ----------
        observed : Tensor of bool of shape (n_features,)
            Mask of the given columns, which are not all.

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
        r"""Return rows after a step of a Markov chain that is reversible under q0.

        .. math:: q_0(x) K(x' | x) = q_0(x') K(x | x')

        Taken as a proposal for :math:`q_0 e^{-E}`, it is accepted with probability
        :math:`\min(1, e^{E(x) - E(x')})`, without q0 or a gradient.

        Parameters
        ----------
        x : Tensor of shape (n, n_features)
            States of the chains.
        scale : Tensor of shape (n,)
            Length of each step, in (0, 1]; 1 is the width of the component of x.
        generator : torch.Generator
            The only source of randomness.
        """
        raise NotImplementedError(f"{type(self).__name__} has no transitions.")

    def latent_column(self, j: int) -> Callable[[Tensor], Tensor] | None:
        """Return the map of column j, of values of any shape, to that of `to_latent`.

        None where other columns of `to_latent` depend on it as well.
        """
        is_same = type(self).to_latent is Density.to_latent
        return (lambda points: points) if is_same else None

    def to_latent(self, x: Tensor) -> Tensor:
        """Return rows in the latent space that a net sees, about normal by column."""
        return x

    def from_latent(self, z: Tensor) -> Tensor:
        """Return the rows of these points of the latent space."""
        return z

    def in_latent_space(self) -> Density:
        """Return the density of latent points, with its Jacobian, for chains.

        It is the density itself where chains mix better in the space of rows.
        """
        return self

    @property
    def narrowest_scale(self) -> float:
        """The smallest standard deviation of a feature of q0; inf where q0 is flat."""
        return math.inf

    def for_training(self, seed: int) -> Density:
        """Return the density to train with: itself, or one whose draws are cached."""
        del seed
        return self

    def reflect(self, x: Tensor) -> Tensor:
        """Return rows, those outside a bounded support reflected into it."""
        return x

    def reflected(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return what `reflect` returns, and its slopes, 1 or -1; None for all 1."""
        return x, None

    def log_prob_with_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return log q0(x), shape (n,), and its gradients (n, d), without a graph."""
        return value_and_gradient(self.log_prob, x)

    def outside(self, x: Tensor) -> Tensor:
        """Return a mask of the columns in which any row lies outside the support.

        NaN is never outside, and nor is an entry of a column that has no bounds.
        """
        return torch.zeros(x.shape[1], dtype=torch.bool, device=x.device)

    def bounds(self) -> tuple[Tensor, Tensor] | None:
        """Return the lower and upper corner of a support that is a box, else None."""
        return None

    def as_mixture(self) -> GaussianMixtureDensity | None:
        """Return the Gaussian mixture that this is or contains, or None."""
        return None

    def beside(self, mixture: GaussianMixtureDensity, share: float) -> Density:
        """Return (1 - share) times this density, and share times a mixture.

        Only the references whose `apart` splits rows need it.
        """
        raise NotImplementedError(f"{type(self).__name__} is not mixed with others.")

    def arrays(self) -> dict[str, Tensor]:
        """Return the tensors that `__init__` takes, by name."""
        return dict(self.state_dict())

    @staticmethod
    def adapt(density: Any) -> Density:
        """Wrap an object that has `log_prob` and `sample` but is no `Density`."""
        return density if isinstance(density, Density) else _AdaptedDensity(density)


class _AdaptedDensity(Density):
    """A density of another library, with transitions if it has `has_transitions`."""

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
        """Return rows after a step of the wrapped density."""
        return self.density.transition(x, scale, generator)


#: Maps the given columns of a row, shape (n_observed,), to a density of the others.
Conditional = Callable[[Tensor], Density]


class Reference(BaseEstimator, ABC):
    """An unfitted reference: it holds options, and `fit` returns a density."""

    #: Whether held-out rows must lie in the support, so that `fit` needs them too.
    needs_all_rows: ClassVar[bool] = False
    #: Whether `fit` returns a single Gaussian, so that rows are completed by it.
    is_gaussian: ClassVar[bool] = False

    @property
    def has_units(self) -> bool:
        """Whether it was fitted to rows in the units of X, so that `in_units` counts.

        Columns of numbers are then only shifted and scaled.
        """
        return False

    def check_options(self) -> None:
        """Raise ValueError naming an option that is out of its range."""

    def in_units(
        self, mean: NDArray[np.float64], scale: NDArray[np.float64]
    ) -> Reference:
        """Return the reference for rows (x - mean) / scale.

        Only one that was fitted to rows in the units of X differs.
        """
        del mean, scale
        return self

    def apart(self, low: NDArray[np.float64], high: NDArray[np.float64]) -> Reference:
        """Return the reference for rows of which some have entries far from the rest.

        Those lie beyond the bounds of their columns, which are infinite where a column
        has none. Only mixtures, which such rows would cost components, differ.
        """
        del low, high
        return self

    def in_cells(self, edges: Sequence[NDArray[np.float64] | None]) -> Reference:
        """Return the reference for rows whose values lie in cells of their columns.

        With the inner edges of a column's cells; None for a column without. Only a
        reference that gives cells their masses differs.
        """
        del edges
        return self

    def for_normalized(self) -> Reference:
        """Return a reference of full support, for a net that is a log density."""
        return self

    def coarser(self) -> Reference | None:
        """Return a coarser reference for a second try where the first gains nothing.

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
