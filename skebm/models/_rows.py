"""The rows of a table as training takes them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skebm.models._calibration import CalibrationRows
from skebm.models._splits import MAX_HELD_OUT, Split
from skebm.objectives import RowCells
from skebm.references import hot_deck
from skebm.tables import TableEncoder
from skebm.training import RowGraph
from skebm.utils import dequantization_scale, draw_seed, make_generator

#: Labelled rows all stay up to this part of the rows that are drawn from a large table.
FEW_LABELS = 10


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """Standardised rows, and what a step of training draws with them.

    Attributes
    ----------
    z : Tensor of shape (n, n_features)
        On the CPU, NaN where missing.
    y : ndarray of int of shape (n,) or None
        Class indices, -1 where unlabelled.
    weight : Tensor of shape (n,) or None
        Of mean one.
    train, held_out : Tensor of int64; held_out may be None
        Indices of the rows trained on, and of those held out.
    cells : RowCells or None
        The quantization cells of the columns.
    tie_scale : ndarray of shape (n_features,)
        Width of the noise that spreads tied values.
    n_labeled : int
        Labelled rows drawn beside each batch.
    graph : RowGraph or None
        Neighbours and soft labels of the rows.
    taught : Tensor of shape (n, n_classes) or None
        Class probabilities that supervised members learn; 0 where a row has none.
    trimmed : Tensor of shape (k, n_features) or None
        Standardised rows that were left out as outliers.
    """

    z: Tensor
    y: NDArray[np.int64] | None
    weight: Tensor | None
    train: Tensor
    held_out: Tensor | None
    cells: RowCells | None
    tie_scale: NDArray[np.float64]
    n_labeled: int = 0
    graph: RowGraph | None = None
    taught: Tensor | None = None
    trimmed: Tensor | None = None

    @classmethod
    def of(
        cls,
        encoder: TableEncoder,
        X: NDArray[Any],
        rng: np.random.RandomState,
        *,
        split: Split,
        y: NDArray[np.int64] | None = None,
        sample_weight: NDArray[np.float64] | None = None,
        tie_scale: NDArray[np.float64] | None = None,
        trimmed: NDArray[Any] | None = None,
    ) -> Self:
        """Encode the rows of X and split them.

        Parameters
        ----------
        encoder : TableEncoder
            Of the table.
        X : ndarray of shape (n, n_features)
            Numbers and category indices.
        rng : RandomState
            Source of randomness.
        split : callable
            Takes a number of rows and a random state to the rows trained on and held
            out.
        y, sample_weight : ndarray of shape (n,) or None
            Class indices and weights.
        tie_scale : ndarray of shape (n_features,) or None
            That of earlier rows; None learns it from the rows trained on.
        trimmed : ndarray of shape (k, n_features) or None
            Rows that were left out as outliers, and calibrate only.
        """
        z = torch.from_numpy(encoder.encode(X))
        if encoder.cells is not None:
            z = encoder.cells.redraw(z, make_generator(draw_seed(rng)))
        train, held_out = split(len(z), rng)
        tie_scale = _tie_scale(z, train, rng, tie_scale)
        weight = None
        if sample_weight is not None:
            unit = sample_weight / sample_weight.mean()
            weight = torch.as_tensor(unit, dtype=torch.float32)
        rows = cls(z, y, weight, train, held_out, encoder.cells, tie_scale)
        if trimmed is None or not len(trimmed):
            return rows
        others = torch.from_numpy(encoder.encode(trimmed))
        if encoder.cells is not None:
            others = encoder.cells.redraw(others, make_generator(draw_seed(rng)))
        return replace(rows, trimmed=others)

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return self.z.shape[1]

    @property
    def noise_scale(self) -> Tensor | None:
        """Width of the noise that spreads tied values; None where none are."""
        scale = torch.from_numpy(self.tie_scale).float()
        return scale if scale.any() else None

    def beside(
        self, n_labeled: int, graph: RowGraph | None, taught: Tensor | None
    ) -> Self:
        """Return the rows with labelled rows, a graph and lessons in each batch."""
        return replace(self, n_labeled=n_labeled, graph=graph, taught=taught)

    def visiting(self, most: int, rng: np.random.RandomState) -> Self:
        """Return the rows of which at most so many are trained on, drawn at random.

        Rows with a label and without are drawn apart, so that few labels all stay.
        Nothing is drawn where there are no more rows.
        """
        if len(self.train) <= most:
            return self
        order = self.train[torch.from_numpy(rng.permutation(len(self.train)))]
        assert self.y is not None
        is_labeled = torch.from_numpy(self.y >= 0)[order]
        labeled, others = order[is_labeled], order[~is_labeled]
        n_labeled = round(most * len(labeled) / len(order))
        n_labeled = max(n_labeled, min(len(labeled), most // FEW_LABELS))
        chosen = torch.cat([labeled[:n_labeled], others[: most - n_labeled]])
        return replace(self, train=chosen.sort().values)

    def kept(
        self, rng: np.random.RandomState, trains_reference: bool
    ) -> CalibrationRows:
        """Return a sample of the rows, for calibration."""
        train = self._some(self.train, rng)
        held_out = None if self.held_out is None else self._some(self.held_out, rng)
        kept = CalibrationRows(
            self.z[train].numpy(),
            None if held_out is None else self.z[held_out].numpy(),
            trains_reference,
            train.numpy(),
        )
        if self.trimmed is None:
            return kept
        share = (len(train) + (0 if held_out is None else len(held_out))) / len(self.z)
        order = torch.from_numpy(rng.permutation(len(self.trimmed)))
        some = order[: round(share * len(order))]
        return replace(kept, trimmed=self.trimmed[some].numpy())

    def _some(self, rows: Tensor, rng: np.random.RandomState) -> Tensor:
        return rows[torch.from_numpy(rng.permutation(len(rows)))[:MAX_HELD_OUT]]


def _tie_scale(
    z: Tensor,
    train: Tensor,
    rng: np.random.RandomState,
    known: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """Return the width of the noise that spreads tied values, by some rows."""
    if z.isnan().any():
        seed = draw_seed(rng)
        if known is None:
            z = hot_deck(z, make_generator(seed))
    if known is not None:
        return known
    rows = train[rng.permutation(len(train))[:MAX_HELD_OUT]]
    return dequantization_scale(z[rows].double().numpy())
