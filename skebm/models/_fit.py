"""Fitting: functions from rows and options to fitted models."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from skebm.evaluation import ImportanceSampling
from skebm.evaluation.outliers._detector import OutlierDetector
from skebm.exceptions import DivergenceError
from skebm.models._assembly import Prepare, assemble
from skebm.models._calibration import Calibration
from skebm.models._coarse_to_fine import coarse_to_fine
from skebm.models._fitted import FittedModel, Outcome, estimate_log_normalizer
from skebm.models._rows import MAX_HELD_OUT, TrainingRows
from skebm.models._specification import Specification
from skebm.models._train import Told, Trained, train, train_pass
from skebm.objectives import Objective
from skebm.references import Reference
from skebm.tables import TableEncoder
from skebm.tables._checks import column_names
from skebm.utils import draw_seed

#: Least gain over the reference, in nats: noise of training and of log Z stays above.
MIN_GAIN = -1.0
#: Where later passes of `partial_fit` stand in a run: all terms count, none is fading.
LATER_PASSES = (0.5, 0.5)

#: Draws of the estimate of log Z in the middle of a fit.
N_MID_FIT_DRAWS = 4096

#: Told each epoch what returns a model as it is then; returns True to stop.
Progress = Callable[[Callable[[], FittedModel]], bool]


def fit(
    specification: Specification,
    encoder: TableEncoder,
    rows: TrainingRows,
    objective: Objective,
    rng: np.random.RandomState,
    *,
    progress: Progress | None = None,
    prepare: Prepare | None = None,
    by_labels: bool = False,
) -> FittedModel:
    """Fit a model to rows.

    Parameters
    ----------
    specification : Specification
        The options.
    encoder : TableEncoder
        Of the table that the rows come from.
    rows : TrainingRows
        What is trained on.
    objective : Objective
        What is trained by: the specification's, or one that holds it.
    rng : RandomState
        Source of randomness.
    progress : callable or None
        Told each epoch.
    prepare : callable or None
        Sets up the net that was built.
    by_labels : bool
        Whether early stopping watches the labels of the held-out rows.

    Raises
    ------
    DivergenceError
        Where training can't be brought back from a divergence.
    """
    calibration = _calibration(rows, rng)

    def assembled(reference: Reference | None = None) -> tuple[Any, ...]:
        given = specification, encoder, rows, objective, rng
        return (specification, *assemble(*given, prepare, reference), objective, rows)

    told = _told(specification, objective, progress)
    parts = assembled()
    with parts[1].random_layers(draw_seed(rng)):
        first = train(*parts, rng, told, by_labels=by_labels)
        best = coarse_to_fine(
            specification, first, lambda coarser: train(*assembled(coarser), rng)
        )
    fitted = _fitted(specification, best, objective, calibration, len(rows.train))
    return _checked(fitted, rows)


def go_on(
    fitted: FittedModel,
    specification: Specification,
    rows: TrainingRows,
    objective: Objective,
    rng: np.random.RandomState,
    *,
    progress: Progress | None = None,
    by_labels: bool = False,
) -> FittedModel:
    """Train a fitted model for another fit's epochs, on the same or other rows.

    The run is changed in place; where an error is raised it goes back to where it was.
    """
    with _restored_on_error(fitted):
        calibration, told = _calibration(rows, rng), None
        told = _told(specification, objective, progress)
        assembly = fitted.assembly
        with assembly.random_layers(draw_seed(rng)):
            trained = train(
                specification,
                assembly,
                fitted.run,
                objective,
                rows,
                rng,
                told,
                by_labels=by_labels,
            )
        n_rows = len(rows.train)
        longer = _fitted(specification, trained, objective, calibration, n_rows)
        return _checked(longer, rows)


def fit_pass(
    specification: Specification,
    encoder: TableEncoder,
    rows: TrainingRows,
    objective: Objective,
    rng: np.random.RandomState,
    *,
    prepare: Prepare | None = None,
) -> FittedModel:
    """Fit a model by one pass over rows, at a constant rate."""
    given = specification, encoder, rows, objective, rng
    assembly, run = assemble(*given, prepare)
    return _pass(specification, assembly, run, objective, rows, rng, (0.0, 1.0))


def go_on_pass(
    fitted: FittedModel,
    specification: Specification,
    rows: TrainingRows,
    objective: Objective,
    rng: np.random.RandomState,
) -> FittedModel:
    """Make one more pass over rows, the same or others, at a constant rate."""
    with _restored_on_error(fitted):
        given = specification, fitted.assembly, fitted.run, objective, rows, rng
        return _pass(*given, LATER_PASSES)


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
        "reference": (assembly.recipe, specification.reference),
    }
    for name, (old, new) in parts.items():
        if repr(old) != repr(new):
            raise ValueError(
                f"The {name!r} parameter was changed, from {old!r} to {new!r}, "
                "which no further training does. Set it back, or begin anew: fit "
                "with warm_start=False."
            )
    outside = assembly.reference.outside(z.to(assembly.device)).cpu().numpy()
    if outside.any():
        raise ValueError(
            f"X holds rows outside the box of the first fit in column "
            f"{column_names(names, outside)}, and with reference=None the density "
            "there is zero. Clip or drop these rows, or begin anew with another "
            "reference, such as 'gaussian'."
        )
    return replace(specification, objective=objective)


def _pass(
    specification: Specification,
    assembly: Any,
    run: Any,
    objective: Objective,
    rows: TrainingRows,
    rng: np.random.RandomState,
    progress: tuple[float, float],
) -> FittedModel:
    given = specification, assembly, run, objective, rows, rng
    trained = train_pass(*given, progress)
    calibration = _calibration(rows, rng)
    return _fitted(specification, trained, objective, calibration, len(rows.train))


def _calibration(rows: TrainingRows, rng: np.random.RandomState) -> Calibration:
    return Calibration(rows.kept(rng), draw_seed(rng))


def _fitted(
    specification: Specification,
    trained: Trained,
    objective: Objective,
    calibration: Calibration,
    n_rows: int,
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
        specification.n_steps(n_rows),
        tuple(interruptions),
    )
    if network is None:
        network = trained.run.averaged_model.network.eval()
    return FittedModel(
        specification,
        trained.assembly,
        objective,
        trained.run,
        network,
        outcome,
        calibration,
    )


def _told(
    specification: Specification, objective: Objective, progress: Progress | None
) -> Told | None:
    """Return what the loop tells each epoch, or None where nobody listens."""
    if progress is None:
        return None
    normalizer = None
    if specification.normalizer is not None:
        normalizer = ImportanceSampling(N_MID_FIT_DRAWS)

    def told(trained: Trained) -> bool:
        def model() -> FittedModel:
            network = copy.deepcopy(trained.run.averaged_model.network).eval()
            estimate = estimate_log_normalizer(
                trained.assembly.model_of(network),
                normalizer,
                0,
                None,
                specification.torch_device,
            )
            known = Calibration.known(estimate, OutlierDetector({}, {}, False))
            fitted = _fitted(specification, trained, objective, known, 1, network)
            outcome = replace(
                fitted.outcome, history=copy.deepcopy(fitted.outcome.history)
            )
            return replace(fitted, outcome=outcome)

        return progress(model)

    return told


def _checked(fitted: FittedModel, rows: TrainingRows) -> FittedModel:
    """Return the model; raise where q0 alone is better by far than what was learnt.

    Held-out rows would have kept a better state; without them nothing else does.
    """
    specification, model = fitted.specification, fitted.energy_model
    is_density = specification.n_outputs == 1 and not model.is_normalized
    if specification.normalizer is None or not is_density:
        return fitted
    try:
        log_normalizer = fitted.log_normalizer
    except KeyboardInterrupt:
        what = "the estimation of log Z; the next scoring does it"
        outcome = fitted.outcome
        interruptions = (*outcome.interruptions, what)
        return replace(fitted, outcome=replace(outcome, interruptions=interruptions))
    z = fitted.complete_rows(rows.z[:MAX_HELD_OUT].numpy(), fitted.assembly.seed)
    gain = -fitted.net_energy(z).mean() - log_normalizer
    if gain < MIN_GAIN:
        raise DivergenceError(
            f"Training ended, in epoch {fitted.outcome.n_epochs}, with a model that "
            f"gives its own rows {-gain:.3g} nats less than the untrained reference "
            f"does. Lower learning_rate={specification.learning_rate}, or set "
            "early_stopping=True."
        )
    return fitted


@contextmanager
def _restored_on_error(fitted: FittedModel) -> Iterator[None]:
    """Put the run of a model back where it was, should an error be raised."""
    snapshot = fitted.run.snapshot()
    try:
        yield
    except BaseException:
        fitted.run.restore(snapshot)
        fitted.network.eval()
        raise
