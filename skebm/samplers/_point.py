"""Energies and their gradients at batches of points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from skebm.utils import value_and_gradient

#: Rows (n, d) to energies (n,). With a method ``with_gradient(x)``, which returns the
#: energies and their gradients (n, d) without a graph, chains need no autograd.
Energy = Callable[[Tensor], Tensor]

_CHUNK_ELEMENTS, _CHUNK_ROWS = 2**16, 2**13


@dataclass(frozen=True)
class Point:
    """Positions of n chains, with the energies and gradients at these.

    Attributes
    ----------
    x : Tensor of shape (n, d)
    energy : Tensor of shape (n,)
        In nats; +inf where x is impossible, NaN where the energy is NaN or -inf.
    gradient : Tensor of shape (n, d)
        0 wherever it is not finite.
    """

    x: Tensor
    energy: Tensor
    gradient: Tensor

    def scaled(self, factor: float) -> Point:
        """Return the point for `factor` times the energy."""
        return Point(self.x, factor * self.energy, factor * self.gradient)

    def where(self, condition: Tensor, other: Point) -> Point:
        """Return rows of `self` where `condition` (n,) holds, else of `other`."""
        rows = condition[:, None]
        return Point(
            torch.where(rows, self.x, other.x),
            torch.where(condition, self.energy, other.energy),
            torch.where(rows, self.gradient, other.gradient),
        )


def chunk_rows(n_features: int) -> int:
    """Return the rows per chunk that bound the memory, for tables and images."""
    return min(_CHUNK_ROWS, max(1, _CHUNK_ELEMENTS // max(1, n_features)))


def checked(values: Tensor, n: int) -> Tensor:
    """Return the energies of n points; raise ValueError unless their shape is (n,)."""
    if values.shape != (n,):
        raise ValueError(f"energy must return shape ({n},), got {tuple(values.shape)}.")
    return values


def evaluate(energy: Energy, x: Tensor) -> Point:
    """Return energy and gradient at `x`, without gradients of parameters."""
    parts = [_evaluate_chunk(energy, rows) for rows in x.split(chunk_rows(x.shape[1]))]
    if len(parts) == 1:
        return Point(x, *parts[0])
    energies, gradients = zip(*parts, strict=True)
    return Point(x, torch.cat(energies), torch.cat(gradients))


def _evaluate_chunk(energy: Energy, x: Tensor) -> tuple[Tensor, Tensor]:
    with_gradient = getattr(energy, "with_gradient", None)
    if with_gradient is not None:
        values, gradient = with_gradient(x.detach())
    else:
        values, gradient = value_and_gradient(
            lambda rows: checked(energy(rows), len(rows)), x
        )
    values = values.to(x.dtype)
    return (
        torch.where(values == -torch.inf, torch.nan, values),
        gradient.nan_to_num(0.0, 0.0, 0.0),
    )
