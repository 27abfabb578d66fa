"""Kinds of visible units: how an RBM of each begins, and how it is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from skebm.models.boltzmann._metrics import NegativeFreeEnergy, PseudoLikelihood
from skebm.networks import RBM, BernoulliUnits, GaussianUnits, SoftmaxUnits
from skebm.training import GaussianRBMAscent, RBMAscent
from skebm.utils import VARIANCE_FLOOR, column_units

Array = NDArray[Any]

#: Standard deviation over rows of the log odds of untrained hidden units.
INITIAL_SPREAD = 0.7


class Kind(Protocol):
    """A kind of visible units.

    Attributes
    ----------
    metric : type
        Metric of the history.
    ascent : type
        Makes the steps of training.
    initial_spread : float
        Standard deviation over rows of the log odds of untrained hidden units.
    """

    metric: type
    initial_spread: float

    @property
    def ascent(self) -> type[RBMAscent]: ...

    def start(self, v: Any) -> tuple[Any, Any]:
        """Return untrained visible units and the statistics of rows v."""

    def trained_units(self, units: Any, average: RBM) -> Any:
        """Return the visible units of a trained RBM."""


@dataclass(frozen=True)
class BinaryKind:
    """Units of 0 and 1; rows may be a CSR matrix."""

    metric = PseudoLikelihood
    ascent = RBMAscent
    initial_spread = INITIAL_SPREAD

    def start(self, v: Any) -> tuple[BernoulliUnits, Any]:
        """Return the visible units and the statistics of rows v."""
        return BernoulliUnits(), v

    def trained_units(self, units: BernoulliUnits, average: RBM) -> BernoulliUnits:
        """Return the same units: they learn nothing."""
        return units


@dataclass(frozen=True)
class CategoricalKind:
    """Units of several categories, one-hot; rows may be a CSR matrix.

    Attributes
    ----------
    sizes : sequence of int
        Number of categories of each unit.
    """

    sizes: Sequence[int]

    metric = NegativeFreeEnergy
    ascent = RBMAscent
    initial_spread = INITIAL_SPREAD

    def start(self, v: Any) -> tuple[SoftmaxUnits, Any]:
        """Return the visible units and the statistics of rows v."""
        return SoftmaxUnits(self.sizes), v

    def trained_units(self, units: SoftmaxUnits, average: RBM) -> SoftmaxUnits:
        """Return the same units: they learn nothing."""
        return units


@dataclass(frozen=True)
class RealKind:
    """Gaussian units of real columns, which are standardised.

    Attributes
    ----------
    whiten : bool
        Whether the units are along the principal axes of the columns.
    learns_scales : bool
        Whether training changes the scales of the units.
    """

    whiten: bool
    learns_scales: bool

    metric = NegativeFreeEnergy
    #: A Gaussian of the rows' covariance has no gradient towards hidden units.
    initial_spread = 2.0

    @property
    def ascent(self) -> type[RBMAscent]:
        """Makes the steps of training."""
        return GaussianRBMAscent if self.learns_scales else RBMAscent

    def start(self, v: Array) -> tuple[GaussianUnits, Array]:
        """Return units along the axes of rows v, and the statistics of the rows."""
        floor = VARIANCE_FLOOR * column_units(_without_missing(v)) ** 2
        covariance = pd.DataFrame(v).cov(ddof=0).fillna(0.0).to_numpy(np.float64)
        covariance = covariance + np.diag(floor)
        if self.whiten:
            variance, axes = np.linalg.eigh(covariance)
            floor = floor @ axes**2
        else:
            variance, axes = np.diag(covariance), None
        # A covariance of pairwise complete rows need not be positive.
        scale = np.sqrt(np.maximum(variance, floor))
        units = GaussianUnits(
            torch.from_numpy(scale),
            None if axes is None else torch.from_numpy(axes),
            torch.from_numpy(np.sqrt(floor)),
        )
        rows = torch.from_numpy(np.nan_to_num(v, nan=0.0))
        return units, units.to(rows.dtype).statistic(rows).numpy()

    def trained_units(self, units: GaussianUnits, average: RBM) -> GaussianUnits:
        """Return the units with the scales of a trained RBM, in float64."""
        trained = cast(GaussianUnits, average.visible)
        return replace(units, scale=trained.scale.cpu().double())


def _without_missing(v: Array) -> Array:
    """Return rows whose missing entries are other values of their column."""
    if not np.isnan(v.min()):
        return v.astype(np.float64)
    columns = [np.resize(column[~np.isnan(column)], len(v)) for column in v.T]
    return np.column_stack(columns).astype(np.float64)
