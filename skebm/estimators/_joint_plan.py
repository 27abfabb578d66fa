"""What `JEMClassifier` reads and plans before it trains."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from sklearn.utils import _safe_indexing

from skebm.estimators._checkpoint import fresh_start
from skebm.estimators._class_labels import Labeled, class_weights
from skebm.estimators._encoding import fit_encoder
from skebm.estimators._input import (
    keep_observed,
    keep_weighted,
)
from skebm.evaluation import AutoNormalizer
from skebm.models import (
    Specification,
    Task,
    TrainingRows,
    check_goes_on,
    keep_all,
    labeled_split,
    plan_joint,
)
from skebm.semi_supervised import SemiSupervision, TermWeights
from skebm.tables import TableEncoder

#: Steps of a fit whose `max_iter` is "auto".
N_AUTO_STEPS = 1200
#: Least scale of a column, as a share of its range.
RANGE_SHARE = 0.5
#: Beyond, annealing would take longer than all the rest of the fit.
MAX_ANNEALED_COLUMNS = 128


@dataclass(frozen=True)
class JointPlan:
    """A training, and what was learnt for it beforehand."""

    task: Task
    encoder: TableEncoder
    semi_supervision: SemiSupervision
    rng: np.random.RandomState

    def learnt(self, classes, read):
        """Return the attributes of the estimator that were learnt, by name."""
        learnt = self.semi_supervision
        return {
            "classes_": classes,
            "role_weights_": learnt.role_weights,
            "temperature_": learnt.temperature,
            "class_shares_": learnt.class_priors,
            "vat_radius_": learnt.radius,
            "is_categorical_": read.reader.is_categorical,
            "_semi_supervision": learnt,
        }


def held_out_split(model, by_labels):
    """Return the split of labelled rows into those trained on and those held out."""
    if not model.early_stopping or not (by_labels or model.objective is not None):
        return lambda _: keep_all
    fraction = model.validation_fraction
    return partial(labeled_split, fraction=fraction, by_labels=by_labels)


def keep_labeled(read, y, sample_weight, min_rows):
    """Return the rows that count, with labels and weights, and all rows.

    Rows of weight zero don't count, nor rows without any entry.
    """
    table, labels, weight = keep_weighted(read.table, y, sample_weight, min_rows)
    rows = np.flatnonzero(~np.isnan(table).all(axis=1))
    if len(rows) < len(table):
        labels = _safe_indexing(labels, rows)
    table, weight = keep_observed(table, weight, read.names, min_rows)
    return Labeled(replace(read, table=table, weight=weight), labels, read.table, y)


def plan_training(options, read, indices, classes, fitted, known, split_of, start=None):
    """Return the plan of a training.

    Parameters
    ----------
    options : JEMClassifier
        The options.
    read : Read
        The rows.
    indices : ndarray of int of shape (n,)
        Their class indices, -1 where unlabelled.
    classes : ndarray of shape (n_classes,)
        The classes.
    fitted : FittedModel or None
        The model that is trained further; None begins anew.
    known : SemiSupervision or None
        What its first fit learnt.
    split_of : callable
        Returns, of the class indices of the rows that count, what splits them into
        those trained on and those held out.
    start : Start or None, default=None
        Where a fit begins; None begins by the random state of the options.
    """
    specification = Specification.of(
        options,
        read.table.shape[1],
        len(classes),
        n_auto_steps=N_AUTO_STEPS,
        auto_normalizer=AutoNormalizer(max_features=MAX_ANNEALED_COLUMNS),
    )
    start = start or fresh_start(options, read.table, indices)
    rng = start.rng
    if fitted is None:
        encoder, tie_scale = _fit_encoder(read, specification, options), None
    else:
        encoder, tie_scale = fitted.encoder, fitted.assembly.tie_scale
    # Rows of codes alone are left out as rows of NaN alone are.
    table = encoder.without_codes(read.table)
    indices = indices[~np.isnan(table).all(axis=1)]
    table, weight = keep_observed(table, read.weight, read.names, min_rows=1)
    rows = TrainingRows.of(
        encoder,
        table,
        rng,
        split=split_of(indices),
        y=indices,
        sample_weight=weight,
        tie_scale=tie_scale,
    )
    if fitted is not None:
        specification = check_goes_on(fitted, specification, rows.z, read.names)
    terms = _term_weights(options, indices, classes)
    task, learnt = plan_joint(specification, rows, encoder, terms, known, rng)
    task = replace(task, checkpoints=start.checkpoints)
    return JointPlan(task, encoder, learnt, rng)


def _fit_encoder(read, specification, options):
    return fit_encoder(
        read,
        specification,
        range_share=RANGE_SHARE,
        numbers_determine=False,
        sentinels=options.sentinels,
    )


def _term_weights(options, indices, classes):
    return TermWeights(
        classification=options.classification_weight,
        graph=options.graph_weight,
        prediction_entropy=options.prediction_entropy_weight,
        vat=options.vat_weight,
        vat_radius=options.vat_radius,
        balance=options.balance_weight,
        stacking=options.stacking,
        class_weights=class_weights(options.class_weight, indices, classes),
    )
