"""Simple learners beside the small nets, which together teach the supervised role."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from skebm.semi_supervised.labels._held_out_labels import HeldOutLabels
from skebm.semi_supervised.learners._clusters import ClusterClassifier, Clusters
from skebm.semi_supervised.learners._views import Views

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

#: Most labelled rows that a simple learner is fitted to: with more the nets are better.
MAX_LABELED = 2000
N_TREES = 100
#: Labels in a leaf of boosted trees: scikit-learn's 20 make them constant where labels
#: are few.
BOOSTED_LEAF_ROWS = 5
#: Boosted trees of all classes together: there is one a class and round.
N_BOOSTED = 300
MAX_ROUNDS = 50
#: C of the linear model, less than scikit-learn's default: labels are few.
INVERSE_RIDGE = 0.3
#: Features of the linear model end here, in standard deviations: a wild value among few
#: labels would turn it.
LINEAR_RANGE = 3.0
#: Rows that show how columns are distributed, and rows that are predicted at once.
MAX_SEEN, CHUNK_ROWS = 10_000, 10_000
#: Views of the rows side by side that the linear model takes, and the clusters.
N_VIEWS = 2


def make_experts(seed: int, clusters: Clusters, n_classes: int = 2) -> dict[str, Any]:
    """Return the unfitted learners by name.

    The forest is the better one where many columns say little, as indicators of
    categories do; trees with random cuts where columns are numbers; boosted trees where
    few columns say all; clusters where unlabelled rows show the classes.
    """
    trees_a_round = n_classes if n_classes > 2 else 1
    return {
        "linear": LogisticRegression(C=INVERSE_RIDGE, max_iter=300),
        "forest": RandomForestClassifier(N_TREES, random_state=seed),
        "extra trees": ExtraTreesClassifier(N_TREES, random_state=seed),
        "boosted trees": HistGradientBoostingClassifier(
            min_samples_leaf=BOOSTED_LEAF_ROWS,
            max_iter=min(MAX_ROUNDS, N_BOOSTED // trees_a_round + 1),
            early_stopping=False,
            random_state=seed,
        ),
        "clusters": ClusterClassifier(clusters, N_VIEWS),
    }


#: Names of the learners.
EXPERTS = tuple(make_experts(0, Clusters([])))


@dataclass(frozen=True, eq=False)
class Lessons:
    """The rows and labels from which simple learners are fitted.

    Attributes
    ----------
    x : ndarray of shape (n, n_features)
        Features of the rows.
    y : ndarray of int of shape (n,)
        Class indices, -1 where unlabelled.
    n_classes : int
        Number of classes.
    weight : ndarray of shape (n,)
        Weights of the rows, those of their classes included.
    seed : int
        Of trees and clusters, and of the choice of rows where there are too many.
    """

    x: NDArray[np.float32]
    y: Indices
    n_classes: int
    weight: Array
    seed: int

    @classmethod
    def of(
        cls,
        x: Tensor,
        y: Indices,
        n_classes: int,
        weight: Tensor | None,
        class_weights: tuple[float, ...] | None,
        seed: int,
    ) -> Self:
        """Return the lessons of rows, weighed as in training."""
        weights = np.ones(len(x)) if weight is None else weight.double().numpy()
        if class_weights is not None:
            weights = weights * np.array(class_weights)[y]
        return cls(x.numpy(), y, n_classes, weights, seed)

    @cached_property
    def views(self) -> Views:
        """Ranks of the columns."""
        order = np.random.RandomState(self.seed).permutation(len(self.x))
        return Views.fit(self.x[order[:MAX_SEEN]].astype(float))

    @cached_property
    def clusters(self) -> Clusters:
        """Mixtures of the rows, each column as a number and as a normal score."""
        order = np.random.RandomState(self.seed).permutation(len(self.x))
        both = self.features("clusters", self.x[order[:MAX_SEEN]])
        return Clusters.fit(np.hsplit(both, N_VIEWS), self.n_classes, self.seed)

    def predict(
        self, y: Indices, rows: Indices, names: Sequence[str] = EXPERTS
    ) -> dict[str, Array]:
        """Return p(y | x) of some rows by some learners after a fit to labels y."""
        return self.learn(y, names).predict(self.x, rows)

    def learn(self, y: Indices, names: Sequence[str] = EXPERTS) -> Learners:
        """Return some learners after a fit to labels y."""
        labeled = np.flatnonzero((y >= 0) & (self.weight > 0))
        if len(labeled) > MAX_LABELED:
            order = np.random.RandomState(self.seed).permutation(len(labeled))
            labeled = labeled[order[:MAX_LABELED]]
        found = np.unique(y[labeled])
        experts = make_experts(self.seed, self.clusters, self.n_classes)
        if len(found) > 1:
            for name in names:
                x = self.features(name, self.x[labeled])
                _fit(experts[name], x, y[labeled], self.weight[labeled])
        return Learners(self, {name: experts[name] for name in names}, found)

    def features(self, name: str, x: NDArray[np.float32]) -> NDArray[Any]:
        """Return the features of rows x that a learner takes."""
        if name not in ("linear", "clusters"):
            return x
        numbers = x.clip(-LINEAR_RANGE, LINEAR_RANGE) if name == "linear" else x
        both = np.hstack([numbers, self.views.see(x.astype(float))["scores"]])
        return both / np.sqrt(N_VIEWS) if name == "linear" else both

    def predict_held_out(self, held_out: HeldOutLabels) -> Array:
        """Return p(y | x) of held-out rows, shape (n_experts, n, n_classes)."""
        predicted = np.empty((len(EXPERTS), len(held_out), self.n_classes))
        for fold in range(held_out.n_folds):
            place = np.flatnonzero(held_out.folds == fold)
            known = held_out.hide(self.y, fold)
            by_name = self.predict(known, held_out.rows[place])
            predicted[:, place] = np.stack([by_name[name] for name in EXPERTS])
        return predicted


@dataclass(frozen=True, eq=False)
class Learners:
    """Simple learners that were fitted.

    Attributes
    ----------
    lessons : Lessons
        What they were fitted from.
    experts : dict of str to classifier
        The learners by name.
    classes : ndarray of int
        The class indices of their labels; learners of one class were not fitted.
    """

    lessons: Lessons
    experts: dict[str, Any]
    classes: Indices

    def predict(self, x: NDArray[np.float32], rows: Indices) -> dict[str, Array]:
        """Return p(y | x) of some rows of a table x by each learner."""
        predicted = {}
        for name, expert in self.experts.items():
            probability = np.full((len(rows), self.lessons.n_classes), 1e-9)
            if len(self.classes) == 1:
                probability[:, self.classes] = 1.0
            else:
                for start in range(0, len(rows), CHUNK_ROWS):
                    some = slice(start, start + CHUNK_ROWS)
                    features = self.lessons.features(name, x[rows[some]])
                    by_class = expert.predict_proba(features)
                    probability[some, expert.classes_] += by_class
            predicted[name] = probability / probability.sum(axis=1, keepdims=True)
        return predicted


def _fit(expert: Any, x: NDArray[Any], y: Indices, weight: Array) -> None:
    """Fit a learner; as many classes as labels are no regression."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The number of unique classes is greater")
        expert.fit(x, y, weight)


@dataclass(frozen=True)
class Expertise:
    """How far a mixture of simple learners, and of small nets, is trusted.

    Attributes
    ----------
    weights : dict of str to float
        Weights of "net" and of the learners, by their names; of sum one.
    temperatures : dict of str to float
        By which their log probabilities are divided.
    n_labels : int
        Labels that the mixture was made of.
    """

    weights: dict[str, float]
    temperatures: dict[str, float]
    n_labels: int

    def mix(self, predicted: Mapping[str, Array]) -> Array:
        """Return the mixture of those predictions that are there, (n, n_classes)."""
        total, mixed = 0.0, np.zeros(())
        for name in [name for name in self.weights if name in predicted]:
            sharp = predicted[name] ** (1 / self.temperatures[name])
            sharp = sharp / sharp.sum(axis=1, keepdims=True)
            mixed = mixed + self.weights[name] * sharp
            total += self.weights[name]
        return mixed / total
