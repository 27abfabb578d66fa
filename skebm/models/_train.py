"""Training of an assembled model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from skebm.distributed import current
from skebm.models._assembly import Assembly
from skebm.models._missing import completion
from skebm.models._rows import TrainingRows
from skebm.models._specification import Specification
from skebm.models._task import Task
from skebm.references import MixtureConditionals
from skebm.training import (
    MAX_MONITORED,
    DensityMonitor,
    EnergyRun,
    IncompleteRowsMonitor,
    LabelMonitor,
    Loop,
    Monitor,
    TableBatches,
)
from skebm.utils import draw_seed, make_generator, normal_like


@dataclass(frozen=True, eq=False)
class Trained:
    """An assembled model, its run, and the loop that trained it."""

    assembly: Assembly
    run: EnergyRun
    loop: Loop


#: Called with the state of a training after each epoch; returns True to stop.
AfterEpoch = Callable[[Trained], bool]


def train(
    task: Task,
    assembly: Assembly,
    run: EnergyRun,
    rng: np.random.RandomState,
    after_epoch: AfterEpoch | None = None,
) -> Trained:
    """Train a run on its rows; early stopping watches those held out.

    Parameters
    ----------
    task, assembly, run
        The training to be done, and the model to be trained.
    rng : RandomState
        Source of randomness.
    after_epoch : callable or None
        Called with the state after each epoch; returns True to stop.
    """
    specification, rows = task.specification, task.rows
    monitor = None
    if rows.held_out is not None:
        monitor = _monitor(task, assembly, draw_seed(rng))
    loop = make_loop(specification, monitor)
    if task.checkpoints is not None:
        loop.checkpoint = task.checkpoints.next_file()
        loop.draws_globally = assembly.draws_globally
    trained = Trained(assembly, run, loop)
    if after_epoch is not None:
        loop.on_epoch = lambda epoch, entry: after_epoch(trained)
    run.configure(task.objective, specification.schedule(), specification.gradient_clip)
    n_epochs = specification.n_epochs(len(rows.train))
    loop.fit(run, make_batches(assembly, run, rows), n_epochs)
    return trained


def train_pass(
    task: Task,
    assembly: Assembly,
    run: EnergyRun,
    rng: np.random.RandomState,
    progress: tuple[float, float],
) -> Trained:
    """Train a run by one pass over its rows, at a constant rate.

    Parameters
    ----------
    task, assembly, run, rng
        As for `train`.
    progress : tuple of float
        Where the pass begins and ends, as shares of a whole run.
    """
    specification = task.specification
    loop = make_loop(specification)
    loop.progress = progress
    schedule = specification.schedule(warmup=0.0, final_rate=1.0)
    run.configure(task.objective, schedule, specification.gradient_clip)
    batches = make_batches(assembly, run, task.rows)
    with assembly.random_layers(draw_seed(rng)):
        loop.fit(run, batches, 1)
    return Trained(assembly, run, loop)


def make_loop(specification: Specification, monitor: Monitor | None = None) -> Loop:
    """Return the loop by a specification."""
    return Loop(
        monitor=monitor,
        n_iter_no_change=specification.n_iter_no_change,
        tol=specification.tol,
        verbose=specification.verbose,
        processes=current(),
    )


def make_batches(
    assembly: Assembly, run: EnergyRun, rows: TrainingRows
) -> TableBatches:
    """Return the batches of the rows; missing entries are completed at each visit."""
    completed = None
    if rows.z.isnan().any():
        completed = completion(
            rows.z,
            assembly.proposal,
            lambda: run.averaged_model,
            assembly.tie_scale,
            assembly.seed,
        )
    return TableBatches(
        rows.z,
        None if rows.y is None else torch.from_numpy(rows.y),
        rows.weight,
        rows.train,
        device=torch.device(assembly.device),
        reference=assembly.reference,
        noise_scale=rows.noise_scale,
        cells=rows.cells,
        n_labeled=rows.n_labeled,
        graph=rows.graph,
        taught=rows.taught,
        completion=completed,
    )


def _monitor(task: Task, assembly: Assembly, seed: int) -> Monitor:
    """Return what early stopping watches on the held-out rows."""
    rows = task.rows
    held_out = rows.held_out
    assert held_out is not None
    weight = None if rows.weight is None else rows.weight[held_out]
    if task.by_labels:
        assert rows.y is not None
        x = _completed(assembly, rows.z[held_out]).to(assembly.device)
        y = torch.from_numpy(rows.y)[held_out].to(assembly.device)
        weight = None if weight is None else weight.to(assembly.device)
        return LabelMonitor(x, y, weight)
    x = _spread_ties(rows.z[held_out], rows.noise_scale, seed)
    x = assembly.reference.reflect(x.to(assembly.device))
    given = x, weight, assembly.reference, make_generator(seed, assembly.device)
    if rows.z[held_out[:MAX_MONITORED]].isnan().any():
        return IncompleteRowsMonitor(*given, proposal=assembly.proposal)
    return DensityMonitor(*given)


def _completed(assembly: Assembly, z: Tensor) -> Tensor:
    """Return rows whose missing entries are drawn from the reference, once."""
    if not z.isnan().any():
        return z
    generator = make_generator(assembly.seed, assembly.device)
    z = z.to(assembly.device)
    given = MixtureConditionals(assembly.proposal, z, generator)
    return given.draw(torch.arange(len(z), device=z.device), 1, generator)[:, 0]


def _spread_ties(x: Tensor, noise_scale: Tensor | None, seed: int) -> Tensor:
    """Return held-out rows with the noise that training rows get."""
    if noise_scale is None:
        return x
    return x + noise_scale * normal_like(x, make_generator(seed))
