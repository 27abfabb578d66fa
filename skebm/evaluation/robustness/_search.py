"""Attack without gradients: towards rows of other classes, then a random search."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from skebm.evaluation.robustness._ball import Balls
from skebm.evaluation.robustness._victim import Array, Indices, Victim

#: Rows of other classes that each row is moved towards, and rows among which they are.
N_NEIGHBORS, MAX_POOL = 5, 2000
#: Share of the columns that the first query of the search changes, and the queries, in
#: ten thousandths of all, after which it halves.
FIRST_SHARE = 0.8
HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
#: Share of the queries that draw lengths of moves, too, and not their signs alone.
INNER_SHARE = 0.3


def spread_rows(classes: Indices, rng: np.random.RandomState) -> Indices:
    """Return places of at most MAX_POOL rows, evenly from the classes.

    All rows where they are few enough; else random ones, of the classes in turn.
    """
    if len(classes) <= MAX_POOL:
        return np.arange(len(classes))
    order = rng.permutation(len(classes))
    turn = pd.Series(order).groupby(classes[order]).cumcount().to_numpy()
    return np.sort(order[turn.argsort(kind="stable")[:MAX_POOL]])


def towards_others(
    victim: Victim, balls: Balls, y: Indices, pool: Array, pool_classes: Indices
) -> tuple[Tensor, Tensor]:
    """Return moves towards the nearest rows of other classes, and whether they hit.

    Parameters
    ----------
    victim : Victim
        The classifier.
    balls : Balls
        The rows and their moves.
    y : ndarray of int of shape (n,)
        Their classes.
    pool : ndarray of shape (m, n_features)
        Rows to move towards.
    pool_classes : ndarray of int of shape (m,)
        Their predicted classes.
    """
    found, fell = torch.zeros_like(balls.rows), torch.zeros(len(y), dtype=torch.bool)
    points = torch.from_numpy(pool)
    scale = torch.where(balls.unit > 0, 1 / balls.unit, 0.0)
    distance = torch.cdist(balls.rows * scale, points * scale)
    same = torch.from_numpy(y[:, None] == pool_classes)
    distance, order = distance.masked_fill(same, torch.inf).sort(dim=1)
    for k in range(min(N_NEIGHBORS, len(points))):
        left = (~fell & distance[:, k].isfinite()).nonzero()[:, 0]
        if not len(left):
            break
        own = balls.of(left)
        u = own.moves_to(points[order[left, k]])
        hit = torch.from_numpy(victim.predict(own.moved(u).numpy()) != y[left.numpy()])
        found[left[hit]], fell[left[hit]] = u[hit], True
    return found, fell


def search(
    victim: Victim,
    balls: Balls,
    y: Indices,
    n_queries: int,
    rng: np.random.RandomState,
) -> tuple[Tensor, Tensor]:
    """Return moves by a random search on the margin, and whether they hit.

    Each query changes some columns of a move. It is kept where the margin of the true
    class does not grow: so the search wanders where the classifier has steps.

    References
    ----------
    Andriushchenko, Croce, Flammarion, Hein. Square attack: a query-efficient black-box
    adversarial attack via random search. ECCV 2020.
    """
    found, fell = torch.zeros_like(balls.rows), torch.zeros(len(y), dtype=torch.bool)
    free = np.flatnonzero((balls.unit > 0).numpy())
    if not n_queries or not len(free):
        return found, fell
    place, classes = np.arange(len(y)), y
    u = _proposal(balls, torch.zeros_like(balls.rows), free, len(free), rng)
    best, wrong = _margins(victim, balls, u, classes)
    for query in range(n_queries):
        if wrong.any():
            hit, keep = torch.from_numpy(wrong), torch.from_numpy(~wrong)
            found[place[wrong]], fell[place[wrong]] = u[hit], True
            place, classes, best = place[~wrong], classes[~wrong], best[~wrong]
            balls, u = balls.of(keep), u[keep]
        if query == n_queries - 1 or not len(place):
            break
        n_changed = _n_changed(query / n_queries, len(free))
        tried = _proposal(balls, u, free, n_changed, rng)
        margins, hits = _margins(victim, balls, tried, classes)
        kept = hits | (margins <= best)
        u = torch.where(torch.from_numpy(kept)[:, None], tried, u)
        best, wrong = np.where(kept, margins, best), hits
    return found, fell


def _margins(
    victim: Victim, balls: Balls, u: Tensor, y: Indices
) -> tuple[Array, NDArray[np.bool_]]:
    """Return the margins of the true classes, and whether other ones are predicted."""
    table = balls.moved(u).numpy()
    scores, rows = victim.scores(table), np.arange(len(y))
    own = scores[rows, y].copy()
    scores[rows, y] = -np.inf
    # Not by the sign of the margin: predict may have another threshold.
    return own - scores.max(axis=1), victim.predict(table) != y


def _n_changed(progress: float, n_free: int) -> int:
    """Return how many columns a query changes."""
    halvings = sum(progress * 10_000 > limit for limit in HALVINGS)
    return max(1, math.ceil(FIRST_SHARE * n_free / 2**halvings))


def _proposal(
    balls: Balls, u: Tensor, free: Indices, n_changed: int, rng: np.random.RandomState
) -> Tensor:
    """Return moves with some columns drawn anew, different ones in each row."""
    n_rows, n_free = len(u), len(free)
    signs = rng.choice([-1.0, 1.0], size=(n_rows, n_changed))
    inner = rng.uniform(size=(n_rows, 1)) < INNER_SHARE
    signs *= np.where(inner, rng.uniform(size=signs.shape), 1.0)
    order = rng.uniform(size=(n_rows, n_free)).argpartition(n_changed - 1, axis=1)
    columns = torch.from_numpy(free[order[:, :n_changed]])
    drawn = balls.radius * torch.from_numpy(signs)
    if balls.norm == "inf":
        return balls.project(u.scatter(1, columns, drawn))
    # In the other norm the columns share the length; the rest makes room for them.
    drawn = drawn / math.sqrt(n_changed)
    if n_changed < n_free:
        # At full length they would leave the columns that stay no room.
        drawn = drawn * torch.from_numpy(rng.uniform(size=(n_rows, 1)))
    rest = u.scatter(1, columns, 0.0)
    room = (balls.radius**2 - drawn.norm(dim=1, keepdim=True) ** 2).clamp(min=0).sqrt()
    length = rest.norm(dim=1, keepdim=True).clamp(min=1e-300)
    return balls.project((rest * room / length).scatter(1, columns, drawn))
