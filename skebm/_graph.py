"""Soft labels from a graph of nearest neighbours, and how far to trust them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import splu
from scipy.special import expit, softmax
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.neighbors import NearestNeighbors

from skebm._shares import estimate_shares
from skebm.training import RowGraph

N_NEIGHBORS = 5
SHARPNESS = 6.0
RADIUS_NEIGHBORS = 10
RADIUS_FACTOR = 1.2
RADIUS_ROWS = 2000
MAX_GRAPH_ROWS = 20_000
MAX_JUDGES = 1000
N_FOLDS = 5
MIN_TRUST = 0.2
#: Rows of which the graph is unsure count nearly fully: by its odds, not by the net's.
CONFIDENCE_POWER = 0.3
#: Strengths of the tie to the supervised classifier, in mean degrees of a row.
TIES = (0.0, 0.01, 0.1, 1.0)
RIDGE = 0.01
RIDGE_SHARPNESS = 8.0


@dataclass(frozen=True)
class LabelGraph:
    """What the neighbours of the rows tell.

    Attributes
    ----------
    rows : RowGraph or None
        Soft labels of the rows; None where no row lacks a label.
    trust : float
        0 to 1: how well the graph predicts labelled rows that are left out in turn,
        and whether better than a supervised classifier does.
    radius : float
        Length of the virtual adversarial perturbation, in standardised units.
    shares : ndarray of shape (n_classes,)
        Shares of the classes among the unlabelled rows.
    tie : float
        How strongly the rows are tied to a supervised classifier; 0 is not at all.
    """

    rows: RowGraph | None
    trust: float
    radius: float
    shares: np.ndarray
    tie: float = 0.0


def build_graph(Z, codes, rows, n_classes, rng):
    r"""Propagate the labels of some rows along a graph of nearest neighbours.

    .. math:: w_{ij} = e^{-6 |z_i - z_j|^2 / (\sigma_i \sigma_j)}, \qquad
              (D - W + t \bar d)_{uu} F_u = W_{ul} Y_l + t \bar d H_u

    with :math:`\sigma_i` the distance to the fifth neighbour and :math:`\bar d` the
    mean degree: F holds the probabilities that a random walk from a row ends at a
    label of each class, or stops on its way by the class probabilities H of a
    supervised classifier. They are scaled, by turns, to sum to one a row and to the
    classes' shares among the unlabelled rows. The labelled rows, left out in turn,
    choose t, and tell the shares by `estimate_shares`.

    Parameters
    ----------
    Z : ndarray of shape (n, n_features)
        Standardised rows.
    codes : ndarray of shape (n,)
        Class numbers, -1 where unlabelled.
    rows : ndarray of int
        The training rows; the others stay out of the graph.
    n_classes : int
        Number of classes.
    rng : RandomState
        Chooses the rows where there are too many.

    Returns
    -------
    graph : LabelGraph

    References
    ----------
    Zhu, Ghahramani, Lafferty. Semi-supervised learning using Gaussian fields and
    harmonic functions. ICML 2003. Zelnik-Manor, Perona. Self-tuning spectral
    clustering. NeurIPS 2004.
    """
    rows = _choose_rows(codes, rows, rng)
    n_neighbors = min(RADIUS_NEIGHBORS, len(rows) - 1)
    index = NearestNeighbors(n_neighbors=n_neighbors).fit(Z[rows])
    if (codes[rows] >= 0).all():
        sample = rows[rng.permutation(len(rows))[:RADIUS_ROWS]]
        distances = index.kneighbors(Z[sample], n_neighbors + 1)[0][:, 1:]
        shares = np.bincount(codes[rows], minlength=n_classes) / len(rows)
        return LabelGraph(None, 0.0, _radius(distances), shares)
    distances, neighbors = index.kneighbors()
    radius = _radius(distances)
    k = min(N_NEIGHBORS, n_neighbors)
    weights = _affinities(distances[:, :k], neighbors[:, :k])
    known = codes[rows]
    verdict = _judge(weights, Z[rows], known, n_classes, rng)
    soft_labels = _scale(
        _propagate(weights, known, n_classes, verdict.tie, verdict.guess),
        known,
        verdict.shares,
    )
    entropy = -(soft_labels * np.log(soft_labels + 1e-12)).sum(axis=1)
    confidence = np.clip(1 - entropy / math.log(n_classes), 0, 1) ** CONFIDENCE_POWER
    graph = _scatter(len(Z), rows, soft_labels, confidence, neighbors[:, :k])
    return LabelGraph(graph, verdict.trust, radius, verdict.shares, verdict.tie)


def _choose_rows(codes, rows, rng):
    """Keep all labelled rows and as many others as the graph may hold."""
    if len(rows) <= MAX_GRAPH_ROWS:
        return rows
    order = rng.permutation(rows)
    labeled = order[codes[order] >= 0][: MAX_GRAPH_ROWS // 2]
    unlabeled = order[codes[order] < 0][: MAX_GRAPH_ROWS - len(labeled)]
    return np.sort(np.concatenate([labeled, unlabeled]))


def _radius(distances):
    """Return 1.2 times the median growth of the distance from first to tenth.

    Where distances concentrate, as in isotropic data of many columns, it is small.
    """
    growth = float(np.median(distances[:, -1] - distances[:, 0]))
    return RADIUS_FACTOR * max(growth, 1e-3)


def _affinities(distances, neighbors):
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


def _propagate(weights, codes, n_classes, tie=0.0, guess=None):
    """Return class probabilities of the rows; labelled rows keep their label."""
    hidden, labeled = np.flatnonzero(codes < 0), np.flatnonzero(codes >= 0)
    one_hot = np.eye(n_classes)[codes[labeled]]
    degree = np.asarray(weights.sum(axis=1)).ravel()
    # The walk may also stop without a label: rows that reach none stay undecided.
    diagonal = degree[hidden] * (1 + 1e-9) + (1e-4 + tie) * degree.mean()
    among = weights[hidden]
    system = sparse.diags_array(diagonal) - among[:, hidden]
    solver = splu(
        sparse.csc_matrix(system),
        permc_spec="MMD_AT_PLUS_A",
        options={"SymmetricMode": True},
    )
    arriving = among[:, labeled] @ one_hot
    if tie:
        arriving = arriving + tie * degree.mean() * guess[hidden]
    soft = np.zeros((len(codes), n_classes))
    soft[labeled] = one_hot
    soft[hidden] = np.maximum(solver.solve(arriving), 0) + 1e-9
    soft[hidden] /= soft[hidden].sum(axis=1, keepdims=True)
    return soft


def _scale(soft, codes, shares):
    """Scale to sums of one a row, and to the classes' shares of the unlabelled rows."""
    labeled = codes >= 0
    one_hot = soft[labeled]
    total = one_hot.sum(axis=0) + (~labeled).sum() * shares
    for _ in range(50):
        soft = soft * (total / np.maximum(soft.sum(axis=0), 1e-12)) + 1e-9
        soft /= soft.sum(axis=1, keepdims=True)
    soft[labeled] = one_hot
    return soft


class _KernelRidge:
    """Kernel ridge regression on the classes, by any part of the labelled rows.

    The width of its Gaussian kernel is the median distance.
    """

    def __init__(self, Z, rows, labels, n_classes):
        distances = euclidean_distances(Z, Z[rows], squared=True)
        self.kernel = np.exp(-distances / max(np.median(distances), 1e-12))
        self.targets = np.eye(n_classes)[labels] - 1 / n_classes
        self.rows = rows

    def predict(self, part):
        """Return class probabilities of all rows, learnt from ``rows[part]``."""
        kernel = self.kernel[:, part].astype(np.float64)
        system = kernel[self.rows[part]] + RIDGE * np.eye(len(part))
        weights = np.linalg.solve(system, self.targets[part])
        return softmax(RIDGE_SHARPNESS * (kernel @ weights), axis=1)


@dataclass(frozen=True)
class _Verdict:
    """What labels left out say; the guess is the classifier's, where there is a tie."""

    trust: float
    shares: np.ndarray
    tie: float = 0.0
    guess: np.ndarray | None = None


def _judge(weights, Z, codes, n_classes, rng):
    r"""Judge graph and tie by labelled rows left out in turn.

    .. math:: \text{trust} = \kappa^2 \, \mathrm{sigmoid}(2 z + 1), \qquad
              \kappa = \frac{a - 1/K}{1 - 1/K}

    a the graph's accuracy on them, z the paired difference to a supervised classifier,
    in standard errors. Below 0.2 it is zero: even a small weight wins where the
    labelled loss has come to zero.
    """
    counts = np.bincount(codes[codes >= 0], minlength=n_classes)
    known_shares = counts / counts.sum()
    if (counts > 0).sum() < 2:
        return _Verdict(0.0, known_shares)  # labels of one class only say that class
    several = counts >= 2
    if several.sum() < 2:
        return _Verdict(1.0, known_shares)  # one label a class leaves no judges
    judges = np.flatnonzero((codes >= 0) & several[codes])
    judges = rng.permutation(judges)[:MAX_JUDGES]
    labels = codes[judges]
    singles = np.flatnonzero((codes >= 0) & ~several[codes])
    known = np.append(judges, singles)
    classifier = _KernelRidge(Z, known, codes[known], n_classes)
    folds = list(_folds(classifier, codes, len(judges)))
    shares = known_shares
    if several.all() and (codes < 0).any():
        views, prospect = _view_left_out(weights, folds, classifier.rows, n_classes)
        shares = estimate_shares(views, labels, prospect, counts, rng)
    guesses = _guess_left_out(weights, folds, classifier.rows, n_classes, shares)
    # The judges hold the classes in the labelled shares.
    guesses[:-1] *= known_shares / np.maximum(shares, 1e-12)
    guesses /= guesses.sum(axis=2, keepdims=True)
    chosen = _choose_tie(guesses[:-1], labels)
    right = guesses.argmax(axis=2) == labels
    difference = right[chosen].astype(float) - right[-1]
    error = difference.std() / math.sqrt(len(judges)) + 0.5 / len(judges)
    kappa = max(0.0, (right[chosen].mean() - 1 / n_classes) / (1 - 1 / n_classes))
    trust = kappa**2 * float(expit(2 * difference.mean() / error + 1))
    tie = TIES[chosen]
    guess = classifier.predict(np.arange(len(known))) if tie else None
    return _Verdict(trust if trust > MIN_TRUST else 0.0, shares, tie, guess)


def _folds(classifier, codes, n_judges):
    """Leave out a fifth of the judges, the first of the classifier's rows, at a time.

    Yield their numbers, the codes that are left, and the classifier's guess by these.
    """
    rows = classifier.rows
    judges = rows[:n_judges]
    fold = np.full(len(rows), -1)
    fold[np.argsort(codes[judges], kind="stable")] = np.arange(n_judges) % N_FOLDS
    for k in np.unique(fold[:n_judges]):
        left_out = np.flatnonzero(fold == k)
        partly = codes.copy()
        partly[rows[left_out]] = -1
        yield left_out, partly, classifier.predict(np.flatnonzero(fold != k))


def _view_left_out(weights, folds, rows, n_classes):
    """Return what graph and classifier say of the judges when they are left out.

    And the mean of what they say of the unlabelled rows.
    """
    n_judges = sum(len(left_out) for left_out, _, _ in folds)
    views, means = np.empty((n_judges, 2 * n_classes)), []
    for left_out, partly, guess in folds:
        soft = _propagate(weights, partly, n_classes)
        view = np.hstack([soft, guess]) / 2
        views[left_out] = view[rows[left_out]]
        hidden = partly < 0
        hidden[rows[left_out]] = False
        means.append(view[hidden].mean(axis=0))
    return views, np.mean(means, axis=0)


def _guess_left_out(weights, folds, rows, n_classes, shares):
    """Return the judges' class probabilities when they are left out.

    One table for each tie, and one of the classifier alone; at the given shares.
    """
    n_judges = sum(len(left_out) for left_out, _, _ in folds)
    guesses = np.empty((len(TIES) + 1, n_judges, n_classes))
    for left_out, partly, guess in folds:
        judges = rows[left_out]
        guesses[-1, left_out] = guess[judges]
        for i, tie in enumerate(TIES):
            soft = _propagate(weights, partly, n_classes, tie, guess)
            guesses[i, left_out] = _scale(soft, partly, shares)[judges]
    return guesses


def _choose_tie(guesses, labels):
    """Return the number of the likeliest tie; the first unless clearly more are right.

    That is, unless the rows it gains outnumber those it loses by a standard error.
    """
    of_label = guesses[:, np.arange(len(labels)), labels]
    # One mistake in twenty is granted: no single row decides.
    likelihood = np.log(0.95 * of_label + 0.05 / guesses.shape[2]).mean(axis=1)
    best = int(likelihood.argmax())
    right = (guesses.argmax(axis=2) == labels).astype(int)
    change = right[best] - right[0]
    return best if change.sum() > math.sqrt(np.abs(change).sum()) else 0


def _scatter(n_rows, rows, soft_labels, confidence, neighbors):
    """Return the graph by row numbers of the table; rows outside have no confidence."""
    all_labels = np.full((n_rows, soft_labels.shape[1]), 1 / soft_labels.shape[1])
    all_confidence = np.zeros(n_rows)
    all_neighbors = np.tile(np.arange(n_rows)[:, None], neighbors.shape[1])
    all_labels[rows], all_confidence[rows] = soft_labels, confidence
    all_neighbors[rows] = rows[neighbors]
    return RowGraph(
        torch.from_numpy(all_labels).float(),
        torch.from_numpy(all_confidence).float(),
        torch.from_numpy(all_neighbors),
    )
