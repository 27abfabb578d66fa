"""Fits RBMs: from rows to a fitted value, and from one value to the next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from skebm.distributed import current
from skebm.models.boltzmann._begin import (
    RBMOptions,
    begin,
    fitting_chains,
    trained_rbm,
    without_momentum,
)
from skebm.models.boltzmann._divergence import check_density
from skebm.models.boltzmann._fitted import FittedRBM
from skebm.models.boltzmann._kinds import Kind
from skebm.models.boltzmann._left_out import left_out_gain
from skebm.models.boltzmann._rows import (
    column_means,
    some_rows,
    to_tensor,
    total_deviation,
)
from skebm.models.boltzmann._watch import (
    LikelihoodWatch,
    Verdict,
    Watched,
    choose_watched,
)
from skebm.networks import RBM
from skebm.objectives import DISCRETE_LOSSES, ContrastiveGradient, DiscreteGradient
from skebm.samplers import TemperedGibbs
from skebm.tables import TableEncoder
from skebm.training import (
    AscentRun,
    EvenBatches,
    GibbsCompletion,
    Loop,
    RateSchedule,
)
from skebm.training._ascent import Gradient
from skebm.utils import (
    draw_seed,
    make_generator,
    resolve_device,
    to_numpy_tree,
)

Array = NDArray[Any]

#: Gibbs steps by which rows with missing entries are completed.
N_COMPLETION_STEPS = 50


class Task(Protocol):
    """Rows to train on, and how an RBM learns from them."""

    #: Names the metric of the history.
    metric: type

    @property
    def can_run_away(self) -> bool:
        """Whether the density may get modes far from all rows."""

    @property
    def n_rows(self) -> int:
        """Number of rows."""

    def begin(self, options: RBMOptions, rng: np.random.RandomState) -> FittedRBM:
        """Return an untrained RBM for rows like these."""

    def resume(
        self, fitted: FittedRBM, options: RBMOptions, generator: torch.Generator
    ) -> tuple[Any, Any, Any]:
        """Return the ascent of the RBM from where it stands, and batches of rows.

        The third value completes rows with missing entries; None where there are none.
        """

    def publish(self, fitted: FittedRBM, average: RBM) -> FittedRBM:
        """Return the RBM with averaged parameters."""

    def calibration_rows(self, fitted: FittedRBM, rng: np.random.RandomState) -> Array:
        """Return complete rows of visible units, for log Z and the threshold."""

    def for_rows(self) -> Callable[[Array], Task] | None:
        """Return what makes the same task of other rows, or None."""

    def watched(self, options: RBMOptions) -> tuple[Task, Watched | None]:
        """Return the rows to train on, and those whose likelihood is watched."""


@dataclass(frozen=True, eq=False)
class DensityTask:
    """Rows whose density an RBM learns.

    Attributes
    ----------
    v : ndarray of shape (n, n_features), or CSR matrix
        Rows of visible units; NaN where an entry of an array is missing.
    kind : Kind
        The kind of visible units.
    encoder : TableEncoder or None
        What maps the columns of X to those of v; None where they are the same.
    """

    v: Any
    kind: Kind
    encoder: TableEncoder | None = None

    @property
    def metric(self) -> type:
        """Metric of the history."""
        return self.kind.metric

    @property
    def can_run_away(self) -> bool:
        """Whether the density may get modes far from all rows."""
        return self.kind.can_run_away

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.v.shape[0]

    def begin(self, options: RBMOptions, rng: np.random.RandomState) -> FittedRBM:
        """Return an untrained RBM for rows like these."""
        units, s = self.kind.start(self.v)
        moments = (*column_means(self.v), total_deviation(s))
        shape = options.n_components, s.shape[1]
        start = self.kind.hidden_start(options.centered, rng, shape)
        n_levels = self.kind.n_temperatures
        fitted = begin(units, moments, s.dtype, options, rng, start, n_levels)
        return replace(fitted, encoder=self.encoder)

    def resume(
        self, fitted: FittedRBM, options: RBMOptions, generator: torch.Generator
    ) -> tuple[Any, EvenBatches, GibbsCompletion | None]:
        """Return the ascent of the RBM, batches of rows, and what completes them."""
        device = generator.device
        rbm, state = trained_rbm(fitted, device)
        ascent = self.kind.ascent(
            rbm,
            self._gradient(fitted, state, options, generator),
            momentum=options.momentum,
            weight_decay=options.decay(fitted.n_rows),
            averaging=options.weight_averaging,
        )
        ascent.load(state)
        v = self.v
        if sparse.issparse(v):
            return ascent, EvenBatches(v, device), None
        if not np.isnan(v.min()):
            return ascent, EvenBatches(to_tensor(v, np.float32), device), None
        x = to_tensor(v.astype(np.float32), np.float32)  # completed in place
        completion = GibbsCompletion(x, ascent.rbm)
        return ascent, EvenBatches(x, device, completion), completion

    def _gradient(
        self,
        fitted: FittedRBM,
        state: dict[str, Any],
        options: RBMOptions,
        generator: torch.Generator,
    ) -> Gradient:
        """Return the gradient that the method of the options names."""
        n_levels = self.kind.n_temperatures
        chains = fitting_chains(state["chains"], options.method, n_levels)
        offsets = state["visible_offset"], state["hidden_offset"]
        loss = DISCRETE_LOSSES.get(options.method)
        if loss is not None:
            return DiscreteGradient(
                loss, chains, offsets, centered=options.centered, generator=generator
            )
        tempering = None
        if options.method == "tempering":
            base = torch.from_numpy(fitted.base_bias.copy()).to(generator.device)
            tempering = TemperedGibbs(base, n_levels)
        return ContrastiveGradient(
            chains,
            offsets,
            method=options.method,
            n_gibbs_steps=options.n_gibbs_steps,
            centered=options.centered,
            tempering=tempering,
            generator=generator,
        )

    def publish(self, fitted: FittedRBM, average: RBM) -> FittedRBM:
        """Return the RBM with averaged parameters."""
        units = self.kind.trained_units(fitted.units, average)
        return replace(fitted, units=units)

    def calibration_rows(self, fitted: FittedRBM, rng: np.random.RandomState) -> Array:
        """Return some rows, completed by draws where entries are missing."""
        rows = some_rows(self.v, rng)
        gaps = np.isnan(rows).any(axis=1)
        if gaps.any():
            seed, given = draw_seed(rng), rows[gaps]
            rows[gaps], _ = fitted.sample(1, N_COMPLETION_STEPS, seed, given=given)
        return rows

    def for_rows(self) -> Callable[[Array], DensityTask]:
        """Return what makes the same task of other rows."""
        return partial(_task_of, self.kind)

    def watched(self, options: RBMOptions) -> tuple[DensityTask, Watched | None]:
        """Return the rows to train on, and those whose likelihood is watched."""
        kept, watched = choose_watched(
            self.v, self.kind, options.early_stopping, options.validation_fraction
        )
        return self if watched is None else replace(self, v=kept), watched


def _task_of(kind: Kind, v: Any) -> DensityTask:
    """Return the task of some rows of a table."""
    return DensityTask(v, kind.of_rows(v))


class RBMTraining:
    """The training of an RBM on some rows: from one fitted value to the next.

    Parameters
    ----------
    task : Task
        The rows.
    fitted : FittedRBM
        Where training begins; it stays as it is.
    options : RBMOptions
        Options of the estimator.
    rng : RandomState
        Source of every seed.
    schedule : {"constant", "linear"} or None, default=None
        Shape of the learning rate; None takes that of the options.
    has_folds : bool, default=True
        Whether folds of the rows may tell if the RBM is kept.

    Attributes
    ----------
    loop : Loop
        The loop of the last `train`, with the history.
    verdict : Verdict or None
        What was kept instead of the last epoch.
    """

    def __init__(
        self,
        task: Task,
        fitted: FittedRBM,
        options: RBMOptions,
        rng: np.random.RandomState,
        schedule: str | None = None,
        has_folds: bool = True,
    ) -> None:
        watched = None
        if fitted.n_rows == 0 and schedule is None:  # no stream of chunks
            task, watched = task.watched(options)
        self.task, self._rng = task, rng
        make_task = task.for_rows()
        self._retrain: Callable[..., RBMTraining] | None = None
        if fitted.n_rows == 0 and make_task is not None:
            self._retrain = partial(_retrain, make_task, options, schedule)
        self._fitted = replace(
            fitted,
            n_rows=fitted.n_rows + task.n_rows,
            normalizer=options.normalizer,
            device=options.device,
        )
        device = resolve_device(options.device)
        generator = make_generator(draw_seed(rng), device)
        ascent, self.batches, completion = task.resume(self._fitted, options, generator)
        plan = RateSchedule(
            options.learning_rate,
            options.batch_size,
            schedule or options.learning_rate_schedule,
        )
        self.run = AscentRun(ascent, plan, task.metric(), generator, completion)
        self.loop = Loop()
        self.verdict: Verdict | None = None
        self._watch: LikelihoodWatch | None = None
        self._has_folds = has_folds
        if watched is not None:
            base_bias = self._fitted.base_bias
            self._watch = LikelihoodWatch(self.run, watched, base_bias, task.n_rows)

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches in an epoch."""
        return self.batches.n_steps(self.run.schedule.batch_size)

    def train(self, n_epochs: int, on_epoch: Callable[..., bool] | None = None) -> Loop:
        """Train for some epochs; return the loop with its history."""
        watch = self._watch

        def after_epoch(epoch: int, entry: dict[str, Any]) -> bool:
            if watch is not None:
                watch.after_epoch(epoch)
            return on_epoch is not None and on_epoch(epoch, entry)

        self.loop = Loop(on_epoch=after_epoch, processes=current())
        self.loop.fit(self.run, self.batches, n_epochs)
        if watch is not None:
            self.verdict = watch.end(self.loop.n_epochs)
            if self._has_folds and not self.loop.interrupted and watch.is_in_doubt:
                self.verdict = self._judged_by_folds(watch) or self.verdict
        return self.loop

    def _judged_by_folds(self, watch: LikelihoodWatch) -> Verdict | None:
        """Return the verdict where rows that are left out gain nothing."""
        rows, retrain = watch.watched.fold_rows, self._retrain
        if rows is None or retrain is None:
            return None

        def gains(kept: Array, left_out: Array) -> tuple[float, Array]:
            return retrain(self.loop.n_epochs, False, kept, 0).gains(left_out)

        gain, error = left_out_gain(rows, gains)
        return None if gain > error else watch.by_folds(gain, error)

    def keep_base(self) -> None:
        """Keep the base of the watch, untrained."""
        if self._watch is not None:
            self.verdict = self._watch.by_folds(0.0, 0.0)

    @property
    def _keeps_base(self) -> bool:
        """Whether no epoch is kept, and no share of what was learnt."""
        return self.verdict is not None and self.verdict.keeps_base

    def check(self) -> None:
        """Raise DivergenceError where training led away from its rows."""
        if self.task.can_run_away:
            fitted = self._published()
            rows = self.task.calibration_rows(fitted, np.random.RandomState(0))
            check_density(self._fitted, fitted, rows, self.run.learning_rate)

    def history(self) -> dict[str, list[float]]:
        """Return the metric, learning rate and rollbacks so far, by epoch."""
        names = (self.run.metric.name, "learning_rate", "n_rollbacks")
        return {name: list(self.loop.history.get(name, [])) for name in names}

    def gains(self, rows: Array) -> tuple[float, Array]:
        """Return the gains over the watch's base: their mean in training, of rows."""
        if self._watch is None or self._keeps_base:
            return 0.0, np.zeros(len(rows))
        return self._watch.kept_gain, self._watch.gains(rows)

    def fitted(self) -> FittedRBM:
        """Return the trained RBM, to be calibrated at the first question."""
        fitted = self._published()
        rows = self.task.calibration_rows(fitted, self._rng)
        seed, refit = draw_seed(self._rng), None
        if self._retrain is not None:
            given = self.loop.n_epochs, self._keeps_base
            refit = partial(_refit, partial(self._retrain, *given))
        return fitted.with_recent_rows(rows, seed, refit=refit)

    def preview(self) -> FittedRBM:
        """Return the RBM as it is in mid-training; the training goes on unchanged."""
        fitted = self._published()
        rows = self.task.calibration_rows(fitted, np.random.RandomState(0))
        return fitted.with_recent_rows(rows, 0, keep=False)

    def _published(self) -> FittedRBM:
        average, dtype = self.run.evaluated_model(), self._fitted.weight.dtype
        state = self.run.state()
        if self.verdict is not None and self.verdict.beta < 1:
            average = self.verdict.shrunk(average)
            state = without_momentum(state, average)
        arrays = to_numpy_tree(average.parameters())
        parameters = {name: value.astype(dtype) for name, value in arrays.items()}
        fitted = replace(self._fitted, **parameters, state=to_numpy_tree(state))
        return self.task.publish(fitted, average)


def _retrain(
    make_task: Callable[[Array], Task],
    options: RBMOptions,
    schedule: str | None,
    n_epochs: int,
    keeps_base: bool,
    rows: Array,
    seed: int,
) -> RBMTraining:
    """Return the training of an RBM on some rows, or its base."""
    task, rng = make_task(rows), np.random.RandomState(seed)
    fitted = task.begin(options, rng)
    training = RBMTraining(task, fitted, options, rng, schedule, has_folds=False)
    if keeps_base:
        training.keep_base()
    elif training.train(n_epochs).interrupted:
        raise KeyboardInterrupt
    return training


def _refit(retrain: Callable[[Array, int], RBMTraining], rows: Array, seed: int) -> Any:
    """Train an RBM on some rows; return minus its free energy."""
    refitted = retrain(rows, seed).fitted()
    return lambda v: -refitted.free_energy(v)
