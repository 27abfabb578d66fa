"""Whether a training ended in a model: its outputs are finite, and q0 is not better."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from skebm.evaluation import ImportanceSampling
from skebm.exceptions import DivergenceError
from skebm.models._fitted import FittedModel, estimate_log_normalizer
from skebm.models._splits import MAX_HELD_OUT
from skebm.models._task import Task

#: Least gain over the reference, in nats: noise of training and of log Z stays above.
MIN_GAIN = -1.0
#: The same of a classifier, whose labels may pull at the density.
MIN_CLASSIFIER_GAIN = -20.0
#: Draws of the estimate of log Z by which densities and classifiers are judged that ask
#: for it later: more meet a narrow minimum of the energy.
N_DRAWS, N_CLASSIFIER_DRAWS = 20_000, 4096


def check_finite(fitted: FittedModel, task: Task) -> FittedModel:
    """Return the model.

    Raises
    ------
    DivergenceError
        Where an output of its net is not finite at a row that was trained on.
    """
    z = np.nan_to_num(task.rows.z[:MAX_HELD_OUT].numpy())
    outputs = fitted.net_energy(z)
    if fitted.specification.n_outputs > 1:
        outputs = fitted.class_logits(z, 1.0)
    if np.isfinite(outputs).all():
        return fitted
    raise _diverged(fitted, "whose outputs are not finite")


def check_gain(fitted: FittedModel, task: Task) -> FittedModel:
    """Return the model, with a note where a KeyboardInterrupt ended the check.

    Held-out rows would have kept a better state; without them nothing else does.

    Raises
    ------
    DivergenceError
        Where q0 alone is better by far than what was learnt.
    """
    specification = fitted.specification
    if specification.objective is None or fitted.energy_model.is_normalized:
        return fitted
    is_density = specification.n_outputs == 1
    if is_density and specification.normalizer is None:
        return fitted
    is_watched = task.rows.held_out is not None
    try:
        gain = _gain(fitted, task.rows.z[:MAX_HELD_OUT].numpy(), is_watched)
    except FloatingPointError as error:
        raise _diverged(fitted, f"where {error}") from error
    except KeyboardInterrupt:
        what = "the estimation of log Z; the next scoring does it"
        outcome = fitted.outcome
        interruptions = (*outcome.interruptions, what)
        return replace(fitted, outcome=replace(outcome, interruptions=interruptions))
    if gain < (MIN_GAIN if is_density else MIN_CLASSIFIER_GAIN):
        nats = f"{-gain:.3g} nats less than the untrained reference does"
        raise _diverged(fitted, f"that gives its own rows {nats}")
    return fitted


def _gain(fitted: FittedModel, z: NDArray[np.float32], is_watched: bool) -> float:
    """Return the mean gain of log p over log q0 at the rows, in nats.

    Where log Z can be left to the first question it is an upper bound, by few draws:
    that of a classifier, and of a density whose held-out rows were watched, unless the
    draws cannot be trusted.
    """
    is_density = fitted.specification.n_outputs == 1
    log_normalizer = None
    if is_watched or not is_density:
        sampling = ImportanceSampling(N_DRAWS if is_density else N_CLASSIFIER_DRAWS)
        estimate = estimate_log_normalizer(
            fitted.energy_model, sampling, fitted.assembly.seed, None, fitted.device
        )
        assert estimate is not None
        if estimate.trusted or not is_density:
            log_normalizer = estimate.log_normalizer
    if log_normalizer is None:
        log_normalizer = fitted.log_normalizer
    assert log_normalizer is not None
    z = fitted.complete_rows(z, fitted.assembly.seed)
    return float(-fitted.net_energy(z).mean() - log_normalizer)


def _diverged(fitted: FittedModel, how: str) -> DivergenceError:
    rate = fitted.specification.learning_rate
    return DivergenceError(
        f"Training ended, in epoch {fitted.outcome.n_epochs}, with a model {how}. "
        f"Lower learning_rate={rate}, or set early_stopping=True."
    )
