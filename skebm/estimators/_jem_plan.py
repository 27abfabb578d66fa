"""The plan of a semi-supervised training: all that it needs, learnt beforehand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from skebm.models import MAX_HELD_OUT, Specification, TrainingRows, keep_all
from skebm.networks._build import count_members, resolve_network
from skebm.objectives import Joint
from skebm.semi_supervised import SemiSupervision, labeled_per_step
from skebm.tables import TableEncoder


@dataclass(frozen=True)
class TrainingPlan:
    """All that the training of a classifier needs."""

    specification: Specification
    encoder: TableEncoder
    rows: TrainingRows
    objective: Joint
    semi_supervision: SemiSupervision
    n_members: int
    classes: np.ndarray
    rng: np.random.RandomState

    @classmethod
    def of(cls, specification, encoder, rows, terms, known, classes, rng):
        """Learn from the rows what is not yet known of semi-supervision."""
        builder = resolve_network(specification.network)
        n_members = count_members(builder, rows.z.shape[1], len(classes))
        n_steps = specification.n_steps(len(rows.train))
        batch_size = specification.batch_size
        n_labels = int((rows.y[rows.train.numpy()] >= 0).sum())
        n_labeled = labeled_per_step(n_labels, n_steps, batch_size)
        given = rows.z, rows.y
        if known is None:
            learnt, label_graph = SemiSupervision.learn(
                *given,
                rows.weight,
                rows.train,
                n_classes=len(classes),
                terms=terms,
                n_members=n_members,
                learning_rate=specification.learning_rate,
                n_steps=n_steps,
                device=specification.torch_device,
                rng=rng,
            )
            graph = learnt.row_graph(label_graph, len(rows.z), n_members)
        else:
            learnt = known.with_terms(terms)
            graph = learnt.graph_of(*given, rows.train, n_members=n_members, rng=rng)
        return cls(
            specification,
            encoder,
            rows.beside(n_labeled, graph),
            learnt.objective(specification.objective, terms, n_members),
            learnt,
            n_members,
            classes,
            rng,
        )

    def parts(self):
        """Return what a first fit takes."""
        return self.specification, self.encoder, self.rows, self.objective, self.rng

    def parts_that_go_on(self):
        """Return what a further training takes."""
        return self.specification, self.rows, self.objective, self.rng

    def prepare(self, network):
        """Give the members of an ensemble their weights."""
        if self.n_members > 1:
            network.weigh(self.semi_supervision.member_weights(self.n_members))

    @property
    def learnt(self):
        """The attributes of the estimator that tell what was learnt."""
        said = self.semi_supervision
        return {
            "classes_": self.classes,
            "role_weights_": said.role_weights,
            "temperature_": said.temperature,
            "class_shares_": said.class_priors,
            "vat_radius_": said.radius,
            "_semi_supervision": said,
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
