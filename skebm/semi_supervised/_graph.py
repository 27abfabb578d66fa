"""Soft labels from a graph of nearest neighbours."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import splu
from scipy.special import softmax
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.neighbors import NearestNeighbors

from skebm.semi_supervised._held_out_labels import choose_judges, fold_numbers
from skebm.semi_supervised._label_shift import estimate_shares
from skebm.training import RowGraph

N_NEIGHBORS = 5
SHARPNESS = 6.0
RADIUS_NEIGHBORS = 10
RADIUS_FACTOR = 1.2
RADIUS_ROWS = 2000
#: Columns beyond which the ball stays round: its shape costs their number cubed.
MAX_SHAPED = 2000
#: The solver's time grows as the cube: 2 seconds each of some thirty times.
MAX_GRAPH_ROWS = 10_000
N_OF_EACH_CLASS = 10
#: Rows of which the graph is unsure count nearly fully: by its odds, not by the net's.
CONFIDENCE_POWER = 0.3
#: Strengths of the tie to the supervised classifier, in mean degrees of a row.
TIES = (0.0, 0.01, 0.1, 1.0)
RIDGE = 0.01
RIDGE_SHARPNESS = 8.0


@dataclass(frozen=True)
class LabelGraph:
    """A graph of nearest neighbours, and what labels say along it.

    Attributes
    ----------
    numbers : ndarray of int of shape (n,)
        The table's rows that are in the graph.
    codes : ndarray of int of shape (n,)
        Their class numbers, -1 where unlabelled.
    radius : float
        Length of the virtual adversarial perturbation, in standardised units.
    shares : ndarray of shape (n_classes,)
        Shares of the classes among the unlabelled rows.
    weights : sparse array of shape (n, n) or None
        Of the edges; None where no row lacks a label, or one class alone has some.
    neighbors : ndarray of int of shape (n, n_neighbors) or None
        Numbers, among the n, of the nearest.
    shape : ndarray of shape (n_features, n_features) or None
        That of the differences between neighbours; see `_shape`.
    tie : float
        How strongly the rows are tied to a supervised classifier; 0 is not at all.
    classifier : _KernelRidge or None
        That classifier.
    """

    numbers: np.ndarray
    codes: np.ndarray
    radius: float
    shares: np.ndarray
    weights: sparse.csr_array | None = None
    neighbors: np.ndarray | None = None
    shape: np.ndarray | None = None
    tie: float = 0.0
    classifier: _KernelRidge | None = None

    def of_table(self, n_rows):
        """Return the graph by row numbers of the table, or None where there is none.

        Rows outside have no confidence.
        """
        if self.weights is None:
            return None
        inside = self.of_versions([self.codes])
        n_classes = len(self.shares)
        even, dtype = 1 / n_classes, inside.soft_labels.dtype
        soft_labels = torch.full((n_rows, 1, n_classes), even, dtype=dtype)
        confidence = torch.zeros((n_rows, 1), dtype=dtype)
        neighbors = np.tile(np.arange(n_rows)[:, None], self.neighbors.shape[1])
        soft_labels[self.numbers] = inside.soft_labels
        confidence[self.numbers] = inside.confidence
        neighbors[self.numbers] = self.numbers[self.neighbors]
        return RowGraph(soft_labels, confidence, torch.from_numpy(neighbors))

    def of_versions(self, versions):
        """Return the graph of its n rows, by several versions of their codes."""
        soft = np.stack([self._soft_labels(codes) for codes in versions], axis=1)
        entropy = -(soft * np.log(soft + 1e-12)).sum(axis=2)
        sureness = np.clip(1 - entropy / math.log(soft.shape[2]), 0, 1)
        return RowGraph(
            torch.from_numpy(soft).float(),
            torch.from_numpy(sureness**CONFIDENCE_POWER).float(),
            torch.from_numpy(self.neighbors),
        )

    def _soft_labels(self, codes):
        n_classes, guess = len(self.shares), None
        if self.tie:
            known = np.flatnonzero(codes[self.classifier.rows] >= 0)
            guess = self.classifier.predict(known)
        soft = _propagate(self.weights, codes, n_classes, self.tie, guess)
        return _scale(soft, codes, self.shares)


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
    known = codes[rows]
    n_neighbors = min(RADIUS_NEIGHBORS, len(rows) - 1)
    index = NearestNeighbors(n_neighbors=n_neighbors).fit(Z[rows])
    # Labels of one class only would say that every row is of it.
    if (known >= 0).all() or len(np.unique(known[known >= 0])) < 2:
        sample = rows[rng.permutation(len(rows))[:RADIUS_ROWS]]
        distances = index.kneighbors(Z[sample], n_neighbors + 1)[0][:, 1:]
        counts = np.bincount(known[known >= 0], minlength=n_classes)
        shares = counts / counts.sum()
        return LabelGraph(rows, known, _radius(distances), shares)
    distances, neighbors = index.kneighbors()
    k = min(N_NEIGHBORS, n_neighbors)
    weights = _affinities(distances[:, :k], neighbors[:, :k])
    shares, tie, classifier = _judge(weights, Z[rows], known, n_classes, rng)
    return LabelGraph(
        rows,
        known,
        _radius(distances),
        shares,
        weights,
        neighbors[:, :k],
        _shape(Z[rows], neighbors, rng),
        tie,
        classifier,
    )


def _choose_rows(codes, rows, rng):
    """Draw as many as the graph may hold: half labelled, more where others are few."""
    if len(rows) <= MAX_GRAPH_ROWS:
        return rows
    order = rng.permutation(rows)
    labeled, unlabeled = order[codes[order] >= 0], order[codes[order] < 0]
    # Some of each class come first, so that a rare one is not lost.
    rank = np.zeros(len(labeled), dtype=int)
    for k in np.unique(codes[labeled]):
        of_class = codes[labeled] == k
        rank[of_class] = np.arange(of_class.sum())
    labeled = labeled[np.argsort(rank >= N_OF_EACH_CLASS, kind="stable")]
    n_labeled = max(MAX_GRAPH_ROWS // 2, MAX_GRAPH_ROWS - len(unlabeled))
    labeled = labeled[:n_labeled]
    unlabeled = unlabeled[: MAX_GRAPH_ROWS - len(labeled)]
    return np.sort(np.concatenate([labeled, unlabeled]))


def _radius(distances):
    """Return 1.2 times the median growth of the distance from first to tenth.

    Where distances concentrate, as in isotropic data of many columns, it is small.
    """
    growth = float(np.median(distances[:, -1] - distances[:, 0]))
    return RADIUS_FACTOR * max(growth, 1e-3)


def _shape(Z, neighbors, rng):
    r"""Return :math:`S = \Lambda^{1/2} V^T` of the neighbours' differences.

    With :math:`V \Lambda V^T` their second moment, scaled to a largest eigenvalue of
    one: the ball is thin where neighbours hardly differ, where classes may be close.
    """
    if Z.shape[1] > MAX_SHAPED:
        return None
    some = rng.permutation(len(Z))[:RADIUS_ROWS]
    moment = np.zeros((Z.shape[1], Z.shape[1]))
    for column in neighbors[some].T:
        difference = (Z[some] - Z[column]).astype(np.float64)
        moment += difference.T @ difference
    variances, directions = np.linalg.eigh(moment)
    relative = np.maximum(variances / max(variances[-1], 1e-300), 1e-9)
    return (directions * np.sqrt(relative)).T.astype(np.float32)


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


def _judge(weights, Z, codes, n_classes, rng):
    """Return class shares and the tie that labelled rows, left out in turn, choose.

    And the classifier of that tie.
    """
    counts = np.bincount(codes[codes >= 0], minlength=n_classes)
    known_shares = counts / counts.sum()
    judges = choose_judges(codes, n_classes, rng)
    if judges is None:
        return known_shares, 0.0, None
    singles = np.flatnonzero((codes >= 0) & (counts[codes] < 2))
    known = np.append(judges, singles)
    classifier = _KernelRidge(Z, known, codes[known], n_classes)
    folds = list(_folds(classifier, codes, len(judges)))
    shares = known_shares
    if (counts >= 2).all():
        views, prospect = _view_left_out(weights, folds, classifier.rows, n_classes)
        shares = estimate_shares(views, codes[judges], prospect, counts, rng)
    guesses = _guess_left_out(weights, folds, classifier.rows, n_classes, shares)
    # The judges hold the classes in the labelled shares.
    guesses *= known_shares / np.maximum(shares, 1e-12)
    guesses /= guesses.sum(axis=2, keepdims=True)
    return shares, TIES[_choose_tie(guesses, codes[judges])], classifier


def _folds(classifier, codes, n_judges):
    """Leave out a fifth of the judges, the first of the classifier's rows, at a time.

    Yield their numbers, the codes that are left, and the classifier's guess by these.
    """
    rows = classifier.rows
    fold = np.full(len(rows), -1)
    fold[:n_judges] = fold_numbers(codes[rows[:n_judges]])
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
    """Return the judges' class probabilities, by tie, when they are left out.

    At the given shares.
    """
    n_judges = sum(len(left_out) for left_out, _, _ in folds)
    guesses = np.empty((len(TIES), n_judges, n_classes))
    for left_out, partly, guess in folds:
        judges = rows[left_out]
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
