"""p(y|x) of few labels: densities about simple learners, stacked by held-out labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)
from sklearn.linear_model import RidgeCV

from skebm.semi_supervised._gaussian_process import GaussianProcess
from skebm.semi_supervised._predictive import PredictiveMixture, log_student

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

N_TREES = 100
#: Labels above which boosted trees bin their features.
MANY_LABELS = 1000
#: Most labels that a tree of a forest draws, which bounds its size.
MAX_RESAMPLED = 10_000
#: Least labels that linear models and trees are fitted to; below they are constant.
MIN_LABELS = 3
#: Normal scores end here, in standard deviations.
SCORE_RANGE = 3.0
#: Folds of few labels and of more, and where the former end.
N_FOLDS_OF_FEW, N_FOLDS, FEW_LABELS = 10, 5, 100
#: Labels above which a single set of them is held out, and its size.
MAX_CROSS_FITTED, N_HELD_OUT = 2000, 1000
#: Power of the likelihood of held-out labels that multiplies the prior weights, and
#: worth of these weights in labels: those of the classifier's stacking.
EVIDENCE_POWER, PRIOR_STRENGTH = 0.3, 50.0
#: Degrees of freedom to choose from.
DEGREES = (4.0, 8.0, 30.0)
#: Digits that are kept of labels in standard deviations.
LABEL_DIGITS = 9
#: Least scale of a density, in standard deviations of the labels.
MIN_SCALE = 1e-3
#: Knots of the map of a column to normal scores.
MAX_KNOTS = 500


@dataclass(frozen=True, eq=False)
class Views:
    """Features as learners take them, by the moments and ranks of all rows.

    Attributes
    ----------
    location, scale : ndarray of shape (n_features,)
        Means and standard deviations.
    low, high : ndarray of shape (n_features,)
        Least and greatest values: beyond, predictions stay as they are there.
    knots : list of ndarray
        For each column, values among which ranks are interpolated.
    scores : list of ndarray
        Their normal scores.
    """

    location: Array
    scale: Array
    low: Array
    high: Array
    knots: list[Array]
    scores: list[Array]

    @classmethod
    def fit(cls, x: Array) -> Views:
        """Learn moments and ranks from the rows x, labelled or not."""
        scale = x.std(axis=0)
        scale[scale <= 1e-12 * np.abs(x).max(axis=0, initial=1.0)] = 1.0
        knots, scores = [], []
        for column in x.T:
            values, counts = np.unique(column, return_counts=True)
            below = np.cumsum(counts) - counts / 2
            normal = ndtri(below / len(column))
            if len(values) > MAX_KNOTS:
                some = np.linspace(0, len(values) - 1, MAX_KNOTS).astype(int)
                values, normal = values[some], normal[some]
            deviation = np.std(np.interp(column, values, normal)) or 1.0
            knots.append(values)
            scores.append(normal / deviation)
        bounds = x.min(axis=0), x.max(axis=0)
        return cls(x.mean(axis=0), scale, *bounds, knots, scores)

    def see(self, x: Array) -> dict[str, Array]:
        """Return rows as standardised "numbers" and as normal "scores"."""
        numbers = (x.clip(self.low, self.high) - self.location) / self.scale
        columns = zip(x.T, self.knots, self.scores, strict=True)
        scores = np.stack([np.interp(*column) for column in columns], axis=1)
        return {
            "numbers": numbers,
            "scores": scores.clip(-SCORE_RANGE, SCORE_RANGE),
        }

    def to_arrays(self) -> dict[str, Any]:
        """Return the views as arrays."""
        return {
            "location": self.location,
            "scale": self.scale,
            "low": self.low,
            "high": self.high,
            "knots": self.knots,
            "scores": self.scores,
        }


def _make_process(names: tuple[str, ...]) -> Callable[..., Any]:
    return lambda x, y, weight, seed: GaussianProcess.fit(x, y, weight, names)


def _fit_linear(x: Array, y: Array, weight: Array, seed: int) -> Any:
    del seed
    return RidgeCV(np.logspace(-2, 3, 11)).fit(x, y, weight)


def _fit_forest(x: Array, y: Array, weight: Array, seed: int) -> Any:
    trees = RandomForestRegressor(
        N_TREES, max_samples=_n_resampled(y), random_state=seed
    )
    return trees.fit(x, y, weight)


def _fit_extra_trees(x: Array, y: Array, weight: Array, seed: int) -> Any:
    trees = ExtraTreesRegressor(
        N_TREES, bootstrap=True, max_samples=_n_resampled(y), random_state=seed
    )
    return trees.fit(x, y, weight)


def _n_resampled(y: Array) -> int | None:
    """Return how many labels each tree of a forest draws; None as many as there are."""
    return MAX_RESAMPLED if len(y) > MAX_RESAMPLED else None


def _fit_boosted(x: Array, y: Array, weight: Array, seed: int) -> Any:
    if len(y) > MANY_LABELS:
        trees = HistGradientBoostingRegressor(max_iter=200, random_state=seed)
        return trees.set_params(early_stopping=False).fit(x, y, weight)
    trees = GradientBoostingRegressor(
        n_estimators=N_TREES,
        subsample=0.7,
        max_features=0.5,
        min_samples_leaf=2,
        random_state=seed,
    )
    return trees.fit(x, y, weight)


#: By name, the view that a learner takes and the function that fits it.
LEARNERS: dict[str, tuple[str, Callable[..., Any]]] = {
    "linear": ("numbers", _fit_linear),
    "Gaussian process": ("numbers", _make_process(("constant", "linear", "smooth"))),
    "Gaussian process of ranks": (
        "scores",
        _make_process(("constant", "linear", "additive", "rough")),
    ),
    "forest": ("numbers", _fit_forest),
    "extra trees": ("numbers", _fit_extra_trees),
    "boosted trees": ("numbers", _fit_boosted),
}

#: Learners whose trees are fitted to resampled labels.
BAGGED = ("forest", "extra trees")


def is_process(name: str) -> bool:
    """Tell whether a learner knows how far to trust each prediction."""
    return name.startswith("Gaussian process")


def fit_learner(
    name: str, views: Mapping[str, Array], y: Array, weight: Array, seed: int
) -> Any:
    """Return the learner of a name, fitted; a number where labels are too few."""
    view, fit = LEARNERS[name]
    if len(y) < MIN_LABELS and not is_process(name):
        return float(np.average(y, weights=weight))
    return fit(views[view], y, weight / weight.mean(), seed)


def ask_learner(
    name: str, learner: Any, views: Mapping[str, Array]
) -> tuple[Array, Array]:
    """Return the predictions of a fitted learner and their relative widths."""
    x = views[LEARNERS[name][0]]
    if isinstance(learner, float):
        return np.full(len(x), learner), np.ones(len(x))
    predicted = learner.predict(x)
    return predicted if is_process(name) else (predicted, np.ones(len(x)))


def assign_folds(n_labels: int) -> Indices:
    """Return the fold of each label, -1 where a label is never held out."""
    if n_labels > MAX_CROSS_FITTED:
        return np.where(np.arange(n_labels) < N_HELD_OUT, 0, -1)
    n_folds = N_FOLDS_OF_FEW if n_labels <= FEW_LABELS else N_FOLDS
    return np.arange(n_labels) % min(n_folds, n_labels)


def cross_fit(
    name: str,
    views: Mapping[str, Array],
    y: Array,
    weight: Array,
    fitted: Any,
    folds: Indices,
    seed: int,
) -> tuple[Array, Array]:
    """Return predictions of held-out labels, and their relative widths.

    Each tree of a forest has labels that it did not see, and a Gaussian process whose
    weights many labels chose leaves each label out in closed form. Other learners are
    fitted anew without each fold, as are forests whose every tree saw some label, for
    its great weight.
    """
    held = folds >= 0
    if name in BAGGED and not isinstance(fitted, float):
        center = _out_of_bag(fitted, views[LEARNERS[name][0]], held)[held]
        if not np.isnan(center).any():
            return center, np.ones(held.sum())
    center, width = np.empty((2, len(y)))
    if is_process(name) and len(y) > FEW_LABELS:
        n = len(fitted.x)
        center[:n], width[:n] = fitted.left_out(y[:n])
        new = held & (np.arange(len(y)) >= n)
        if new.any():
            rows = {view: x[new] for view, x in views.items()}
            center[new], width[new] = ask_learner(name, fitted, rows)
        return center[held], width[held]
    for fold in range(folds.max() + 1):
        out = folds == fold
        some = {view: x[~out] for view, x in views.items()}
        rest = {view: x[out] for view, x in views.items()}
        learner = fit_learner(name, some, y[~out], weight[~out], seed)
        center[out], width[out] = ask_learner(name, learner, rest)
    return center[held], width[held]


def _out_of_bag(forest: Any, x: Array, held: NDArray[np.bool_]) -> Array:
    """Return means over the trees that did not see a row; NaN where all did."""
    total, count = np.zeros((2, len(x)))
    for tree, sampled in zip(
        forest.estimators_, forest.estimators_samples_, strict=True
    ):
        new = held.copy()
        new[sampled] = False
        if new.any():
            total[new] += tree.predict(x[new])
            count[new] += 1
    with np.errstate(invalid="ignore"):
        return total / count


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
        Sorted levels of the central intervals that just contain each held-out label.
    """

    views: Views
    learners: dict[str, Any]
    weights: Array
    scales: Array
    degrees: Array
    location: float
    scale: float
    levels: Array = field(repr=False)

    @classmethod
    def fit(
        cls,
        x: Array,
        labeled: Array,
        y: Array,
        weight: Array | None,
        rng: np.random.RandomState,
        names: Sequence[str] = tuple(LEARNERS),
    ) -> Self:
        """Fit to labels.

        Parameters
        ----------
        x : ndarray of shape (n, n_features)
            Features of rows, labelled or not, complete.
        labeled : ndarray of shape (n_labels, n_features)
            Features of the labelled rows.
        y : ndarray of shape (n_labels,)
            Labels.
        weight : ndarray of shape (n_labels,) or None
            Their weights.
        rng : RandomState
            Draws the order of the labels, by which folds are dealt, and a seed.
        names : sequence of str
            The learners.
        """
        order, seed = rng.permutation(len(y)), int(rng.randint(2**31 - 1))
        weight = np.ones(len(y)) if weight is None else weight / weight.mean()
        weight, labels, views = weight[order], y[order], Views.fit(x)
        location = float(np.average(labels, weights=weight))
        scale = _scale_of(labels, location, weight)
        # Rounded, so that ties between splits of trees do not hang on units of y.
        labels = ((labels - location) / scale).round(LABEL_DIGITS)
        seen = views.see(labeled[order])
        folds = assign_folds(len(labels))
        held = folds >= 0
        truth, weight_held = labels[held], weight[held] / weight[held].mean()
        learners, centers, widths = {}, [], []
        for name in names:
            learners[name] = fit_learner(name, seen, labels, weight, seed)
            of_learner = learners[name], folds, seed
            center, width = cross_fit(name, seen, labels, weight, *of_learner)
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
        levels = np.sort(np.abs(2 * held_out.cdf(truth) - 1))
        return cls(views, learners, weights, scales, degrees, location, scale, levels)

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

        By the rank of held-out labels, as split conformal prediction has it. Where they
        are too few for a level, it is that of the widest interval that they needed.
        """
        rank = int(np.ceil((len(self.levels) + 1) * level))
        if rank > len(self.levels):
            return max(level, float(self.levels[-1]))
        return float(self.levels[rank - 1])

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


def _scale_of(labels: Array, location: float, weight: Array) -> float:
    """Return the standard deviation of labels; 1 where they are alike."""
    away = np.abs(labels - location)
    if away.max() <= 1e-12 * np.abs(labels).max():
        return 1.0
    share = away / away.max()  # whose squares don't overflow
    return float(away.max() * np.sqrt(np.average(share**2, weights=weight)))
