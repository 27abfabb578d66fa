"""Label propagation: harmonic class probabilities along a graph of rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

SHARPNESS = 6.0
#: Weight of the even class probabilities, so that rows cut off from every label stay
#: undecided.
EVEN_WEIGHT = 1e-4
N_SCALINGS = 50
#: Rows up to which the equations are solved directly, and up to which they are where
#: iterations stall. The time of a direct solution grows as the cube of the rows where
#: columns are many, but hardly where rows are clusters, which is where they stall.
MAX_DIRECT, MAX_DIRECT_IF_STALLED = 2000, 10_000
#: Where the iterations stop, relative to the right side, and in larger tables.
RESIDUAL, RESIDUAL_IF_LARGE = 1e-6, 1e-4
#: At most how many iterations; and fewer where a direct solution is at hand: so many,
#: and so many unless these have brought the residual down to this share.
MAX_ITERATIONS, MAX_IF_SMALL, MAX_IF_STALLED, STALLED = 1000, 150, 25, 0.1


@dataclass(frozen=True, eq=False)
class PriorLabels:
    """Class probabilities of a supervised classifier, to which rows are drawn.

    Attributes
    ----------
    probability : ndarray of shape (n, n_classes)
        Of all rows of the graph.
    weight : float
        Its weight, in units of the graph's mean degree; above zero.
    """

    probability: Array
    weight: float


def compute_affinities(distances: Array, neighbors: Indices) -> sparse.csr_array:
    r"""Return the symmetric edge weights :math:`e^{-6 d_{ij}^2 / (s_i s_j)}`.

    With :math:`s_i` the distance of row i to the last of its neighbours.

    Parameters
    ----------
    distances, neighbors : ndarray of shape (n, n_neighbors)
        Distances to the nearest rows, and their indices.
    """
    n_rows, k = distances.shape
    scale = distances[:, -1] + 1e-12
    start = np.repeat(np.arange(n_rows), k)
    end = neighbors.ravel()
    exponent = SHARPNESS * distances.ravel() ** 2 / (scale[start] * scale[end])
    # A little of each edge stays, so that no row is cut off from its neighbours.
    one_way = sparse.csr_array(
        (np.exp(-exponent) + 1e-9, (start, end)), shape=(n_rows, n_rows)
    )
    return ((one_way + one_way.T) / 2).tocsr()


def propagate_labels(
    affinities: sparse.csr_array,
    y: Indices,
    n_classes: int,
    prior: PriorLabels | None = None,
) -> Array:
    """Return class probabilities of all rows; labelled rows keep their label.

    Parameters
    ----------
    affinities : sparse array of shape (n, n)
        Edge weights.
    y : ndarray of int of shape (n,)
        Class indices, -1 where unlabelled.
    n_classes : int
        Number of classes.
    prior : PriorLabels or None, default=None
        Predictions to which the unlabelled rows are drawn.

    References
    ----------
    Zhu, Ghahramani, Lafferty. Semi-supervised learning using Gaussian fields and
    harmonic functions. ICML 2003.
    """
    unlabeled, labeled = np.flatnonzero(y < 0), np.flatnonzero(y >= 0)
    one_hot = np.eye(n_classes)[y[labeled]]
    degree = np.asarray(affinities.sum(axis=1)).ravel()
    prior_weight = 0.0 if prior is None else prior.weight
    diagonal = degree[unlabeled] * (1 + 1e-9)
    diagonal = diagonal + (EVEN_WEIGHT + prior_weight) * degree.mean()
    among = affinities[unlabeled]
    system = sparse.diags_array(diagonal) - among[:, unlabeled]
    arriving = among[:, labeled] @ one_hot
    if prior is not None:
        pull = prior.weight * degree.mean()
        arriving = arriving + pull * prior.probability[unlabeled]
    soft = np.zeros((len(y), n_classes))
    soft[labeled] = one_hot
    soft[unlabeled] = np.maximum(solve(system, arriving), 0) + 1e-9
    soft[unlabeled] /= soft[unlabeled].sum(axis=1, keepdims=True)
    return soft


def solve(system: sparse.sparray, right: Array) -> Array:
    """Solve symmetric, diagonally dominant equations for each column.

    Small ones directly, large ones by conjugate gradients, scaled by the diagonal;
    those between by conjugate gradients unless these are slow.

    Parameters
    ----------
    system : sparse array of shape (n, n)
        Left side.
    right : ndarray of shape (n, n_columns)
        Right sides.
    """
    if len(right) <= MAX_DIRECT:
        return _solve_directly(system, right)
    if len(right) > MAX_DIRECT_IF_STALLED:
        return _iterate(system, right, RESIDUAL_IF_LARGE, MAX_ITERATIONS)[0]
    found, is_solved = _iterate(system, right, RESIDUAL, MAX_IF_SMALL, MAX_IF_STALLED)
    return found if is_solved else _solve_directly(system, right)


def _solve_directly(system: sparse.sparray, right: Array) -> Array:
    options = {"SymmetricMode": True}
    matrix = sparse.csc_matrix(system)
    solver = splu(matrix, permc_spec="MMD_AT_PLUS_A", options=options)
    found: Array = solver.solve(right)
    return found


def _iterate(
    system: sparse.sparray,
    right: Array,
    residual_share: float,
    most: int,
    most_if_stalled: int | None = None,
) -> tuple[Array, bool]:
    """Return the solution by conjugate gradients, and whether it was reached."""
    system = system.tocsr()
    diagonal = system.diagonal()[:, None]
    size = np.linalg.norm(right, axis=0).max()
    goal = residual_share * size
    solution, residual = np.zeros_like(right), right.copy()
    direction = scaled = residual / diagonal
    squares = (residual * scaled).sum(axis=0)
    for n_done in range(most):
        left = np.linalg.norm(residual, axis=0).max()
        if left <= goal:
            return solution, True
        if n_done == most_if_stalled and left > STALLED * size:
            break
        along = system @ direction
        step = squares / np.maximum((direction * along).sum(axis=0), 1e-300)
        solution += step * direction
        residual -= step * along
        scaled = residual / diagonal
        before, squares = squares, (residual * scaled).sum(axis=0)
        direction = scaled + squares / np.maximum(before, 1e-300) * direction
    return solution, False


def match_priors(soft: Array, y: Indices, class_priors: Array) -> Array:
    """Scale probabilities, by turns, to sums of one and to the class priors.

    Each row sums to one, and the unlabelled rows on average to ``class_priors``;
    labelled rows keep their label.
    """
    labeled = y >= 0
    one_hot = soft[labeled]
    total = one_hot.sum(axis=0) + (~labeled).sum() * class_priors
    for _ in range(N_SCALINGS):
        soft = soft * (total / np.maximum(soft.sum(axis=0), 1e-12)) + 1e-9
        soft /= soft.sum(axis=1, keepdims=True)
    soft[labeled] = one_hot
    return soft
