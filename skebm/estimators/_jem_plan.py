"""The plan of a semi-supervised training: all that it needs, learnt beforehand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from skebm.models import MAX_HELD_OUT, Task, keep_all
from skebm.networks._build import count_members, resolve_network
from skebm.semi_supervised import (
    LabeledTable,
    NetTraining,
    SemiSupervision,
    labeled_per_step,
)
from skebm.tables import TableEncoder


@dataclass(frozen=True)
class TrainingPlan:
    """The training of a classifier, and what was learnt for it.

    Attributes
    ----------
    task : Task
        The training.
    encoder : TableEncoder
        Of the table.
    semi_supervision : SemiSupervision
        Graph, class priors, weights and temperature learnt beforehand.
    classes : ndarray of shape (n_classes,)
        The classes.
    rng : RandomState
        Source of randomness.
    """

    task: Task
    encoder: TableEncoder
    semi_supervision: SemiSupervision
    classes: np.ndarray
    rng: np.random.RandomState

    @classmethod
    def of(cls, specification, encoder, rows, terms, known, classes, rng):
        """Learn from the rows what is not yet known of semi-supervision.

        Parameters
        ----------
        specification, encoder, rows
            The options and the table.
        terms : TermWeights
            Weights of the terms of the objective.
        known : SemiSupervision or None
            That of an earlier fit, which goes on.
        classes : ndarray of shape (n_classes,)
            The classes.
        rng : RandomState
            Source of randomness.
        """
        builder = resolve_network(specification.network)
        n_members = count_members(builder, rows.n_features, len(classes))
        n_steps = specification.n_steps(len(rows.train))
        if known is None:
            training = NetTraining(
                n_members,
                specification.learning_rate,
                n_steps,
                specification.torch_device,
            )
            table = LabeledTable(rows.z, rows.y, rows.weight, rows.train)
            learnt, label_graph = SemiSupervision.learn(
                table, len(classes), terms, training, rng
            )
            graph = learnt.row_graph(label_graph, len(rows.z), n_members)
        else:
            learnt, given = known.with_terms(terms), (rows.z, rows.y, rows.train)
            graph = learnt.graph_of(*given, n_members=n_members, rng=rng)
        n_labels = int((rows.y[rows.train.numpy()] >= 0).sum())
        n_labeled = labeled_per_step(n_labels, n_steps, specification.batch_size)

        def weigh_members(network):
            if n_members > 1:
                network.weigh(learnt.member_weights(n_members))

        task = Task(
            specification,
            rows.beside(n_labeled, graph),
            learnt.objective(specification.objective, terms, n_members),
            prepare=weigh_members,
        )
        return cls(task, encoder, learnt, classes, rng)

    @property
    def learnt(self):
        """The attributes of the estimator that tell what was learnt."""
        learnt = self.semi_supervision
        return {
            "classes_": self.classes,
            "role_weights_": learnt.role_weights,
            "temperature_": learnt.temperature,
            "class_shares_": learnt.class_priors,
            "vat_radius_": learnt.radius,
            "_semi_supervision": learnt,
        }


def labeled_split(indices, fraction, by_labels):
    """Return the split that holds out a fraction of the rows.

    Parameters
    ----------
    indices : ndarray of int of shape (n,)
        Class indices, -1 where unlabelled.
    fraction : float
        Share of the rows held out.
    by_labels : bool
        Whether labelled rows alone are held out, the fraction of each class.
    """
    hold_out = _hold_out_labels if by_labels else _hold_out_rows

    def split(n_rows, rng):
        held_out = hold_out(indices, fraction, rng)
        if not held_out.any():
            return keep_all(n_rows, rng)
        everything = torch.arange(n_rows)
        return everything[~held_out], everything[held_out]

    return split


def _hold_out_labels(indices, fraction, rng):
    """Return a mask of a fraction of the labelled rows of each class."""
    held_out = np.zeros(len(indices), dtype=bool)
    for k in range(indices.max() + 1):
        rows = rng.permutation(np.flatnonzero(indices == k))
        share = min(max(1, round(fraction * len(rows))), MAX_HELD_OUT)
        held_out[rows[:share]] = True
    return held_out


def _hold_out_rows(indices, fraction, rng):
    """Return a mask of a fraction of the rows; one of each class stays in training."""
    held_out = np.zeros(len(indices), dtype=bool)
    order = rng.permutation(len(indices))
    first_of_class = np.unique(indices[order], return_index=True)[1]
    # Taken from the other end, the class frequencies hold.
    order = np.delete(order, first_of_class)[::-1]
    held_out[order[: min(round(fraction * len(indices)), MAX_HELD_OUT)]] = True
    return held_out
