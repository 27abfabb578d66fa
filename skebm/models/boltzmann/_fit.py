"""Fits RBMs: from rows to a fitted value, and from one value to the next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from skebm.evaluation import can_enumerate
from skebm.models.boltzmann._divergence import check_density
from skebm.models.boltzmann._fitted import FittedRBM
from skebm.models.boltzmann._kinds import HiddenStart, Kind
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
from skebm.objectives import ContrastiveGradient
from skebm.samplers import TemperedGibbs
from skebm.tables import TableEncoder
from skebm.training import (
    AscentRun,
    EvenBatches,
    GibbsCompletion,
    Loop,
    RateSchedule,
)
from skebm.utils import (
    draw_seed,
    make_generator,
    resolve_device,
    to_numpy_tree,
    to_tensor_tree,
)

Array = NDArray[Any]

#: Gibbs steps by which rows with missing entries are completed.
N_COMPLETION_STEPS = 50


@dataclass(frozen=True)
class RBMOptions:
    """Options of an RBM estimator that training asks for; see `BernoulliRBM`."""

    n_components: int
    learning_rate: float
    batch_size: int
    method: str
    n_gibbs_steps: int
    n_chains: int | None
    momentum: float
    weight_decay: float | None
    centered: bool
    learning_rate_schedule: str
    weight_averaging: float
    normalizer: Any
    device: Any
    early_stopping: bool | str = False
    validation_fraction: float = 0.1

    @classmethod
    def of(cls, estimator: Any) -> RBMOptions:
        """Return the options of an estimator."""
        names = [field.name for field in fields(cls) if hasattr(estimator, field.name)]
        return cls(**{name: getattr(estimator, name) for name in names})

    def decay(self, n_rows: int) -> float:
        """Return the weight decay after n rows; by default no step turns a sign."""
        if self.weight_decay is not None:
            return self.weight_decay
        return min(2 / n_rows, (1 - self.momentum) / self.learning_rate)


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
        moments = (*column_means(s), total_deviation(s))
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
        tempering = None
        if options.method == "tempering":
            base = torch.from_numpy(fitted.base_bias.copy()).to(device)
            tempering = TemperedGibbs(base, self.kind.n_temperatures)
        gradient = ContrastiveGradient(
            _fitting_chains(state["chains"], options.method, self.kind.n_temperatures),
            (state["visible_offset"], state["hidden_offset"]),
            method=options.method,
            n_gibbs_steps=options.n_gibbs_steps,
            centered=options.centered,
            tempering=tempering,
            generator=generator,
        )
        ascent = self.kind.ascent(
            rbm,
            gradient,
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
        return partial(DensityTask, kind=self.kind)

    def watched(self, options: RBMOptions) -> tuple[DensityTask, Watched | None]:
        """Return the rows to train on, and those whose likelihood is watched."""
        kept, watched = choose_watched(
            self.v, options.early_stopping, options.validation_fraction
        )
        if watched is None:
            return self, None
        rows = self.kind.watched(watched.rows)
        if rows is None:
            return self, None
        return replace(self, v=kept), replace(watched, rows=rows)


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
    ) -> None:
        watched = None
        if fitted.n_rows == 0 and schedule is None:  # no stream of chunks
            task, watched = task.watched(options)
        self.task, self._rng = task, rng
        self._refit_options = (options, schedule) if fitted.n_rows == 0 else None
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

        self.loop = Loop(on_epoch=after_epoch)
        self.loop.fit(self.run, self.batches, n_epochs)
        if watch is not None:
            self.verdict = watch.end(self.loop.n_epochs)
        return self.loop

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

    def fitted(self) -> FittedRBM:
        """Return the trained RBM, to be calibrated at the first question."""
        fitted = self._published()
        rows = self.task.calibration_rows(fitted, self._rng)
        seed, make_task = draw_seed(self._rng), self.task.for_rows()
        if make_task is None or self._refit_options is None:
            return fitted.with_recent_rows(rows, seed)
        given = make_task, *self._refit_options, self.loop.n_epochs
        return fitted.with_recent_rows(rows, seed, refit=partial(_refit, *given))

    def preview(self) -> FittedRBM:
        """Return the RBM as it is in mid-training; the training goes on unchanged."""
        fitted = self._published()
        rows = self.task.calibration_rows(fitted, np.random.RandomState(0))
        return fitted.with_recent_rows(rows, 0, keep=False)

    def _published(self) -> FittedRBM:
        average, dtype = self.run.evaluated_model(), self._fitted.weight.dtype
        state = self.run.state()
        if self.verdict is not None and self.verdict.beta < 1:
            base = torch.from_numpy(self._fitted.base_bias).to(average.weight.device)
            average = average.tempered(self.verdict.beta, base)
            state = without_momentum(state, average)
        arrays = to_numpy_tree(average.parameters())
        parameters = {name: value.astype(dtype) for name, value in arrays.items()}
        fitted = replace(self._fitted, **parameters, state=to_numpy_tree(state))
        return self.task.publish(fitted, average)


def _refit(
    make_task: Callable[[Array], Task],
    options: RBMOptions,
    schedule: str | None,
    n_epochs: int,
    rows: Array,
    seed: int,
) -> Callable[[Array], Array]:
    """Train an RBM on some rows; return minus its free energy."""
    task, rng = make_task(rows), np.random.RandomState(seed)
    fitted = task.begin(options, rng)
    training = RBMTraining(task, fitted, options, rng, schedule)
    if training.train(n_epochs).interrupted:
        raise KeyboardInterrupt
    refitted = training.fitted()
    return lambda v: -refitted.free_energy(v)


def begin(
    units: Any,
    moments: tuple[Array, Array, float],
    dtype: Any,
    options: RBMOptions,
    rng: np.random.RandomState,
    start: HiddenStart = HiddenStart(),  # noqa: B008
    n_temperatures: int = 1,
) -> FittedRBM:
    """Return an untrained RBM: visible biases of the means, random weights.

    Parameters
    ----------
    units : VisibleUnits
        The visible units.
    moments : tuple
        Means of the columns, numbers of rows behind them, and the total deviation.
    dtype : dtype
        Of the parameters.
    options : RBMOptions
        Options of the estimator.
    rng : RandomState
        Source of randomness.
    start : HiddenStart, default=HiddenStart()
        The log odds of hidden units.
    n_temperatures : int, default=1
        Temperatures of the chains of tempering.
    """
    mean, n_rows, deviation = moments
    bias = units.bias(torch.from_numpy(mean), torch.from_numpy(n_rows)).numpy()
    weight = start.weight
    if weight is None:
        scale = start.spread / max(deviation, start.spread)
        weight = rng.normal(0, scale, (options.n_components, len(mean)))
    hidden_bias = start.level - weight @ mean
    visible_bias = bias - start.mean * weight.sum(axis=0)
    parameters: dict[str, Any] = {
        "weight": weight.astype(dtype),
        "hidden_bias": hidden_bias.astype(dtype),
        "visible_bias": visible_bias.astype(dtype),
    }
    tensors = {k: torch.from_numpy(v).float() for k, v in parameters.items()}
    _check_normalizer(RBM(**tensors, visible=units), options)
    n_chains = options.batch_size if options.n_chains is None else options.n_chains
    chains = rng.randint(2, size=(n_chains, options.n_components))
    state = {
        "parameters": tensors,
        "chains": _fitting_chains(
            torch.from_numpy(chains).float(), options.method, n_temperatures
        ),
        "visible_offset": torch.from_numpy(mean).float(),
        "hidden_offset": torch.full(
            (options.n_components,), start.mean, dtype=torch.float32
        ),
        "n_steps": 0,
    }
    return FittedRBM(
        units=units,
        **parameters,
        base_bias=bias.astype(np.float32),
        state=to_numpy_tree(state),
    )


def without_momentum(state: dict[str, Any], rbm: RBM) -> dict[str, Any]:
    """Return the state of a training that goes on from an RBM afresh."""
    kept = {k: v for k, v in state.items() if k not in ("velocity", "average")}
    return {**kept, "parameters": rbm.parameters()}


def trained_rbm(fitted: FittedRBM, device: torch.device) -> tuple[RBM, dict[str, Any]]:
    """Return the RBM as its last step left it, and the state of training, as tensors.

    Both are copies on the device.
    """
    state = _moved(to_tensor_tree(fitted.state), device)
    parameters = state["parameters"]
    units = fitted.units.to(parameters["weight"].dtype).to(device)
    return RBM(**parameters, visible=units), state


def _check_normalizer(rbm: RBM, options: RBMOptions) -> None:
    """Raise before training where log Z can't be computed as asked for."""
    if options.normalizer == "exact" and not can_enumerate(rbm):
        raise ValueError(
            "normalizer='exact' needs a layer of at most 20 units; here are "
            f"n_components={options.n_components} and {len(rbm.visible_bias)} "
            "visible ones. Use 'auto' or 'ais'."
        )


def _fitting_chains(chains: Tensor, method: str, n_temperatures: int) -> Tensor:
    """Return the chains with a temperature axis for tempering, without it otherwise."""
    if chains.ndim == 3 and (method != "tempering" or len(chains) != n_temperatures):
        chains = chains[0].clone()
    if method == "tempering" and chains.ndim == 2:
        return chains.repeat(n_temperatures, 1, 1)
    return chains


def _moved(tree: Any, device: torch.device) -> Any:
    """Return nested dicts whose tensors are on the device."""
    if isinstance(tree, Tensor):
        return tree.to(device)
    if isinstance(tree, dict):
        return {k: _moved(v, device) for k, v in tree.items()}
    return tree
