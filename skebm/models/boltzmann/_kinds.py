"""Kinds of visible units: how an RBM of each begins, and how it is trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from skebm.models.boltzmann._metrics import NegativeFreeEnergy, PseudoLikelihood
from skebm.models.boltzmann._rows import column_means
from skebm.networks import RBM, BernoulliUnits, GaussianUnits, SoftmaxUnits
from skebm.training import GaussianRBMAscent, RBMAscent
from skebm.utils import VARIANCE_FLOOR, column_units

Array = NDArray[Any]

#: Share of the rows' variance along an axis that untrained hidden units explain: with
#: less, weights of small tables never leave the Gaussian.
HIDDEN_SHARE = 0.9
#: The same beside a Gaussian that was not improved upon; less where the scales of the
#: visible units do not make room for it.
LEFT_SHARE, LEFT_SHARE_FIXED = 0.1, 0.01


@dataclass(frozen=True, eq=False)
class HiddenStart:
    """Where the log odds of hidden units start, over rows of the data.

    Attributes
    ----------
    spread : float
        Their standard deviation.
    level : float
        Their mean. Below 0 the units are rarely on, and learn sparse features.
    weight : ndarray of shape (n_hidden, n_statistics) or None
        The weights; None draws them by the spread.
    """

    spread: float = 0.7
    level: float = 0.0
    weight: Array | None = None

    @property
    def mean(self) -> float:
        """The mean of the units, by the usual approximation of normal log odds."""
        shrunk = self.level / math.sqrt(1 + math.pi * self.spread**2 / 8)
        return 1 / (1 + math.exp(-shrunk))


class Kind(Protocol):
    """A kind of visible units.

    Attributes
    ----------
    metric : type
        Metric of the history.
    ascent : type
        Makes the steps of training.
    n_temperatures : int
        Temperatures of the chains of tempering.
    can_run_away : bool
        Whether the density may get modes far from all rows.
    is_nested : bool
        Whether RBMs on the way from one without weights to a trained one lie between
        the two in likelihood, too.
    base_name : str
        What the RBM without hidden units is, in messages.
    """

    can_run_away: bool
    is_nested: bool
    base_name: str

    @property
    def metric(self) -> type: ...

    @property
    def n_temperatures(self) -> int: ...

    @property
    def ascent(self) -> type[RBMAscent]: ...

    def start(self, v: Any) -> tuple[Any, Any]:
        """Return untrained visible units and the statistics of rows v."""

    def hidden_start(
        self, centered: bool, rng: np.random.RandomState, shape: tuple[int, int]
    ) -> HiddenStart:
        """Return where hidden units start whose gradient is centred or not.

        ``shape`` is that of the weights, (n_hidden, n_statistics).
        """

    def watched(self, rows: Array) -> Array | None:
        """Return complete rows as draws whose likelihood tells how training goes.

        None where it is not watched.
        """

    def base(self, v: Any) -> RBM:
        """Return the RBM without hidden units that training has to beat on rows v."""

    def shrunk(self, trained: RBM, base: RBM, beta: float) -> RBM:
        """Return an RBM of a trained one's shape, at beta = 0 as good as the base."""

    def trained_units(self, units: Any, average: RBM) -> Any:
        """Return the visible units of a trained RBM."""

    def of_rows(self, v: Any) -> Kind:
        """Return the kind of an RBM of other rows of the table."""


@dataclass(frozen=True)
class BinaryKind:
    """Units of 0 and 1; rows may be a CSR matrix."""

    metric = PseudoLikelihood
    ascent = RBMAscent
    n_temperatures = 10
    can_run_away = False
    is_nested = True
    base_name = "independent columns"

    def start(self, v: Any) -> tuple[BernoulliUnits, Any]:
        """Return the visible units and the statistics of rows v."""
        return BernoulliUnits(), v

    def hidden_start(
        self, centered: bool, rng: np.random.RandomState, shape: tuple[int, int]
    ) -> HiddenStart:
        """Return where hidden units start: rarely on where the gradient is centred."""
        # A gradient that is not centred makes them rare by itself.
        return HiddenStart(spread=1.0, level=-1.0) if centered else HiddenStart()

    def watched(self, rows: Array) -> Array | None:
        """Return rows drawn from the grey values of rows; None beyond [0, 1]."""
        if rows.min(initial=0) < 0 or rows.max(initial=1) > 1:
            return None
        noise = np.random.RandomState(0).uniform(size=rows.shape)
        return (noise < rows).astype(np.float32)

    def base(self, v: Any) -> RBM:
        """Return independent columns with the means of rows v."""
        return _without_hidden(self.start(v)[0], v)

    def shrunk(self, trained: RBM, base: RBM, beta: float) -> RBM:
        """Return the RBM of a share of what was learnt."""
        return trained.tempered(beta, base.visible_bias)

    def of_rows(self, v: Any) -> BinaryKind:
        """Return the same kind."""
        return self

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
    n_temperatures = 10
    can_run_away = False
    is_nested = True
    base_name = "independent columns"

    def start(self, v: Any) -> tuple[SoftmaxUnits, Any]:
        """Return the visible units and the statistics of rows v."""
        return SoftmaxUnits(self.sizes), v

    def hidden_start(
        self, centered: bool, rng: np.random.RandomState, shape: tuple[int, int]
    ) -> HiddenStart:
        """Return where hidden units start."""
        return HiddenStart()

    def watched(self, rows: Array) -> Array:
        """Return the rows."""
        return rows

    def base(self, v: Any) -> RBM:
        """Return independent columns with the means of rows v."""
        return _without_hidden(self.start(v)[0], v)

    def shrunk(self, trained: RBM, base: RBM, beta: float) -> RBM:
        """Return the RBM of a share of what was learnt."""
        return trained.tempered(beta, base.visible_bias)

    def of_rows(self, v: Any) -> CategoricalKind:
        """Return the same kind."""
        return self

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
    n_temperatures = 5
    can_run_away = True
    is_nested = False
    base_name = "one Gaussian"

    @property
    def ascent(self) -> type[RBMAscent]:
        """Makes the steps of training."""
        return GaussianRBMAscent if self.learns_scales else RBMAscent

    def start(self, v: Array) -> tuple[GaussianUnits, Array]:
        """Return units along the axes of rows v, and the statistics of the rows.

        Scales that are learnt leave `HIDDEN_SHARE` of the variance to hidden units.
        """
        return self._units(v, self._own_share(v.shape[1]) if self.learns_scales else 1)

    def _units(self, v: Array, share: float) -> tuple[GaussianUnits, Array]:
        """Return units with a share of the rows' variance, and the rows' statistics."""
        floor = VARIANCE_FLOOR * column_units(_without_missing(v)) ** 2
        covariance = pd.DataFrame(v).cov(ddof=0).fillna(0.0).to_numpy(np.float64)
        covariance = covariance + np.diag(floor)
        if self.whiten:
            variance, axes = np.linalg.eigh(covariance)
            floor = floor @ axes**2
        else:
            variance, axes = np.diag(covariance), None
        # A covariance of pairwise complete rows need not be positive.
        scale = np.sqrt(np.maximum(share * variance, floor))
        units = GaussianUnits(
            torch.from_numpy(scale),
            None if axes is None else torch.from_numpy(axes),
            torch.from_numpy(np.sqrt(floor)),
        )
        mean = column_means(v)[0].astype(v.dtype)
        rows = torch.from_numpy(np.where(np.isnan(v), mean, v))
        return units, units.to(rows.dtype).statistic(rows).numpy()

    def hidden_start(
        self, centered: bool, rng: np.random.RandomState, shape: tuple[int, int]
    ) -> HiddenStart:
        """Return where hidden units start: apart from each other."""
        weight = self._orthogonal(rng, shape) if self.learns_scales else None
        # A Gaussian of the rows' covariance has no gradient towards hidden units.
        return HiddenStart(spread=2.0, weight=weight)

    def _orthogonal(self, rng: np.random.RandomState, shape: tuple[int, int]) -> Array:
        r"""Return orthogonal weights by which the rows' variance is about the data's.

        With weights of norm :math:`2 \sqrt{\kappa}` the precision along their
        directions is 1 - kappa, in the units' own variances.
        """
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

    def watched(self, rows: Array) -> Array:
        """Return the rows."""
        return rows

    def base(self, v: Array) -> RBM:
        """Return the Gaussian of rows v."""
        return _without_hidden(self._units(v, 1.0)[0], v)

    def shrunk(self, trained: RBM, base: RBM, beta: float) -> RBM:
        r"""Return an RBM next to the base, whose hidden units still are features.

        Units along an axis, of squared weights that sum to :math:`4 \kappa`, make it a
        sum of a Gaussian and of coins; it is a Gaussian but for terms in
        :math:`\kappa^4`, here less than 1e-5 nats an axis.
        """
        n_hidden, n_axes = trained.weight.shape
        kappa = LEFT_SHARE if self.learns_scales else LEFT_SHARE_FIXED
        axis = torch.arange(n_hidden) % n_axes
        alike = torch.bincount(axis, minlength=n_axes).clamp(min=1)
        used = (torch.arange(n_axes) < n_hidden).double()
        weight = torch.zeros(n_hidden, n_axes, dtype=torch.float64)
        weight[range(n_hidden), axis] = 2 * (kappa / alike[axis].double()).sqrt()
        units = cast(GaussianUnits, base.visible.to(torch.float64))
        mean = base.visible_bias.cpu().double()
        if self.learns_scales:
            rise = 1 + used * (kappa + kappa**2 * (1 - 1 / alike))
            units = replace(units, scale=units.scale / rise.sqrt())
            mean = mean * rise.sqrt()
        rbm = RBM(weight, -weight @ mean, mean - weight.sum(0) / 2, units)
        return rbm.to(trained.weight.dtype).to(trained.weight.device)

    def of_rows(self, v: Any) -> RealKind:
        """Return the same kind."""
        return self

    def trained_units(self, units: GaussianUnits, average: RBM) -> GaussianUnits:
        """Return the units with the scales of a trained RBM, in float64."""
        trained = cast(GaussianUnits, average.visible)
        return replace(units, scale=trained.scale.cpu().double())


def _without_hidden(units: Any, v: Any) -> RBM:
    """Return an RBM without hidden units, with the means of rows v."""
    mean, n_rows = column_means(v)
    bias = units.bias(torch.from_numpy(mean), torch.from_numpy(n_rows)).float()
    return RBM(bias.new_zeros(0, len(bias)), bias.new_zeros(0), bias, units)


def _without_missing(v: Array) -> Array:
    """Return rows whose missing entries are other values of their column."""
    if not np.isnan(v.min()):
        return v.astype(np.float64)
    columns = [np.resize(column[~np.isnan(column)], len(v)) for column in v.T]
    return np.column_stack(columns).astype(np.float64)
