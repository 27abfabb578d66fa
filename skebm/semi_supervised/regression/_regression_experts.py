"""p(y|x) of few labels: densities about simple learners, stacked by held-out labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from skebm.semi_supervised.learners._views import Views
from skebm.semi_supervised.regression._gaussian_process import GaussianProcess
from skebm.semi_supervised.regression._label_learners import (
    LEARNERS,
    Labels,
    ask_learner,
    assign_folds,
    cross_fit,
    fit_learner,
    record_numbers,
)
from skebm.semi_supervised.regression._predictive import PredictiveMixture, log_student

Array = NDArray[np.float64]

#: Power of the likelihood of held-out labels that multiplies the prior weights, and
#: worth of these weights in labels: those of the classifier's stacking.
EVIDENCE_POWER, PRIOR_STRENGTH = 0.3, 50.0
#: Degrees of freedom to choose from.
DEGREES = (4.0, 8.0, 30.0)
#: Digits that are kept of labels in standard deviations.
LABEL_DIGITS = 9
#: Least scale of a density, in standard deviations of the labels.
MIN_SCALE = 1e-3


def fit_residuals(residuals: Array, weight: Array) -> tuple[float, float]:
    """Return scale and degrees of freedom of Student's t, of the highest likelihood."""
    weight, best = weight / weight.mean(), (-np.inf, 1.0, 30.0)
    for degrees in DEGREES:
        square = np.average(residuals**2, weights=weight)
        for _ in range(50):
            shares = (degrees + 1) / (
                degrees + residuals**2 / max(square, MIN_SCALE**2)
            )
            square = np.average(shares * residuals**2, weights=weight)
        scale = np.sqrt(max(square, MIN_SCALE**2))
        score = weight @ log_student(residuals / scale, degrees) - len(weight) * np.log(
            scale
        )
        best = max(best, (float(score), float(scale), degrees))
    # As wide as a new label needs, whose scale few residuals tell.
    n = len(residuals)
    return best[1] * np.sqrt((n + 1) / max(n - 1, 1)), best[2]


def log_normal(residuals: Array, weight: Array) -> Array:
    """Return log densities of residuals (n_learners, n), normal in each learner."""
    square = residuals**2 @ weight / weight.sum()
    square = np.maximum(square, MIN_SCALE**2)[:, None]
    return -0.5 * (residuals**2 / square + np.log(square))


def stack(log_likelihood: Array, weight: Array) -> Array:
    r"""Return the weights of learners in the mixture of their densities.

    .. math:: \max_w \sum_i v_i \log \sum_k w_k p_k(y_i | x_i)
              + a \sum_k \pi'_k \log w_k, \qquad
              \pi'_k \propto \prod_i p_k(y_i | x_i)^{v_i b}

    with a = 50 and b = 0.3, as classes are stacked by `JEMClassifier`.

    Parameters
    ----------
    log_likelihood : ndarray of shape (n_learners, n)
        log p of held-out labels.
    weight : ndarray of shape (n,)
        v, of mean one.
    """
    total = log_likelihood @ weight
    prior = np.exp(EVIDENCE_POWER * (total - total.max()))
    prior /= prior.sum()
    likelihood = np.exp(log_likelihood - log_likelihood.max(axis=0))
    weights = np.full(len(total), 1 / len(total))
    for _ in range(1000):
        joint = weights[:, None] * likelihood
        before, weights = weights, joint / joint.sum(axis=0) @ weight
        weights = weights + PRIOR_STRENGTH * prior
        weights /= weights.sum()
        if np.abs(weights - before).max() < 1e-9:
            break
    return weights


@dataclass(frozen=True, eq=False)
class LabelRegression:
    r"""A fitted p(y|x): a mixture of densities about the predictions of learners.

    .. math:: p(y | x) = \sum_k w_k \, t_{\nu_k}\!\left(
              \frac{y - m_k(x)}{s_k h_k(x)} \right) \frac{1}{s_k h_k(x)}

    m are the learners of all labels, h the deviations of Gaussian processes and 1 of
    other learners. s, nu and w are fitted to labels that were held out.

    Attributes
    ----------
    views : Views
        Features.
    learners : dict of str to object
        Fitted learners by name.
    weights, scales, degrees : ndarray of shape (n_learners,)
        w, s and nu.
    location, scale : float
        Mean and standard deviation of the labels: learners see (y - location) / scale.
    levels : ndarray of shape (n_held_out,)
        Sorted levels of the central intervals that just contain each held-out label;
        one of labels that repeat.
    seed : int, default=0
        Of the trees.
    """

    views: Views
    learners: dict[str, Any]
    weights: Array
    scales: Array
    degrees: Array
    location: float
    scale: float
    levels: Array = field(repr=False)
    seed: int = 0

    @classmethod
    def fit(
        cls,
        x: Array,
        labels: Labels,
        rng: np.random.RandomState,
        names: Sequence[str] = tuple(LEARNERS),
        is_complete: NDArray[np.bool_] | None = None,
    ) -> Self:
        """Fit to labels.

        Parameters
        ----------
        x : ndarray of shape (n, n_features)
            Features of rows, labelled or not, complete.
        labels : Labels
            The labelled rows.
        rng : RandomState
            Draws the order of the labels, by which folds are dealt, and a seed.
        names : sequence of str
            The learners.
        is_complete : ndarray of bool of shape (n_labels,) or None
            Whether the labelled rows have all entries; None where all do. The others'
            features are filled, so that their errors are not those of complete rows.
        """
        order, seed = rng.permutation(len(labels.y)), int(rng.randint(2**31 - 1))
        complete = np.ones(len(order), bool) if is_complete is None else is_complete
        labels, views = labels.some(order), Views.fit(x)
        weight = labels.weights
        location = float(np.average(labels.y, weights=weight))
        scale = _scale_of(labels.y, location, weight)
        y, seen = _in_deviations(labels.y, location, scale), views.see(labels.x)
        records = record_numbers(labels.x, y)
        folds = assign_folds(complete[order], records)
        held = folds >= 0
        once = np.unique(records[held], return_index=True)[1]
        truth, weight_held = y[held], weight[held] / weight[held].mean()
        learners, centers, widths = {}, [], []
        for name in names:
            learners[name] = fit_learner(name, seen, y, weight, seed)
            of_learner = learners[name], folds, seed, len(set(records)) < len(y)
            center, width = cross_fit(name, seen, y, weight, *of_learner)
            centers.append(center)
            widths.append(width)
        residuals = truth - np.stack(centers)
        units = np.stack(widths)
        fits = [fit_residuals(e, weight_held) for e in residuals / units]
        scales, degrees = np.array(fits).T
        units = units * scales[:, None]
        pairs = zip(residuals / units, degrees, strict=True)
        by_density = np.stack([log_student(*pair) for pair in pairs]) - np.log(units)
        # Half by squared errors, which outlying labels rule, half by the densities.
        by_error = log_normal(residuals, weight_held)
        weights = stack(by_error, weight_held) / 2 + stack(by_density, weight_held) / 2
        shape = residuals.T.shape
        held_out = PredictiveMixture(
            np.broadcast_to(weights, shape),
            np.stack(centers, axis=1),
            units.T,
            np.broadcast_to(degrees, shape),
        )
        levels = np.sort(np.abs(2 * held_out.cdf(truth) - 1)[once])
        parts = views, learners, weights, scales, degrees, location, scale, levels
        return cls(*parts, seed)

    def refitted(self, labels: Labels) -> Self:
        """Return the regression with its learners fitted to other labels."""
        y = _in_deviations(labels.y, self.location, self.scale)
        given = self.views.see(labels.x), y, labels.weights, self.seed
        learners = {name: fit_learner(name, *given) for name in self.learners}
        return replace(self, learners=learners)

    @property
    def named_weights(self) -> dict[str, float]:
        """The weights of the learners by name."""
        return dict(zip(self.learners, self.weights.tolist(), strict=True))

    def predictive(self, x: Array) -> PredictiveMixture:
        """Return p(y|x) of complete rows of features."""
        seen = self.views.see(x)
        asked = [ask_learner(name, one, seen) for name, one in self.learners.items()]
        centers, widths = (
            np.stack(parts, axis=1) for parts in zip(*asked, strict=True)
        )
        found = PredictiveMixture(
            np.broadcast_to(self.weights, centers.shape),
            centers,
            widths * self.scales,
            np.broadcast_to(self.degrees, centers.shape),
        )
        return found.moved(self.location, self.scale)

    def calibrated(self, level: float) -> float:
        """Return the level of the central interval that holds a share of new labels.

        By the rank of held-out labels, as split conformal prediction has it.
        """
        return conformal_level(self.levels, level)

    def to_arrays(self) -> dict[str, Any]:
        """Return arrays and numbers; trees and linear models as scikit-learn's."""
        return {
            "views": self.views.to_arrays(),
            "learners": {
                name: one.to_arrays() if isinstance(one, GaussianProcess) else one
                for name, one in self.learners.items()
            },
            "weights": self.weights,
            "scales": self.scales,
            "degrees": self.degrees,
            "location": self.location,
            "scale": self.scale,
            "levels": self.levels,
            "seed": self.seed,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """Return the regression that `to_arrays` described."""
        learners = {
            name: GaussianProcess.from_arrays(one) if isinstance(one, Mapping) else one
            for name, one in arrays["learners"].items()
        }
        views = Views(**arrays["views"])
        return cls(**(dict(arrays) | {"views": views, "learners": learners}))


def conformal_level(levels: Array, level: float) -> float:
    """Return the level of the interval that holds a share of new labels.

    Parameters
    ----------
    levels : ndarray of shape (n,)
        Sorted levels of the intervals that just contained labels. Where these are too
        few for the level, it is that of the widest interval that they needed.
    level : float
        Wanted share.
    """
    rank = int(np.ceil((len(levels) + 1) * level))
    if rank > len(levels):
        return max(level, float(levels[-1]))
    return float(levels[rank - 1])


def _in_deviations(y: Array, location: float, scale: float) -> Array:
    """Return standardised labels, as learners see them.

    They are rounded, so that ties between splits of trees do not hang on units of y.
    """
    return ((y - location) / scale).round(LABEL_DIGITS)


def _scale_of(labels: Array, location: float, weight: Array) -> float:
    """Return the standard deviation of labels; 1 where they are alike."""
    away = np.abs(labels - location)
    if away.max() <= 1e-12 * np.abs(labels).max():
        return 1.0
    share = away / away.max()  # whose squares don't overflow
    return float(away.max() * np.sqrt(np.average(share**2, weights=weight)))
