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
#: Share of the rows' variance along an axis that untrained hidden units explain: with
#: less, weights of small tables never leave the Gaussian.
HIDDEN_SHARE = 0.9


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
    n_temperatures : int
        Temperatures of the chains of tempering.
    can_run_away : bool
        Whether the density may get modes far from all rows.
    """

    metric: type
    initial_spread: float
    n_temperatures: int
    can_run_away: bool

    @property
    def ascent(self) -> type[RBMAscent]: ...

    def start(self, v: Any) -> tuple[Any, Any]:
        """Return untrained visible units and the statistics of rows v."""

    def initial_weight(self, rng: np.random.RandomState, shape: Any) -> Array | None:
        """Return untrained weights; None draws them by `initial_spread`."""

    def trained_units(self, units: Any, average: RBM) -> Any:
        """Return the visible units of a trained RBM."""


@dataclass(frozen=True)
class BinaryKind:
    """Units of 0 and 1; rows may be a CSR matrix."""

    metric = PseudoLikelihood
    ascent = RBMAscent
    initial_spread = INITIAL_SPREAD
    n_temperatures = 10
    can_run_away = False

    def start(self, v: Any) -> tuple[BernoulliUnits, Any]:
        """Return the visible units and the statistics of rows v."""
        return BernoulliUnits(), v

    def initial_weight(self, rng: np.random.RandomState, shape: Any) -> None:
        """Leave the weights to `initial_spread`."""

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
    n_temperatures = 10
    can_run_away = False

    def start(self, v: Any) -> tuple[SoftmaxUnits, Any]:
        """Return the visible units and the statistics of rows v."""
        return SoftmaxUnits(self.sizes), v

    def initial_weight(self, rng: np.random.RandomState, shape: Any) -> None:
        """Leave the weights to `initial_spread`."""

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
    n_hidden : int
        Number of hidden units.
    """

    whiten: bool
    learns_scales: bool
    n_hidden: int

    metric = NegativeFreeEnergy
    #: A Gaussian of the rows' covariance has no gradient towards hidden units.
    initial_spread = 2.0
    n_temperatures = 5
    can_run_away = True

    @property
    def ascent(self) -> type[RBMAscent]:
        """Makes the steps of training."""
        return GaussianRBMAscent if self.learns_scales else RBMAscent

    def start(self, v: Array) -> tuple[GaussianUnits, Array]:
        """Return units along the axes of rows v, and the statistics of the rows.

        Scales that are learnt leave `HIDDEN_SHARE` of the variance to hidden units.
        """
        floor = VARIANCE_FLOOR * column_units(_without_missing(v)) ** 2
        covariance = pd.DataFrame(v).cov(ddof=0).fillna(0.0).to_numpy(np.float64)
        covariance = covariance + np.diag(floor)
        if self.whiten:
            variance, axes = np.linalg.eigh(covariance)
            floor = floor @ axes**2
        else:
            variance, axes = np.diag(covariance), None
        if self.learns_scales:
            variance = variance * self._own_share(len(variance))
        # A covariance of pairwise complete rows need not be positive.
        scale = np.sqrt(np.maximum(variance, floor))
        units = GaussianUnits(
            torch.from_numpy(scale),
            None if axes is None else torch.from_numpy(axes),
            torch.from_numpy(np.sqrt(floor)),
        )
        rows = torch.from_numpy(np.nan_to_num(v, nan=0.0))
        return units, units.to(rows.dtype).statistic(rows).numpy()

    def initial_weight(self, rng: np.random.RandomState, shape: Any) -> Array | None:
        r"""Return orthogonal weights by which the rows' variance is about the data's.

        With weights of norm :math:`2 \sqrt{\kappa}` the precision along their
        directions is 1 - kappa, in the units' own variances.
        """
        if not self.learns_scales:
            return None
        n_hidden, n_axes = shape
        basis = np.linalg.qr(rng.normal(size=(max(shape), min(shape))))[0]
        own = self._own_share(n_axes)
        rank = min(shape)
        kappa = 1 - rank * own / (n_axes - own * (n_axes - rank))
        weight = 2 * np.sqrt(kappa) * basis
        return weight if n_hidden >= n_axes else weight.T

    def _own_share(self, n_axes: int) -> float:
        """Return the share of the variance that untrained visible units have."""
        return 1 - HIDDEN_SHARE * min(self.n_hidden, n_axes) / n_axes

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
