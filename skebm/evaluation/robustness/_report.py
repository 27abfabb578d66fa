"""Accuracy of a classifier on rows that an adversary moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from skebm.evaluation.robustness._ball import NORMS, Balls
from skebm.evaluation.robustness._gradient import attack
from skebm.evaluation.robustness._search import search, spread_rows, towards_others
from skebm.evaluation.robustness._victim import Array, Indices, Victim
from skebm.utils import InvalidParameterError, is_count
from skebm.utils._random import private_random_state

#: Moves of rows, and whether each changes the class.
Found = tuple[Tensor, Tensor]
#: An attack on rows and their classes.
Stage = Callable[[Balls, Indices, RandomState], Found]


@dataclass(frozen=True, eq=False)
class AdversarialReport:
    """What an adversary reaches within each radius.

    Attributes
    ----------
    radius : float or ndarray
        The radii, as given.
    accuracy : float or ndarray
        Share of the rows that are right within each radius, of the shape of `radius`:
        an upper bound of the robust accuracy.
    distance : ndarray of shape (n,)
        Length of the found move that changes the class of each row, at most the radius
        at which it fell; a shorter one may do. 0 where the row itself is wrong,
        infinite where no move was found.
    adversarial : ndarray of shape (n, n_features)
        The moved rows; a row for which no move was found as it is.
    found_by : ndarray of str of shape (n,)
        "row" where the row itself is wrong, "gradient", "search", or "" where nothing
        was found. Many found by the search alone say that the gradients mislead.
    norm : {"inf", "2"}
        The norm of moves.
    """

    radius: float | Array
    accuracy: float | Array
    distance: Array
    adversarial: Array
    found_by: NDArray[np.str_]
    norm: str

    def __repr__(self) -> str:
        names, counts = np.unique(
            self.found_by[self.found_by != ""], return_counts=True
        )
        found = dict(zip(names.tolist(), counts.tolist(), strict=True))
        return (
            f"AdversarialReport(radius={np.asarray(self.radius).tolist()}, "
            f"accuracy={np.asarray(self.accuracy).round(3).tolist()}, "
            f"norm={self.norm!r}, found_by={found})"
        )


@dataclass(frozen=True)
class Effort:
    """How hard the attack tries: see `adversarial_accuracy`."""

    n_steps: int
    n_restarts: int
    n_targets: int
    n_queries: int
    batch_size: int

    def __post_init__(self) -> None:
        for name, least in (
            ("n_steps", 0),
            ("n_restarts", 1),
            ("n_targets", 0),
            ("n_queries", 0),
            ("batch_size", 1),
        ):
            if not is_count(value := getattr(self, name), least):
                raise InvalidParameterError(
                    f"The {name!r} parameter must be an integer, at least {least}. Got "
                    f"{value!r}."
                )


@dataclass(frozen=True, eq=False)
class Adversary:
    """What is tried against a classifier.

    Attributes
    ----------
    victim : Victim
        The classifier.
    effort : Effort
        How hard it is attacked.
    pool : ndarray of shape (m, n_features)
        Rows that others are moved towards.
    pool_classes : ndarray of int of shape (m,)
        The classes that it gives them.
    """

    victim: Victim
    effort: Effort
    pool: Array
    pool_classes: Indices

    def stages(self) -> Iterator[tuple[str, Stage]]:
        """Yield the names and functions of the attacks, in their order."""
        effort, victim = self.effort, self.victim
        if victim.logits_of is not None and effort.n_steps:
            yield "gradient", self._climb
        if effort.n_queries:
            yield "search", self._towards
            yield "search", self._search

    def _climb(self, balls: Balls, y: Indices, rng: RandomState) -> Found:
        effort = self.effort
        budget = effort.n_steps, effort.n_restarts, effort.n_targets
        generator = torch.Generator().manual_seed(int(rng.randint(2**31)))
        classes = torch.from_numpy(y)
        return attack(self.victim.logits, balls, classes, *budget, generator)

    def _towards(self, balls: Balls, y: Indices, rng: RandomState) -> Found:
        del rng
        return towards_others(self.victim, balls, y, self.pool, self.pool_classes)

    def _search(self, balls: Balls, y: Indices, rng: RandomState) -> Found:
        return search(self.victim, balls, y, self.effort.n_queries, rng)


def adversarial_accuracy(
    estimator: Any,
    X: Any,
    y: ArrayLike,
    *,
    radius: float | ArrayLike,
    norm: str | float = "inf",
    unit: float | str | ArrayLike = 1.0,
    bounds: str | tuple[Any, Any] | None = None,
    logits: Callable[[Tensor], Tensor] | None = None,
    n_steps: int = 50,
    n_restarts: int = 1,
    n_targets: int = 9,
    n_queries: int = 200,
    batch_size: int = 500,
    random_state: int | RandomState | None = None,
) -> AdversarialReport:
    r"""Return the accuracy of a classifier on rows that an adversary moves.

    .. math:: \frac1n \#\{i : \hat y(x') = y_i \text{ for all } x' \text{ with }
              \|(x' - x_i) / s\|_p \le r\}

    An attack can only find moves, not prove that there is none: the figure is an upper
    bound of this robust accuracy. Each move counts by ``estimator.predict``. A row that
    falls at one radius has fallen at each larger one.

    First come gradients, if the estimator has them: projected ascent of the
    cross-entropy and of the margins of other classes, with momentum and step sizes that
    halve (Auto-PGD). Then come moves towards rows of other classes and a random search,
    for any classifier, trees too. They also find rows that gradients miss because they
    vanish or mislead. For a classifier without gradients the bound is looser.

    Parameters
    ----------
    estimator : object
        A fitted classifier of numbers, with `predict` and `classes_`. Gradients come
        from its method `torch_logits`, as `skebm.JEMClassifier` has it.
    X : array-like of shape (n, n_features)
        Rows, without missing entries.
    y : array-like of shape (n,)
        Their labels.
    radius : float or array-like of shape (n_radii,)
        r, in the unit of each column.
    norm : {"inf", "2"}, default="inf"
        p; numpy.inf and 2 mean the same.
    unit : float, "std" or array-like of shape (n_features,), default=1.0
        s, the unit of each column. The default takes columns as they are, as is usual
        for pixels. "std" takes the standard deviations of X, for columns of different
        units. A column of unit 0 is not moved.
    bounds : (low, high), "data" or None, default=None
        Bounds of the moved rows: numbers, or arrays of shape (n_features,). "data"
        takes the range of each column of X, None sets no bounds.
    logits : callable, default=None
        From a float64 tensor (n, n_features), in the units of X, to the logits of
        `classes_`, by operations of torch: gradients for other estimators. They must
        tell the same classes as `predict`, where no two are equal.
    n_steps : int, default=50
        Steps of each ascent; 0 leaves gradients out.
    n_restarts : int, default=1
        Ascents of each loss; the first starts at the row, others at random moves.
    n_targets : int, default=9
        Number of other classes, the likeliest first, whose margins are attacked.
    n_queries : int, default=200
        Queries of the random search; 0 leaves moves towards other rows out, too.
    batch_size : int, default=500
        Rows attacked, and given to `logits`, at a time.
    random_state : int, RandomState or None, default=None
        Seed of random moves.

    Returns
    -------
    report : AdversarialReport

    Raises
    ------
    ValueError
        Where a column does not hold finite numbers, a label is no class, a row is out
        of bounds, or `logits` and `predict` disagree.

    References
    ----------
    Madry et al. Towards deep learning models resistant to adversarial attacks. ICLR
    2018. Croce, Hein. Reliable evaluation of adversarial robustness with an ensemble of
    diverse parameter-free attacks. ICML 2020. Andriushchenko et al. Square attack. ECCV
    2020.

    Examples
    --------
    A threshold at 0, one unit away from two of four rows:

    >>> from sklearn.linear_model import LogisticRegression
    >>> from skebm.evaluation import adversarial_accuracy
    >>> X, y = [[-2.0], [-1.0], [1.0], [2.0]], [0, 0, 1, 1]
    >>> model = LogisticRegression().fit(X, y)
    >>> report = adversarial_accuracy(model, X, y, radius=[0.5, 1.5], random_state=0)
    >>> report.accuracy
    array([1. , 0.5])
    """
    if isinstance(norm, float | int):
        norm = f"{norm:g}"
    if norm not in NORMS:
        raise InvalidParameterError(
            f"The 'norm' parameter must be 'inf' or '2'. Got {norm!r}."
        )
    radii = _checked_radii(radius)
    effort = Effort(n_steps, n_restarts, n_targets, n_queries, batch_size)
    victim, table = Victim.of(estimator, X, logits)
    classes = victim.classes_of(y, len(table))
    units, (low, high) = _units(unit, table), _bounds(bounds, table)
    rng = private_random_state(random_state)
    predicted = victim.predict(table)
    victim.check_logits(table, predicted, batch_size)
    distance = np.where(predicted == classes, np.inf, 0.0)
    found_by = np.where(predicted == classes, "", "row").astype("<U8")
    adversarial = table.copy()
    pool = spread_rows(predicted, rng)
    adversary = Adversary(victim, effort, table[pool], predicted[pool])
    for r in np.unique(radii[radii > 0]).tolist():
        for name, stage in adversary.stages():
            left = np.flatnonzero(np.isinf(distance))
            for start in range(0, len(left), batch_size):
                rows = left[start : start + batch_size]
                balls = Balls.of_arrays(table[rows], units, low, high, r, norm)
                u, fell = (part.numpy() for part in stage(balls, classes[rows], rng))
                moved = balls.moved(torch.from_numpy(u)).numpy()
                # By the estimator's word alone: gradients are of its float logits.
                fell = fell & (victim.predict(moved) != classes[rows])
                hit = rows[fell]
                adversarial[hit], found_by[hit] = moved[fell], name
                length = balls.length(torch.from_numpy(u)).numpy()[fell]
                distance[hit] = np.minimum(length, r)
    accuracy = np.mean(distance > radii[..., None], axis=-1)
    is_one = radii.ndim == 0
    return AdversarialReport(
        radius=float(radii) if is_one else radii,
        accuracy=float(accuracy) if is_one else accuracy,
        distance=distance,
        adversarial=adversarial,
        found_by=found_by,
        norm=norm,
    )


def _checked_radii(radius: Any) -> Array:
    """Return the radii as an array; raise ValueError unless they are at least 0."""
    try:
        radii = np.asarray(radius, dtype=np.float64)
    except (TypeError, ValueError):
        radii = np.empty(0)
    if radii.ndim > 1 or not radii.size or not np.all((radii >= 0) & (radii < np.inf)):
        raise InvalidParameterError(
            "The 'radius' parameter must be a number of at least 0, or a sequence of "
            f"them. Got {radius!r}."
        )
    return radii


def _units(unit: Any, table: Array) -> Array:
    """Return the unit of each column; raise ValueError where one is negative."""
    if isinstance(unit, str) and unit == "std":
        # The spread of a constant may be a rounding error.
        return np.where(np.ptp(table, axis=0) > 0, table.std(axis=0), 0.0)
    try:
        units = np.broadcast_to(np.asarray(unit, dtype=np.float64), table.shape[1:])
    except (TypeError, ValueError):
        units = np.full(1, -1.0)
    if not np.all((units >= 0) & (units < np.inf)):
        raise InvalidParameterError(
            "The 'unit' parameter must be 'std', or a number of at least 0 for all or "
            f"each of the {table.shape[1]} columns. Got {unit!r}."
        )
    return units.copy()


def _bounds(bounds: Any, table: Array) -> tuple[Array, Array]:
    """Return the bounds of the columns; raise ValueError where a row is outside."""
    n_features = table.shape[1]
    if bounds is None:
        return np.full(n_features, -np.inf), np.full(n_features, np.inf)
    if isinstance(bounds, str) and bounds == "data":
        return table.min(axis=0), table.max(axis=0)
    try:
        low, high = (
            np.broadcast_to(np.asarray(end, dtype=np.float64), n_features).copy()
            for end in bounds
        )
    except (TypeError, ValueError):
        raise InvalidParameterError(
            "The 'bounds' parameter must be None, 'data', or (low, high): numbers, or "
            f"arrays of shape ({n_features},). Got {bounds!r}."
        ) from None
    if not ((low <= table) & (table <= high)).all():
        raise ValueError(
            "X must lie within the 'bounds' parameter. Got values from "
            f"{table.min():.4g} to {table.max():.4g}."
        )
    return low, high
