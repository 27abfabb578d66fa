"""Fitting: functions from rows and options to fitted models."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skebm.evaluation import ImportanceSampling
from skebm.evaluation.outliers._detector import OutlierDetector
from skebm.models._acceptance import check_finite, check_gain
from skebm.models._assembly import assemble
from skebm.models._calibration import Calibration
from skebm.models._coarse_to_fine import coarse_to_fine
from skebm.models._fitted import FittedModel, estimate_log_normalizer
from skebm.models._outcome import Outcome
from skebm.models._specification import Specification
from skebm.models._task import Task
from skebm.models._train import AfterEpoch, Trained, train, train_pass
from skebm.references import Reference
from skebm.tables import TableEncoder
from skebm.tables._checks import columns_text
from skebm.utils import InvalidParameterError, draw_seed

#: Where later passes of `partial_fit` stand in a run: all terms count, none is fading.
LATER_PASSES = (0.5, 0.5)

#: Outlier scores that keep rows of the table; with others none may stay.
KEEPING_ROWS = ("auto", "nearest_neighbor", "ranked_neighbors", "local_density")
#: Rows that then stay for `explain`, too.
N_EXPLAINED = 256
#: Draws of the estimate of log Z in the middle of a fit.
N_MID_FIT_DRAWS = 4096

#: Called after each epoch with a function that returns the model; True stops.
Progress = Callable[[Callable[[], FittedModel]], bool]


def fit(
    task: Task,
    encoder: TableEncoder,
    rng: np.random.RandomState,
    progress: Progress | None = None,
) -> FittedModel:
    """Fit a model to rows.

    Parameters
    ----------
    task : Task
        The rows, the objective and the options.
    encoder : TableEncoder
        Of the table that the rows come from.
    rng : RandomState
        Source of randomness.
    progress : callable or None
        Called after each epoch.

    Raises
    ------
    DivergenceError
        Where training can't be brought back from a divergence.
    """
    calibration = _calibration(task, rng, trains_reference=True)
    assembly, run = assemble(task, encoder, rng)

    def train_from(reference: Reference) -> Trained:
        return train(task, *assemble(task, encoder, rng, reference), rng)

    with assembly.random_layers(draw_seed(rng)):
        first = train(task, assembly, run, rng, _reporter(task, progress))
        best = coarse_to_fine(task.specification, first, train_from)
    calibration = calibration.with_folds(best.assembly.folds)
    fitted = _checked(_fitted(task, best, calibration), task)
    if task.checkpoints is not None and not fitted.outcome.interruptions:
        task.checkpoints.remove()
    return fitted


def go_on(
    fitted: FittedModel,
    task: Task,
    rng: np.random.RandomState,
    progress: Progress | None = None,
) -> FittedModel:
    """Train a fitted model for another fit's epochs, on the same or other rows.

    The model itself stays as it is: a copy of its run is trained.
    """
    calibration, assembly = _calibration(task, rng), fitted.assembly
    reporter, run = _reporter(task, progress), fitted.copied_run()
    with assembly.random_layers(draw_seed(rng)):
        trained = train(task, assembly, run, rng, reporter)
    return _checked(_fitted(task, trained, calibration), task)


def fit_pass(
    task: Task, encoder: TableEncoder, rng: np.random.RandomState
) -> FittedModel:
    """Fit a model by one pass over rows, at a constant rate."""
    task = _to_go_on(task)
    trained = train_pass(task, *assemble(task, encoder, rng), rng, (0.0, 1.0))
    calibration = _calibration(task, rng, trains_reference=True)
    calibration = calibration.with_folds(trained.assembly.folds)
    return check_finite(_fitted(task, trained, calibration), task)


def go_on_pass(
    fitted: FittedModel, task: Task, rng: np.random.RandomState
) -> FittedModel:
    """Make one more pass over rows, the same or others, at a constant rate."""
    task = _to_go_on(task)
    trained = train_pass(task, fitted.assembly, fitted.copied_run(), rng, LATER_PASSES)
    return check_finite(_fitted(task, trained, _calibration(task, rng)), task)


def _to_go_on(task: Task) -> Task:
    """Return the task of a model that may go on training after it was stored."""
    return replace(task, specification=replace(task.specification, keeps_run=True))


def check_goes_on(
    fitted: FittedModel,
    specification: Specification,
    z: Tensor,
    names: NDArray[Any] | None,
) -> Specification:
    """Return the specification by which a fitted model can go on.

    Raises
    ------
    ValueError
        Where other parts are asked for than the model has, or rows z lie where its
        density is zero.
    """
    assembly, objective = fitted.assembly, fitted.specification.objective
    parts = {
        "network": (assembly.network, specification.network),
        "objective": (objective, specification.objective),
        "reference": (assembly.unfitted_reference, specification.reference),
    }
    for name, (old, new) in parts.items():
        if repr(old) != repr(new):
            raise InvalidParameterError(
                f"The {name!r} parameter was changed, from {old!r} to {new!r}, "
                "which no further training does. Set it back, or begin anew: fit "
                "with warm_start=False."
            )
    outside = assembly.reference.outside(z.to(assembly.device)).cpu().numpy()
    if outside.any():
        raise ValueError(
            f"X holds rows outside the box of the first fit in "
            f"{columns_text(names, outside)}, and with reference=None the density "
            "there is zero. Clip or drop these rows, or begin anew with another "
            "reference, such as 'gaussian'."
        )
    return replace(specification, objective=objective)


def _calibration(
    task: Task, rng: np.random.RandomState, *, trains_reference: bool = False
) -> Calibration:
    rows, seed = task.rows.kept(rng, trains_reference), draw_seed(rng)
    keeps = task.specification.ood_score in KEEPING_ROWS
    return Calibration(rows, seed, rows.sample(N_EXPLAINED) if keeps else None)


def _fitted(
    task: Task,
    trained: Trained,
    calibration: Calibration,
    network: nn.Module | None = None,
) -> FittedModel:
    """Return the model of a training; ``network`` takes the place of the run's."""
    loop, interruptions = trained.loop, []
    if loop.interrupted:
        interruptions.append(
            f"training after {loop.n_epochs} epochs; the estimator is in its best "
            "state so far"
        )
    outcome = Outcome(
        loop.history,
        max(1, loop.n_epochs),
        loop.best_epoch,
        task.specification.n_steps(len(task.rows.train)),
        tuple(interruptions),
    )
    if network is None:
        network = trained.run.averaged_model.network.eval()
    return FittedModel(
        task.specification,
        trained.assembly.without_folds(),
        task.objective,
        trained.run,
        network,
        outcome,
        calibration,
    )


def _reporter(task: Task, progress: Progress | None) -> AfterEpoch | None:
    """Return the function that the loop calls after each epoch; None without one."""
    if progress is None:
        return None
    normalizer = None
    if task.specification.normalizer is not None:
        normalizer = ImportanceSampling(N_MID_FIT_DRAWS)

    def after_epoch(trained: Trained) -> bool:
        def model() -> FittedModel:
            network = copy.deepcopy(trained.run.averaged_model.network).eval()
            estimate = estimate_log_normalizer(
                trained.assembly.model_of(network),
                normalizer,
                0,
                None,
                torch.device(trained.assembly.device),
            )
            known = Calibration.known(estimate, OutlierDetector({}, {}, False))
            fitted = _fitted(task, trained, known, network)
            outcome = replace(
                fitted.outcome, history=copy.deepcopy(fitted.outcome.history)
            )
            return replace(fitted, outcome=outcome)

        return progress(model)

    return after_epoch


def _checked(fitted: FittedModel, task: Task) -> FittedModel:
    """Return the model; raise where training did not end in one that can be used."""
    return check_gain(check_finite(fitted, task), task)
