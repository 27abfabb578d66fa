"""Capabilities of nets, beyond the map of rows to outputs.

A net is any ``nn.Module`` from (n, n_features) to (n, n_outputs). The nets of the
package declare further capabilities by class attributes. A user's net may lack
them: the functions below, alone in the package, read them with a default.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

from numpy.typing import NDArray
from torch import Tensor, nn

from skebm.references import Density
from skebm.references._base import Line, keeps_up

#: From slopes of a function in the outputs to its slopes in the inputs.
Pull = Callable[[Tensor], Tensor]


class EnsembleNetwork(Protocol):
    """Several classifiers and a critic in one net; ``is_ensemble`` is True."""

    is_ensemble: bool
    n_members: int

    def members(self, x: Tensor, which: slice) -> Tensor:
        """Return the class logits of those members, shape (n_members, n, n_outputs)."""

    def split(self, counts: Sequence[int]) -> list[Callable[[Tensor], Tensor]]:
        """Return the members in groups, each a function of rows (m, n, n_features)."""

    def critic(self, x: Tensor) -> Tensor:
        """Return the critic, the logsumexp of the net's outputs, shape (n,)."""

    def weigh(self, weights: Sequence[float]) -> None:
        """Set the weights of the members, positive and of sum one."""


class BoostedNetwork(Protocol):
    """A net that grows by derivatives of a loss; ``is_boosted`` is True."""

    is_boosted: bool
    #: How often it grows before rows and noise are drawn anew.
    n_trees_per_epoch: int
    #: By number of a category column, the points between its categories.
    given_borders: dict[int, NDArray[Any]]

    def histogram(self, x: NDArray[Any]) -> Any:
        """Return rows (n, n_features) as `grow` takes them."""

    def grow(
        self,
        rows: Any,
        slope: NDArray[Any],
        curvature: NDArray[Any],
        learning_rate: float,
    ) -> NDArray[Any]:
        """Descend a loss with these derivatives in the outputs; return their growth."""


class SummedNetwork(Protocol):
    """A sum of nets of one output, the coarsest first; ``is_sum`` is True."""

    def terms(self) -> list[Callable[[Tensor], Tensor]]:
        """Return functions of rows whose sum the net is, each (n, 1)."""


class RowsAsImages(Protocol):
    """A net that sees rows as images; ``takes_images`` is True."""

    location: Tensor
    scale: Tensor

    def set_units(self, location: Tensor, scale: Tensor) -> None:
        """Set the location and scale by which each pixel was standardised."""


class FeatureNetwork(Protocol):
    """A net above features of the columns; ``has_features`` is True."""

    inner: nn.Module

    def features(self, x: Tensor) -> Tensor:
        """Return the features, which `inner` takes, of the rows of these points."""


def is_normalized(network: object) -> bool:
    """Tell whether a net, or a class of nets, declares itself a log density."""
    return bool(getattr(network, "is_normalized", False))


def is_ensemble(network: object) -> bool:
    """Tell whether a net, or a class of nets, declares itself an `EnsembleNetwork`."""
    return bool(getattr(network, "is_ensemble", False))


def is_boosted(network: object) -> bool:
    """Tell whether a net, or a class of nets, is grown from derivatives of a loss."""
    return bool(getattr(network, "is_boosted", False))


def as_boosted(network: nn.Module) -> BoostedNetwork | None:
    """Return the net where it grows by derivatives of a loss, else None."""
    return cast(BoostedNetwork, network) if is_boosted(network) else None


def as_ensemble(network: nn.Module) -> EnsembleNetwork | None:
    """Return the net where it is an ensemble, else None."""
    return cast(EnsembleNetwork, network) if is_ensemble(network) else None


def as_feature_network(network: nn.Module) -> FeatureNetwork | None:
    """Return the net where it is above features of the columns, else None."""
    if not getattr(network, "has_features", False):
        return None
    return cast(FeatureNetwork, network)


def terms_of(network: nn.Module) -> list[Callable[[Tensor], Tensor]]:
    """Return functions of rows whose sum a net is: the net itself, if it is no sum."""
    if not getattr(network, "is_sum", False):
        return [network]
    return cast(SummedNetwork, network).terms()


def takes_images(network: object) -> bool:
    """Tell whether a net, or a class of nets, sees rows as images."""
    return bool(getattr(network, "takes_images", False))


def as_image_network(network: nn.Module) -> RowsAsImages | None:
    """Return the net where it sees rows as images, else None."""
    return cast(RowsAsImages, network) if takes_images(network) else None


def n_members_of(network: nn.Module) -> int:
    """Return the number of classifiers in a net: 1 unless it is an ensemble."""
    ensemble = as_ensemble(network)
    return 1 if ensemble is None else ensemble.n_members


def has_elementwise_layers(network: object) -> bool:
    """Tell whether each nonlinear layer below the last applies one function of torch.

    Only then is all else between the rows and the last layer linear in the rows.
    """
    return bool(getattr(network, "has_elementwise_layers", False))


def critic_along(network: nn.Module, z: Tensor, j: int) -> Line | None:
    """Return the logsumexp of a net's outputs as a function of column j of rows.

    None where the net has no ``along(z, j)``, which returns what takes values of the
    column (n, n_points) to the outputs (n, n_points, n_outputs).
    """
    along = getattr(network, "along", None)
    if along is None or not keeps_up(type(network), "along", "forward"):
        return None
    outputs = along(z, j)

    def output(points: Tensor) -> Tensor:
        values = outputs(points)
        return values[..., 0] if values.shape[2] == 1 else values.logsumexp(dim=2)

    return output


def own_pullback(network: nn.Module) -> Callable[[Tensor], tuple[Tensor, Pull]] | None:
    """Return the net's method ``pullback``, or None where it has none of its own.

    It takes rows (n, n_features) to the outputs and to a function that takes slopes of
    these to slopes of the rows.
    """
    own = getattr(network, "pullback", None)
    if own is None or not keeps_up(type(network), "pullback", "forward"):
        return None
    return cast(Callable[[Tensor], tuple[Tensor, Pull]], own)


def closed_form_of(network: object) -> Density | None:
    """Return the density of a normalised net with closed conditionals, or None."""
    if not is_normalized(network):
        return None
    closed_form = getattr(network, "closed_form", None)
    return None if closed_form is None else closed_form()
