"""The task of a joint training: a density and classes from one net."""

from __future__ import annotations

import numpy as np
from torch import nn

from skebm.models._class_features import class_features
from skebm.models._image_rows import check_pixels
from skebm.models._rows import TrainingRows
from skebm.models._specification import Specification
from skebm.models._task import Task
from skebm.networks._build import count_members, resolve_network
from skebm.networks._capabilities import as_ensemble
from skebm.semi_supervised import (
    LabeledTable,
    NetTraining,
    SemiSupervision,
    TermWeights,
    labeled_per_step,
)
from skebm.tables import TableEncoder


def plan_joint(
    specification: Specification,
    rows: TrainingRows,
    encoder: TableEncoder,
    terms: TermWeights,
    known: SemiSupervision | None,
    rng: np.random.RandomState,
) -> tuple[Task, SemiSupervision]:
    """Return the task of a joint training, and what was learnt for it beforehand.

    Parameters
    ----------
    specification : Specification
        The options; the net has an output a class.
    rows : TrainingRows
        With class indices.
    encoder : TableEncoder
        Of the table. Neighbours and small nets take its categories as indicators, and
        the mean where an entry is missing.
    terms : TermWeights
        Weights of the terms of the objective.
    known : SemiSupervision or None
        That of an earlier fit, which goes on; None learns it from the rows.
    rng : RandomState
        Source of randomness.
    """
    rows = rows.visiting(specification.n_visited(len(rows.train)), rng)
    assert rows.y is not None
    builder, n_classes = resolve_network(specification.network), specification.n_outputs
    check_pixels(builder, encoder)
    x = class_features(encoder, rows.z)
    n_members = count_members(builder, x.shape[1], n_classes)
    n_steps = specification.n_steps(len(rows.train))
    table = LabeledTable(x, rows.y, rows.weight, rows.train)
    if known is None:
        training = NetTraining(
            n_members,
            specification.learning_rate,
            n_steps,
            specification.torch_device,
        )
        learnt, label_graph, taught = SemiSupervision.learn(
            table, n_classes, terms, training, rng
        )
        graph = learnt.row_graph(label_graph, len(x), n_members)
    else:
        learnt, given = known.with_terms(terms), (x, rows.y, rows.train)
        graph = learnt.graph_of(*given, n_members=n_members, rng=rng)
        taught = learnt.teach(table, terms, rng)
    n_labels = int((rows.y[rows.train.numpy()] >= 0).sum())
    n_labeled = labeled_per_step(n_labels, n_steps, specification.batch_size)

    def weigh_members(network: nn.Module) -> None:
        ensemble = as_ensemble(network)
        if ensemble is not None:
            ensemble.weigh(learnt.member_weights(n_members))

    task = Task(
        specification,
        rows.beside(n_labeled, graph, taught),
        learnt.objective(specification.objective, terms, n_members),
        prepare=weigh_members,
    )
    return task, learnt
