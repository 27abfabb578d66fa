"""What `JEMRegressor` plans before it trains."""

from __future__ import annotations

import numpy as np

from skebm.estimators._encoding import fit_encoder
from skebm.estimators._input import keep_observed
from skebm.estimators._number_labels import check_enough
from skebm.evaluation import AutoNormalizer
from skebm.models import Specification, Task, TrainingRows, split_at_random

#: Steps of a fit whose `max_iter` is "auto".
N_AUTO_STEPS = 1500
#: Beyond, annealing would take longer than all the rest of the fit.
MAX_ANNEALED_COLUMNS = 128


def plan_regression(options, labeled, rng):
    """Return the training of the density of x, the encoder, and labels of its rows.

    Parameters
    ----------
    options : JEMRegressor
        The options.
    labeled : Labeled
        The rows, and numbers y, NaN where unknown.
    rng : RandomState
        Source of randomness.

    Raises
    ------
    ValueError
        Where fewer than two labels are known.
    """
    read = labeled.read
    specification = Specification.of(
        options,
        read.table.shape[1],
        n_auto_steps=N_AUTO_STEPS,
        auto_normalizer=AutoNormalizer(max_features=MAX_ANNEALED_COLUMNS),
    )
    encoder = fit_encoder(read, specification, sentinels=options.sentinels)
    # Rows of codes alone are left out as rows of NaN alone are.
    table = encoder.without_codes(read.table)
    y = labeled.y[~np.isnan(table).all(axis=1)]
    check_enough(y)
    table, weight = keep_observed(table, read.weight, read.names, min_rows=1)
    split = split_at_random(options.early_stopping, options.validation_fraction)
    rows = TrainingRows.of(encoder, table, rng, split=split, sample_weight=weight)
    return Task(specification, rows, specification.objective), encoder, y
