"""The loop."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skebm.exceptions import DivergenceError, NonFiniteChainError
from skebm.objectives import Batch, Loss, Objective
from skebm.training._batches import TableBatches
from skebm.training._guard import Problem, StabilityGuard
from skebm.training._monitor import Evaluation, Monitor
from skebm.training._run import TrainingRun
from skebm.training._schedule import Schedule

STEPS_BETWEEN_CHECKS = 100
STEPS_BETWEEN_AVERAGES = 4
#: Returns to the best state before an older one is tried: the best may be off the
#: rails already, above all where no monitor judges it.
MAX_RETURNS_TO_BEST = 2
#: Least age of that older state, as a share of the run.
SHARE_BETWEEN_OLDER = 0.1

OnEpoch = Callable[[int, dict[str, Any]], bool]


class Trainer:
    """Trains a run over batches by the losses an objective yields.

    The loop knows neither the objective nor the model: it descends each named loss by
    the optimiser of that name, averages weights, watches held-out rows, keeps the best
    state and goes back to it when the guard says so.

    Parameters
    ----------
    objective : Objective
        What is minimised.
    schedule : Schedule
        Learning rate and batch size over the run.
    monitor : Monitor or None
        Held-out metric; None trains for all epochs and keeps the last state.
    n_iter_no_change : int
        Epochs without improvement by ``tol`` after which training stops.
    tol : float
        Least improvement that counts.
    gradient_clip : float or None
        Largest norm of a group's gradient.
    on_epoch : callable or None
        ``on_epoch(epoch, entry) -> bool``, told each epoch's history entry; True
        stops.
    progress : tuple of float
        Where this training begins and ends, as shares of a whole run.
    verbose : int
        Print a line every ``verbose`` epochs; 0 prints nothing.

    Attributes
    ----------
    history : dict of str to list
        One entry an epoch.
    best_epoch : int
        The epoch whose state was kept; 0 is the untrained one.
    best : Evaluation or None
        The held-out scores of that state.
    interrupted : bool
        Whether a KeyboardInterrupt ended training.
    """

    def __init__(
        self,
        objective: Objective,
        schedule: Schedule,
        *,
        monitor: Monitor | None = None,
        n_iter_no_change: int = 20,
        tol: float = 0.0,
        gradient_clip: float | None = None,
        on_epoch: OnEpoch | None = None,
        progress: tuple[float, float] = (0.0, 1.0),
        verbose: int = 0,
    ) -> None:
        self.objective = objective
        self.schedule = schedule
        self.monitor = monitor
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.gradient_clip = gradient_clip
        self.on_epoch = on_epoch
        self.progress = progress
        self.verbose = verbose
        self.guard = StabilityGuard(objective.healthy)
        self.history: dict[str, list[Any]] = {}
        self.best_epoch = 0
        self.best: Evaluation | None = None
        self.interrupted = False

    @property
    def n_epochs(self) -> int:
        """Epochs trained so far."""
        return len(self.history.get("seconds", []))

    def fit(self, run: TrainingRun, batches: TableBatches, max_iter: int) -> None:
        """Train ``run`` for at most ``max_iter`` epochs; it ends in its best state."""
        self.guard.healthy = self.objective.healthy_for(run.model)
        run.model.network.train()
        self._remember(run, self._evaluate(run))
        self._older, self._older_epoch = (self._best_snapshot,) * 2, 0
        try:
            self._fit_loop(run, batches, max_iter)
        except KeyboardInterrupt:
            self.interrupted = True
            run.restore(self._best_snapshot)
        if self.monitor is not None:
            run.restore(self._best_snapshot)
            if self.verbose:
                print(self._verdict())
        if self.n_epochs and self.guard.n_rollbacks == self.n_epochs:
            raise DivergenceError(
                f"Training diverged in each of its {self.n_epochs} epochs, the last "
                f"time because {self._last_problem.cause}. {self._last_problem.remedy} "
                f"(learning_rate was {self.schedule.learning_rate:.2g}.)"
            )

    def _fit_loop(self, run: TrainingRun, batches: TableBatches, max_iter: int) -> None:
        epochs_without_change = 0
        for epoch in range(1, max_iter + 1):
            started = time.perf_counter()
            figures, problem = self._run_epoch(run, batches, epoch, max_iter)
            evaluation = None if problem else self._evaluate(run)
            if evaluation and not np.isfinite(list(evaluation.scores.values())).all():
                problem = Problem(
                    f"held-out scores became non-finite: {evaluation.scores}"
                )
            if problem:
                self._roll_back(run, problem, epoch)
            entry = self._entry(figures, evaluation, time.perf_counter() - started)
            if not problem:
                improved = self._improved(evaluation)
                epochs_without_change = 0 if improved else epochs_without_change + 1
                if improved:
                    self._remember(run, evaluation)
                    self.best_epoch = epoch
                if epoch - self._older_epoch >= SHARE_BETWEEN_OLDER * max_iter:
                    self._older = (self._older[1], self._best_snapshot)
                    self._older_epoch = epoch
            self._record(epoch, entry)
            stop = self.on_epoch is not None and self.on_epoch(epoch, entry)
            if stop or epochs_without_change >= self.n_iter_no_change:
                break

    def _verdict(self) -> str:
        if self.best_epoch:
            return f"kept: epoch {self.best_epoch} of {self.n_epochs}"
        return (
            f"kept: the state before training, which none of {self.n_epochs} epochs was"
            " better than on held-out rows"
        )

    def _run_epoch(
        self, run: TrainingRun, batches: TableBatches, epoch: int, max_iter: int
    ) -> tuple[dict[str, NDArray[np.float64]], Problem | None]:
        """Return each figure's values in this epoch and what went wrong, or None."""
        first, last = self.progress
        begin = first + (last - first) * (epoch - 1) / max_iter
        end = first + (last - first) * epoch / max_iter
        rows = self.schedule.rows_per_step(begin, len(batches))
        n_steps = batches.n_steps(rows)
        all_figures: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
        pending: dict[str, list[Tensor]] = defaultdict(list)
        problem: Problem | None = None
        epoch_batches = batches.epoch(rows, run.generator, begin, end)
        for step, batch in enumerate(epoch_batches, start=1):
            rate = self.schedule.rate(batch.progress) * run.rate_factor
            try:
                self._step(run, batch, rate, pending)
            except NonFiniteChainError as error:
                problem = Problem(error.problem, error.remedy)
                break
            if step % STEPS_BETWEEN_AVERAGES == 0 or step == n_steps:
                run.update_average()
            if step % STEPS_BETWEEN_CHECKS == 0 or step == n_steps:
                figures = _collect(pending)  # a device-host synchronisation
                pending.clear()
                for name, values in figures.items():
                    all_figures[name].append(values)
                problem = self.guard.problem(figures)
                if problem:
                    break
        self.objective.end_epoch(run.model, run.state, run.generator)
        merged = {name: np.concatenate(parts) for name, parts in all_figures.items()}
        return merged, problem

    def _step(
        self,
        run: TrainingRun,
        batch: Batch,
        rate: float,
        pending: dict[str, list[Tensor]],
    ) -> None:
        """Descend the losses of one step; add their figures to ``pending``."""
        for loss in self.objective.step(run.model, batch, run.state, run.generator):
            self._descend(run, loss, rate)
            pending[f"{loss.group}_loss"].append(loss.value.detach())
            for name, value in loss.figures.items():
                pending[name].append(value)

    def _descend(self, run: TrainingRun, loss: Loss, rate: float) -> None:
        group = run.groups[loss.group]
        optimizer = run.optimizers[loss.group]
        optimizer.param_groups[0]["lr"] = rate * group.rate
        optimizer.zero_grad()
        loss.value.backward(inputs=group.parameters)
        if self.gradient_clip is not None:
            torch.nn.utils.clip_grad_norm_(group.parameters, self.gradient_clip)
        optimizer.step()

    def _evaluate(self, run: TrainingRun) -> Evaluation | None:
        if self.monitor is None:
            return None
        run.served.network.eval()
        evaluation = self.monitor.evaluate(run.served)
        run.model.network.train()
        return evaluation

    def _improved(self, evaluation: Evaluation | None) -> bool:
        if self.monitor is None or evaluation is None or self.best is None:
            return True
        return self.monitor.improvement(evaluation, self.best) > self.tol

    def _remember(self, run: TrainingRun, evaluation: Evaluation | None) -> None:
        self.best = evaluation
        self._best_snapshot = run.snapshot()

    def _roll_back(self, run: TrainingRun, problem: Problem, epoch: int) -> None:
        self._last_problem = problem
        rate_factor = run.rate_factor * self.guard.rate_factor
        rate = self.schedule.learning_rate * rate_factor
        kind, snapshot = "the best", self._best_snapshot
        if self.guard.n_rollbacks >= MAX_RETURNS_TO_BEST:
            kind, snapshot = "an older", self._older[0]
            self._older, self._older_epoch = (snapshot,) * 2, epoch
            if self.monitor is None:
                self._best_snapshot = snapshot
        run.restore(snapshot)
        self.guard.roll_back(problem, epoch, rate)
        run.rate_factor = rate_factor
        if self.verbose:
            back = f"back to {kind} state, rate {rate:.2g}"
            print(f"epoch {epoch}: {problem.cause}; {back}")

    def _entry(
        self,
        figures: dict[str, NDArray[np.float64]],
        evaluation: Evaluation | None,
        seconds: float,
    ) -> dict[str, Any]:
        entry: dict[str, Any] = {k: float(v.mean()) for k, v in figures.items()}
        entry["metric"] = "none"
        if self.monitor is not None:
            best = self.best if evaluation is None else evaluation
            assert best is not None and self.best is not None
            entry["metric"] = self.monitor.metric(best, self.best)
            for name in self.best.scores | best.scores:
                scores = {} if evaluation is None else evaluation.scores
                entry[f"validation_{name}"] = scores.get(name, math.nan)
            entry["effective_share"] = best.effective_share
        entry["n_rollbacks"] = self.guard.n_rollbacks
        entry["seconds"] = seconds
        return entry

    def _record(self, epoch: int, entry: dict[str, Any]) -> None:
        for name in self.history.keys() | entry.keys():
            column = self.history.setdefault(name, [None] * (epoch - 1))
            column.append(entry.get(name))
        if self.verbose and epoch % self.verbose == 0:
            shown = (f"{k} {v:.4g}" for k, v in entry.items() if isinstance(v, float))
            print(f"epoch {epoch}: " + ", ".join(shown))


def _collect(pending: dict[str, list[Tensor]]) -> dict[str, NDArray[np.float64]]:
    return {
        name: torch.stack(values).double().cpu().numpy()
        for name, values in pending.items()
    }
