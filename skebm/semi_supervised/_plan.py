"""Semi-supervision of a classifier: graph, class priors, weights and temperature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skebm.objectives import ROLES, Joint, Objective, Roles, share_out
from skebm.semi_supervised.graph._graph import LabelGraph, build
from skebm.semi_supervised.labels._class_shares import ClassShares
from skebm.semi_supervised.learners._experts import Expertise, Lessons
from skebm.semi_supervised.stacking._role_weights import prior_weights
from skebm.semi_supervised.stacking._stacking import (
    NetTraining,
    Stacking,
    StackingWeights,
)
from skebm.training import RowGraph
from skebm.utils import draw_seed, phase

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

MIN_LABELED_PER_STEP = 64
LABELED_PASSES = 20


@dataclass(frozen=True)
class TermWeights:
    """Weights of the terms of the joint objective, from an estimator's options.

    Attributes
    ----------
    classification : float
        Of the cross-entropy on labelled rows.
    graph : float or "auto"
        Of the cross-entropy with the soft labels of the graph; "auto" becomes the
        weight of the classification.
    prediction_entropy, vat, balance : float
        Of the terms of consistency.
    vat_radius : float or "auto"
        Length of the virtual adversarial perturbation; "auto" is the graph's.
    stacking : bool, default=True
        Whether held-out labels weigh the roles.
    class_weights : tuple of float or None, default=None
        Weights of the classes in the cross-entropy.
    """

    classification: float
    graph: float | str
    prediction_entropy: float
    vat: float
    vat_radius: float | str
    balance: float
    stacking: bool = True
    class_weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.graph == "auto":
            object.__setattr__(self, "graph", self.classification)

    @property
    def given_radius(self) -> float | None:
        """Length of the perturbation where it is given, None where it is learnt."""
        return None if self.vat_radius == "auto" else float(self.vat_radius)

    def roles(self, has_graph: bool) -> list[str]:
        """Return the roles whose losses the weights, and the graph, allow.

        Parameters
        ----------
        has_graph : bool
            Whether the graph has edges.
        """
        has_terms = {
            "graph": has_graph and self.graph != 0,
            "consistency": any((self.prediction_entropy, self.vat, self.balance)),
        }
        lacking = [name for name, there in has_terms.items() if not there]
        return [role for role in ROLES if not any(name in role for name in lacking)]


@dataclass(frozen=True, eq=False)
class LabeledTable:
    """Standardised rows, their labels and weights, and which rows are trained on.

    Attributes
    ----------
    z : Tensor of shape (n, n_features)
        Standardised rows, on the CPU.
    y : Tensor or ndarray of int of shape (n,)
        Class indices, -1 where unlabelled.
    weight : Tensor of shape (n,) or None
        Sample weights, of mean one.
    train : Tensor of int of shape (n_train,)
        Indices of the training rows.
    """

    z: Tensor
    y: Tensor | Indices
    weight: Tensor | None
    train: Tensor


@dataclass(frozen=True, eq=False)
class SemiSupervision:
    """Class priors, weights of roles and a temperature, learnt before the net.

    Attributes
    ----------
    class_priors : ndarray of shape (n_classes,)
        Estimated class frequencies of the unlabelled rows.
    believed_priors : tuple of float or None
        The same where they differ from those of the labelled rows, for the balance
        term; None leaves the class priors to the net.
    radius : float
        Length of the virtual adversarial perturbation, in standardised units.
    shape : ndarray of shape (n_features, n_features) or None
        Matrix that shapes the perturbation; None keeps the ball round.
    role_weights : dict of str to float
        Weights of the roles of ensemble members, in the order of `ROLES`; of sum one.
    temperature : float
        By which the logits are divided in p(y|x).
    expertise : Expertise or None, default=None
        The mixture of simple learners and small nets that teaches the supervised role;
        None where the labels do.
    class_priors_interval : ndarray of shape (n_classes, 2) or None, default=None
        Lower and upper ends of 90 % intervals; None in states that had none.
    """

    class_priors: Array
    believed_priors: tuple[float, ...] | None
    radius: float
    shape: NDArray[np.float32] | None
    role_weights: dict[str, float]
    temperature: float
    expertise: Expertise | None = None
    class_priors_interval: Array | None = None

    @classmethod
    def learn(
        cls,
        table: LabeledTable,
        n_classes: int,
        terms: TermWeights,
        training: NetTraining,
        rng: np.random.RandomState,
    ) -> tuple[SemiSupervision, LabelGraph, Tensor | None]:
        """Build the graph of the training rows, and weigh the roles by held-out labels.

        Parameters
        ----------
        table : LabeledTable
            Rows with their labels.
        n_classes : int
            Number of classes.
        terms : TermWeights
            Weights of the objective's terms.
        training : NetTraining
            Size and training of the net that follows.
        rng : RandomState
            Seeds the graph, then the stacking.

        Returns
        -------
        semi_supervision : SemiSupervision
        graph : LabelGraph
            Of the training rows; see `row_graph`.
        taught : Tensor of shape (n, n_classes) or None
            Class probabilities that the supervised role learns, 0 where a row is not
            trained on.
            None where the labels teach it.
        """
        y, train = np.asarray(table.y), np.asarray(table.train)
        with phase("graph"):
            graph = build(table.z.numpy(), y, train, n_classes, rng)
        radius = terms.given_radius
        learnt = cls(
            class_priors=graph.class_priors,
            believed_priors=_differing_priors(graph),
            radius=graph.radius if radius is None else radius,
            shape=graph.shape,
            role_weights=dict.fromkeys(ROLES, 0.0),
            temperature=1.0,
        )
        active = terms.roles(has_graph=graph.edges is not None)
        if terms.stacking:
            stacking = Stacking(learnt._joint(None, terms, None), active, training)
            stacked = stacking.fit(table.z, table.weight, graph, rng)
        else:
            stacked = StackingWeights(prior_weights([_fullest_role(active)]))
        shares = stacked.class_shares
        if shares is not None:
            graph = graph.with_class_priors(shares.shares)
        elif (graph.y >= 0).all():
            shares = ClassShares.exact(graph.class_priors)
        else:
            shares = ClassShares.unknown(graph.class_priors)
        learnt = replace(
            learnt,
            class_priors=graph.class_priors,
            believed_priors=_differing_priors(graph),
            role_weights=stacked.weights,
            temperature=stacked.temperature,
            expertise=stacked.expertise,
            class_priors_interval=shares.interval,
        )
        return learnt, graph, _by_row(stacked.taught, graph, len(y))

    def with_terms(self, terms: TermWeights) -> SemiSupervision:
        """Return a copy with the radius of other terms; "auto" keeps this one."""
        radius = terms.given_radius
        return self if radius is None else replace(self, radius=radius)

    def row_graph(
        self, graph: LabelGraph, n_rows: int, n_members: int
    ) -> RowGraph | None:
        """Return the graph by row indices of the table, None where no member uses it.

        Parameters
        ----------
        graph : LabelGraph
            Of the training rows.
        n_rows : int
            Rows of the table.
        n_members : int
            Number of classifiers in the net.
        """
        if not self.roles(n_members).n_on_graph:
            return None
        return graph.of_table(n_rows)

    def graph_of(
        self,
        z: Tensor,
        y: Tensor | Indices,
        train: Tensor,
        *,
        n_members: int,
        rng: np.random.RandomState,
    ) -> RowGraph | None:
        """Build the graph of other rows, to go on training; learn nothing else.

        Parameters
        ----------
        z, y, train
            As in `LabeledTable`.
        n_members : int
            Number of classifiers in the net.
        rng : RandomState
            Seeds the graph; nothing is drawn where no graph is needed.
        """
        y = np.asarray(y)
        if (y >= 0).all() or not self.roles(n_members).n_on_graph:
            return None
        n_classes = len(self.class_priors)
        graph = build(z.numpy(), y, np.asarray(train), n_classes, rng)
        return self.row_graph(graph, len(z), n_members)

    def teach(
        self, table: LabeledTable, terms: TermWeights, rng: np.random.RandomState
    ) -> Tensor | None:
        """Return what simple learners teach on other rows, to go on training.

        None where the labels do: no learner was weighed, or the labels are less than
        half as many as there were, or a class has none.
        """
        rows = np.asarray(table.train)
        y, n_classes = np.asarray(table.y)[rows], len(self.class_priors)
        counts = np.bincount(y[y >= 0], minlength=n_classes)
        if self.expertise is None or counts.min() < 1 or (y >= 0).all():
            return None
        if 2 * counts.sum() < self.expertise.n_labels:
            return None
        weight = None if table.weight is None else table.weight[table.train]
        given = table.z[table.train], y, n_classes, weight, terms.class_weights
        lessons = Lessons.of(*given, draw_seed(rng))
        taught = np.zeros((len(table.z), n_classes), dtype=np.float32)
        predicted = lessons.predict(y, np.arange(len(rows)))
        taught[rows] = self.expertise.mix(predicted)
        return torch.from_numpy(taught)

    def objective(
        self, density: Objective | None, terms: TermWeights, n_members: int
    ) -> Joint:
        """Return the joint objective of the net.

        Parameters
        ----------
        density : Objective or None
            Objective of the density; None trains the classifier alone.
        terms : TermWeights
            Weights of the terms; a radius given here takes the place of the learnt one.
        n_members : int
            Number of classifiers in the net.
        """
        return self.with_terms(terms)._joint(density, terms, self.roles(n_members))

    def _joint(
        self, density: Objective | None, terms: TermWeights, roles: Roles | None
    ) -> Joint:
        return Joint(
            density,
            classification_weight=terms.classification,
            graph_weight=float(terms.graph),
            prediction_entropy_weight=terms.prediction_entropy,
            vat_weight=terms.vat,
            vat_radius=self.radius,
            vat_shape=None if self.shape is None else torch.from_numpy(self.shape),
            balance_weight=terms.balance,
            class_shares=self.believed_priors,
            class_weights=terms.class_weights,
            roles=roles,
        )

    def roles(self, n_members: int) -> Roles:
        """Return the roles of the members of an ensemble of this size."""
        return self._share_out(n_members)[0]

    def member_weights(self, n_members: int) -> list[float]:
        """Return the weights of an ensemble's members in the mean of p(y|x)."""
        return self._share_out(n_members)[1]

    def _share_out(self, n_members: int) -> tuple[Roles, list[float]]:
        return share_out([self.role_weights[role] for role in ROLES], n_members)

    def to_arrays(self) -> dict[str, Any]:
        """Return the fields as arrays, numbers, lists and dicts."""
        priors = self.believed_priors
        listed = None if priors is None else list(priors)
        return asdict(self) | {"believed_priors": listed}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> SemiSupervision:
        """Return the value that `to_arrays` took apart."""
        priors = arrays["believed_priors"]
        believed = None if priors is None else tuple(priors)
        expertise = arrays.get("expertise")  # states of format 1 may lack it
        expertise = None if expertise is None else Expertise(**expertise)
        interval = arrays.get("class_priors_interval")
        if interval is None:
            interval = ClassShares.unknown(np.asarray(arrays["class_priors"])).interval
        changed = {
            "believed_priors": believed,
            "expertise": expertise,
            "class_priors_interval": interval,
        }
        return cls(**{**arrays, **changed})


def _by_row(taught: Array | None, graph: LabelGraph, n_rows: int) -> Tensor | None:
    """Return what is taught by row of the table; 0 at rows not trained on."""
    if taught is None:
        return None
    by_row = np.zeros((n_rows, taught.shape[1]), dtype=np.float32)
    by_row[np.concatenate([graph.rows, graph.other_rows])] = taught
    return torch.from_numpy(by_row)


def _differing_priors(graph: LabelGraph) -> tuple[float, ...] | None:
    """Return the graph's class priors unless those of the labelled rows are the same.

    None as well where a class has no label: unlabelled rows may be of it all the same.
    """
    counts = np.bincount(graph.y[graph.y >= 0], minlength=len(graph.class_priors))
    if not counts.all() or np.allclose(graph.class_priors, counts / counts.sum()):
        return None
    return tuple(graph.class_priors.tolist())


def _fullest_role(active: Sequence[str]) -> str:
    """Return the role that trains with the most terms."""
    return ROLES[1] if ROLES[1] in active else active[0]


def labeled_per_step(n_labels: int, n_steps: int, batch_size: int) -> int:
    """Return how many labelled rows a step takes: each is seen twenty times."""
    wanted = -(-LABELED_PASSES * n_labels // n_steps)
    return max(MIN_LABELED_PER_STEP, min(wanted, batch_size))
