"""The training loop: epochs, early stopping, rollback, callbacks, interrupts."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Protocol

import numpy as np
import torch

from skebm.distributed import ALONE, Processes
from skebm.exceptions import DivergenceError
from skebm.training._checkpoint import CheckpointFile
from skebm.training._guard import Problem, StabilityGuard
from skebm.training._monitor import Evaluation, Monitor
from skebm.training._schedule import EpochSpan

#: Returns to the best state before an older one is tried: the best may have begun to
#: diverge already, above all where no monitor evaluates it.
MAX_RETURNS_TO_BEST = 2
#: Least age of that older state, as a share of the training.
SHARE_BETWEEN_OLDER = 0.1
#: Least age of the state to return to where no monitor asks for the best, likewise: a
#: copy of nets and optimisers takes as long as a short epoch.
SHARE_BETWEEN_COPIES = 0.02

OnEpoch = Callable[[int, dict[str, Any]], bool]


class Run(Protocol):
    """A model in training, as `Loop` sees it.

    Attributes
    ----------
    learning_rate : float
        Named in messages.
    rate_factor : float
        Factor of the learning rate, lowered by each rollback.
    """

    @property
    def learning_rate(self) -> float: ...

    rate_factor: float

    def epoch(
        self, batches: Any, span: EpochSpan
    ) -> tuple[dict[str, float], Problem | None]:
        """Train for one epoch; return the means of its metrics and any problem."""

    def evaluated_model(self) -> Any:
        """Return the model that the monitor evaluates."""

    def snapshot(self) -> Any:
        """Return a copy of all that training changes."""

    def restore(self, snapshot: Any) -> None:
        """Go back to a snapshot; the snapshot stays usable."""


class Loop:
    """Trains a run over batches, epoch by epoch.

    The run makes the steps of an epoch, with gradients of its own. The loop records
    metrics, evaluates held-out rows, keeps the best state and returns to it where an
    epoch diverged.

    Parameters
    ----------
    monitor : Monitor or None
        Held-out metric; None trains for all epochs and keeps the last state.
    n_iter_no_change : int
        Epochs without improvement by ``tol`` after which training stops.
    tol : float
        Least improvement that counts.
    on_epoch : callable or None
        ``on_epoch(epoch, entry) -> bool``, called with each epoch's history entry; True
        stops training.
    progress : tuple of float
        Where this training begins and ends, as shares of a whole run.
    verbose : int
        Print a line every ``verbose`` epochs; 0 prints nothing.
    checkpoint : CheckpointFile or None
        Where the state of the training is kept, and found by the same training in a
        new process, which then goes on from there.
    draws_globally : bool
        Whether nets draw from torch's global generator, which then is part of it.
    processes : Processes
        Those that train together: what the first one finds is decided on, and all
        begin and end in its state.

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
        *,
        monitor: Monitor | None = None,
        n_iter_no_change: int = 20,
        tol: float = 0.0,
        on_epoch: OnEpoch | None = None,
        progress: tuple[float, float] = (0.0, 1.0),
        verbose: int = 0,
        checkpoint: CheckpointFile | None = None,
        draws_globally: bool = False,
        processes: Processes = ALONE,
    ) -> None:
        self.checkpoint, self.draws_globally = checkpoint, draws_globally
        self.monitor = monitor
        self.processes = processes
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.on_epoch = on_epoch
        self.progress = progress
        self.verbose = verbose
        self.guard = StabilityGuard()
        self.history: dict[str, list[Any]] = {}
        self.best_epoch = 0
        self.best: Evaluation | None = None
        self.interrupted = False

    @property
    def n_epochs(self) -> int:
        """Epochs trained so far."""
        return len(self.history.get("seconds", []))

    def fit(self, run: Run, batches: Any, max_iter: int) -> None:
        """Train ``run`` for at most ``max_iter`` epochs; it ends in its best state."""
        self._agree(run)
        self.max_iter = max_iter
        self._epoch, self._epochs_without_change, self._is_over = 0, 0, False
        self._older_epoch, self._copied_epoch = 0, 0
        if not self._resume(run, batches):
            self._remember(run, self._evaluate(run))
            self._older = (self._best_snapshot,) * 2
        try:
            self._fit_epochs(run, batches, max_iter)
        except KeyboardInterrupt:
            if self.processes.size > 1:
                raise  # the others are not interrupted at the same step
            self.interrupted = True
            run.restore(self._best_snapshot)
            self.best_epoch = self._copied_epoch
        if self.monitor is not None:
            run.restore(self._best_snapshot)
            if self.verbose:
                print(self._verdict())
        self._agree(run)
        if self.n_epochs and self.guard.n_rollbacks == self.n_epochs:
            raise DivergenceError(
                f"Training diverged in each of its {self.n_epochs} epochs, the last "
                f"time because {self._last_problem.cause}. {self._last_problem.remedy} "
                f"(learning_rate was {run.learning_rate:.2g}.)"
            )

    def _fit_epochs(self, run: Run, batches: Any, max_iter: int) -> None:
        while self._epoch < max_iter and not self._is_over:
            epoch = self._epoch + 1
            started = time.perf_counter()
            span = EpochSpan(epoch, max_iter, *self.progress)
            metrics, problem = self.processes.agree(run.epoch(batches, span))
            evaluation = None if problem else self._evaluate(run)
            if evaluation and not np.isfinite(list(evaluation.scores.values())).all():
                problem = Problem(
                    f"held-out scores became non-finite: {evaluation.scores}"
                )
            if problem:
                self._roll_back(run, problem, epoch)
            entry = self._entry(metrics, evaluation, time.perf_counter() - started)
            if not problem:
                improved = self._improved(evaluation)
                self._epochs_without_change += 1
                if improved:
                    self._epochs_without_change = 0
                    self.best_epoch = epoch
                    age = epoch - self._copied_epoch
                    if self.monitor or age >= SHARE_BETWEEN_COPIES * max_iter:
                        self._remember(run, evaluation)
                        self._copied_epoch = epoch
                if epoch - self._older_epoch >= SHARE_BETWEEN_OLDER * max_iter:
                    self._older = (self._older[1], self._best_snapshot)
                    self._older_epoch = epoch
            self._record(epoch, entry)
            stop = self.on_epoch is not None and self.on_epoch(epoch, entry)
            stop = self.processes.agree(stop)
            self._epoch = epoch
            lasting = self._epochs_without_change >= self.n_iter_no_change
            self._is_over = stop or lasting or epoch == max_iter
            if self.checkpoint and (self._is_over or self.checkpoint.is_due):
                self.checkpoint.save(self._state_dict(run, batches))

    #: Attributes that a checkpoint keeps as they are.
    _KEPT = (
        "_epoch _epochs_without_change _is_over _older _older_epoch _copied_epoch "
        "_best_snapshot best_epoch history"
    ).split()

    def _state_dict(self, run: Run, batches: Any) -> dict[str, Any]:
        """Return all that the rest of the training depends on."""
        problem = getattr(self, "_last_problem", None)
        return {
            **{name: getattr(self, name) for name in self._KEPT},
            "best": self.best and asdict(self.best),
            "last_problem": problem and asdict(problem),
            "n_rollbacks": self.guard.n_rollbacks,
            "run": run.snapshot(),
            "batches": batches.state_dict(),
            "global_generator": torch.get_rng_state() if self.draws_globally else None,
        }

    def _resume(self, run: Run, batches: Any) -> bool:
        """Go on from the checkpoint, if there is one; return whether there is."""
        state = self.checkpoint.load() if self.checkpoint else None
        state = self.processes.agree(state)  # the first one has the file
        if state is None:
            return False
        for name in self._KEPT:
            setattr(self, name, state[name])
        self.best = state["best"] and Evaluation(**state["best"])
        if state["last_problem"]:
            self._last_problem = Problem(**state["last_problem"])
        self.guard.n_rollbacks = state["n_rollbacks"]
        run.restore(state["run"])
        batches.load_state_dict(state["batches"])
        if self.draws_globally:
            torch.set_rng_state(state["global_generator"])
        if self.verbose:
            print(f"goes on after epoch {self._epoch}")
        return True

    def _verdict(self) -> str:
        if self.best_epoch:
            return f"kept: epoch {self.best_epoch} of {self.n_epochs}"
        return (
            f"kept: the state before training, which none of {self.n_epochs} epochs was"
            " better than on held-out rows"
        )

    def _evaluate(self, run: Run) -> Evaluation | None:
        if self.monitor is None:
            return None
        return self.processes.agree(self.monitor.evaluate(run.evaluated_model()))

    def _agree(self, run: Run) -> None:
        """Bring the run into the state that it has in the first process."""
        if self.processes.size > 1:
            run.restore(self.processes.agree_state(run.snapshot()))

    def _improved(self, evaluation: Evaluation | None) -> bool:
        if self.monitor is None or evaluation is None or self.best is None:
            return True
        return self.monitor.improvement(evaluation, self.best) > self.tol

    def _remember(self, run: Run, evaluation: Evaluation | None) -> None:
        self.best = evaluation
        self._best_snapshot = run.snapshot()

    def _roll_back(self, run: Run, problem: Problem, epoch: int) -> None:
        self._last_problem = problem
        rate_factor = run.rate_factor * self.guard.rate_factor
        rate = run.learning_rate * rate_factor
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
        metrics: dict[str, float],
        evaluation: Evaluation | None,
        seconds: float,
    ) -> dict[str, Any]:
        entry: dict[str, Any] = dict(metrics)
        entry["metric"] = "none"
        if self.monitor is not None:
            best = self.best if evaluation is None else evaluation
            assert best is not None and self.best is not None
            entry["metric"] = self.monitor.metric(best, self.best)
            for name in self.best.scores | best.scores:
                scores = {} if evaluation is None else evaluation.scores
                entry[f"validation_{name}"] = scores.get(name, math.nan)
            entry["effective_share"] = best.effective_share
            entry["gain_standard_error"] = best.standard_error
        entry["n_rollbacks"] = self.guard.n_rollbacks
        entry["seconds"] = seconds
        return entry

    def _record(self, epoch: int, entry: dict[str, Any]) -> None:
        for name in self.history.keys() | entry.keys():
            column = self.history.setdefault(name, [None] * (epoch - 1))
            column.append(entry.get(name))
        if self.verbose and epoch % self.verbose == 0:
            shown = (f"{k} {v:.4g}" for k, v in entry.items() if isinstance(v, float))
            print(f"epoch {epoch}: " + ", ".join([*shown, *self._left(epoch)]))

    def _left(self, epoch: int) -> list[str]:
        """Return the seconds that the epochs left take at most, as words."""
        seconds = sum(self.history["seconds"]) / epoch * (self.max_iter - epoch)
        return [f"at most {seconds:.0f} seconds left"] if seconds >= 1 else []
