"""The kind of visible units that follow a reference without weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from skebm.models.boltzmann._kinds import CategoricalKind, HiddenStart, Kind
from skebm.models.boltzmann._rows import dense
from skebm.networks import RBM, SoftmaxUnits, TreeUnits
from skebm.references import ChowLiuReference
from skebm.utils import make_generator

Array = NDArray[Any]

#: Standard deviation of a hidden unit's first log odds over the rows.
SPREAD = 0.1


@dataclass(frozen=True, eq=False)
class TreeKind:
    """Binary or categorical units that follow trees fitted to rows.

    Attributes
    ----------
    inner : BinaryKind or CategoricalKind
        The kind without a reference.
    reference : ChowLiuReference
        Fits the trees, at the first question.
    v : ndarray of shape (n, n_units), or CSR matrix
        The rows.
    """

    inner: Any
    reference: ChowLiuReference
    v: Any

    can_run_away = False
    is_nested = True
    base_name = "the reference"

    @property
    def metric(self) -> type:
        """Metric of the history."""
        return self.inner.metric

    @property
    def ascent(self) -> Any:
        """Makes the steps of training."""
        return self.inner.ascent

    @property
    def n_temperatures(self) -> int:
        """Temperatures of the chains of tempering."""
        return self.inner.n_temperatures

    @cached_property
    def units(self) -> TreeUnits:
        """The units, whose trees are fitted to the rows."""
        rows, sizes = dense(self.v), None
        if isinstance(self.inner, CategoricalKind):
            sizes = [int(size) for size in self.inner.sizes]
            units = SoftmaxUnits(sizes)
            by_column = units.by_unit(torch.from_numpy(rows), -1.0)
            x = by_column.argmax(-1).masked_fill(by_column.isnan().any(-1), -1).numpy()
        else:
            x = np.where(np.isnan(rows), -1, rows).astype(np.int64)
        trees = self.reference.fit_masses(
            x, sizes or [2] * x.shape[1], weight=None, generator=make_generator(0)
        )
        return TreeUnits.of(trees, sizes)

    def start(self, v: Any) -> tuple[TreeUnits, Any]:
        """Return the visible units and the statistics of rows v."""
        return self.units, v

    def hidden_start(
        self, centered: bool, rng: np.random.RandomState, shape: tuple[int, int]
    ) -> HiddenStart:
        """Return where hidden units start: with weights that hardly tilt the trees."""
        start = self.inner.hidden_start(centered, rng, shape)
        return replace(start, spread=SPREAD)

    def watched(self, rows: Array) -> Array | None:
        """Return rows whose likelihood tells how training goes."""
        return self.inner.watched(rows)

    def base(self, v: Any) -> RBM:
        """Return the reference as an RBM without hidden units."""
        bias = torch.zeros(v.shape[1])
        return RBM(bias.new_zeros(0, len(bias)), bias.new_zeros(0), bias, self.units)

    def shrunk(self, trained: RBM, base: RBM, beta: float) -> RBM:
        """Return the RBM of a share of what was learnt."""
        return trained.tempered(beta, base.visible_bias)

    def of_rows(self, v: Any) -> Kind:
        """Return the kind whose trees are fitted to other rows."""
        return replace(self, v=v)

    def trained_units(self, units: TreeUnits, average: RBM) -> TreeUnits:
        """Return the same units: they learn nothing."""
        del average
        return units
