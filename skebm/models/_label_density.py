"""p(y|x) of the rows of a table, beside the density of x."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skebm.models._class_features import class_features
from skebm.models._completions import mean_over_completions, weighted_completions
from skebm.models._fitted import FittedModel
from skebm.semi_supervised import (
    MAX_CROSS_FITTED,
    N_HELD_OUT,
    LabelRegression,
    Labels,
    PredictiveMixture,
    conformal_level,
)

#: Rows whose features show how columns are distributed.
MAX_SEEN = 10_000
#: Least labelled rows with gaps whose intervals are judged apart.
MIN_WITH_GAPS = 10
#: Parts in which these are left out.
N_GAP_FOLDS = 3
#: Complete rows that are asked about at once.
CHUNK_ROWS = 4096

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class LabelDensity:
    r"""A density of a number y beside that of standardised rows.

    .. math:: p(x, y) = p(x) \, p(y | x), \qquad
              p(y | x_O) = E_{p(x_M | x_O)}[p(y | x_O, x_M)]

    of rows that miss the entries M.

    Attributes
    ----------
    regression : LabelRegression
        p(y|x) of features: categories as indicators.
    gap_levels : ndarray of shape (n,)
        Sorted levels of the central intervals of p(y|x_O) that just contain the label
        of each labelled row with gaps; empty where few have any.
    """

    regression: LabelRegression
    gap_levels: Array = field(default_factory=lambda: np.empty(0), repr=False)

    @classmethod
    def learn(
        cls,
        fitted: FittedModel,
        z: Array,
        y: Array,
        weight: Array | None,
        rng: np.random.RandomState,
        names: Sequence[str],
    ) -> Self:
        """Learn from some labels.

        Parameters
        ----------
        fitted : FittedModel
            The density of x.
        z : ndarray of shape (n, n_columns)
            Standardised rows. Learners take missing entries at their conditional means.
        y : ndarray of shape (n,)
            Labels, NaN where there is none.
        weight : ndarray of shape (n,) or None
            Weights of the rows.
        rng : RandomState
            Source of randomness.
        names : sequence of str
            The learners.
        """
        labeled = np.flatnonzero(~np.isnan(y))
        complete = np.flatnonzero(~np.isnan(z).any(axis=1))
        shown = rng.permutation(len(z))[:MAX_SEEN]
        if len(complete) > len(z) / 2:
            shown = np.intersect1d(shown, complete)
        weight = None if weight is None else weight[labeled]
        features = _filled_features(fitted, z[labeled])
        seen = class_features(fitted.encoder, torch.from_numpy(z[shown]))
        is_complete = np.isin(labeled, complete)
        labels = Labels(features, y[labeled], weight)
        rows = seen.numpy().astype(float)
        learnt = cls(LabelRegression.fit(rows, labels, rng, names, is_complete))
        with_gaps = np.flatnonzero(~is_complete)
        if len(with_gaps) < MIN_WITH_GAPS:
            return learnt
        some = rng.permutation(with_gaps)[:N_HELD_OUT]
        levels = learnt._gap_levels(fitted, z[labeled], labels, some)
        return replace(learnt, gap_levels=levels)

    def of_rows(
        self, fitted: FittedModel, z: Array
    ) -> Iterator[tuple[Array, PredictiveMixture]]:
        """Yield indices of standardised rows with their p(y|x), some at a time."""
        is_complete = ~np.isnan(z).any(axis=1)
        complete = np.flatnonzero(is_complete)
        for start in range(0, len(complete), CHUNK_ROWS):
            rows = complete[start : start + CHUNK_ROWS]
            yield rows, self._predictive(fitted, torch.from_numpy(z[rows]))
        incomplete = np.flatnonzero(~is_complete)
        if not len(incomplete):
            return
        for part in weighted_completions(fitted, z[incomplete]):
            n_rows = CHUNK_ROWS // part.weights.shape[1]
            for start in range(0, len(part.rows), n_rows):
                some = slice(start, start + n_rows)
                of_each = self._predictive(fitted, part.z[some].flatten(0, 1).cpu())
                mixed = of_each.mixed(part.weights[some].cpu().numpy())
                yield incomplete[part.rows[some]], mixed

    def interval_levels(self, level: float, z: Array) -> Array:
        """Return the level of each row's interval that holds a share of new labels.

        Rows with gaps have their own: their labels hang on what is missing as well.
        """
        levels = np.full(len(z), self.regression.calibrated(level))
        if len(self.gap_levels):
            levels[np.isnan(z).any(axis=1)] = conformal_level(self.gap_levels, level)
        return levels

    def n_calibration(self, z: Array) -> int:
        """Return how many left-out labels the levels of rows come from, at least."""
        has_gaps = np.isnan(z).any(axis=1)
        counts = [len(self.regression.levels)] * bool((~has_gaps).any())
        if has_gaps.any():
            counts.append(len(self.gap_levels) or len(self.regression.levels))
        return min(counts)

    def _gap_levels(
        self, fitted: FittedModel, z: Array, labels: Labels, rows: Array
    ) -> Array:
        """Return the sorted levels of labelled rows with gaps, each left out once."""
        levels = []
        n_folds = 1 if len(z) > MAX_CROSS_FITTED else N_GAP_FOLDS
        for fold in range(n_folds):
            out = rows[fold::n_folds]
            rest = np.delete(np.arange(len(z)), out)
            density = type(self)(self.regression.refitted(labels.some(rest)))
            for some, found in density.of_rows(fitted, z[out]):
                levels.append(np.abs(2 * found.cdf(labels.y[out[some]]) - 1))
        return np.sort(np.concatenate(levels))

    def _predictive(self, fitted: FittedModel, z: Tensor) -> PredictiveMixture:
        features = class_features(fitted.encoder, z)
        return self.regression.predictive(features.numpy().astype(float))

    def to_arrays(self) -> dict[str, Any]:
        """Return the density as arrays, trees and linear models."""
        return self.regression.to_arrays() | {"gap_levels": self.gap_levels}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """Return the density that `to_arrays` described."""
        arrays = dict(arrays)
        gap_levels = arrays.pop("gap_levels", np.empty(0))
        return cls(LabelRegression.from_arrays(arrays), gap_levels)


def _filled_features(fitted: FittedModel, z: Array) -> Array:
    """Return the features of rows, at their conditional means where z is missing."""
    encoder = fitted.encoder
    features = class_features(encoder, torch.from_numpy(z)).numpy().astype(float)
    missing = np.isnan(z).any(axis=1)
    if missing.any():
        features[missing] = mean_over_completions(
            fitted,
            z[missing],
            lambda rows: class_features(encoder, rows.cpu()).to(rows.device),
            features.shape[1],
        )
    return features
