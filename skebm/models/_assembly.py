"""The parts of a model that its first fit chooses: net, reference, seeds."""

from __future__ import annotations

import copy
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import joblib
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skebm.distributed import current
from skebm.models._class_features import above_categories, n_inputs
from skebm.models._image_rows import build_for_table
from skebm.models._missing import fit_reference, fitted_proposal
from skebm.models._rows import TrainingRows
from skebm.models._task import Task
from skebm.networks import EnergyModel, is_normalized
from skebm.networks._build import draws_globally
from skebm.networks._capabilities import is_boosted
from skebm.objectives import Objective
from skebm.references import Density, GaussianMixtureDensity, Reference
from skebm.references._base import Folds
from skebm.tables import TableEncoder
from skebm.training import BoostingRun, EnergyRun, GradientRun
from skebm.utils import draw_seed, isolated_rng, make_generator
from skebm.utils._together import in_team, shared

#: Rows that a reference is fitted to: its parameters are steady long before a copy of a
#: large table would be a burden.
MAX_REFERENCE_ROWS = 100_000


@dataclass(frozen=True, eq=False)
class Assembly:
    """The parts of a model that its first fit chose; further training keeps them.

    Attributes
    ----------
    encoder : TableEncoder
        Between tables and standardised rows.
    tie_scale : ndarray of shape (n_features,)
        Width of the noise that spreads tied values.
    reference : Density
        q0, on the device.
    unfitted_reference : Reference
        The unfitted reference that was asked for.
    network : str, class or callable
        Names or builds the net.
    n_outputs : int
        Outputs of the net.
    critic_scale : float
        lambda.
    averaging : float
        Decay of the weight average.
    seed : int
        Of the run's first draws.
    draws_globally : bool
        Whether the net draws from torch's global generator while it is trained.
    device : str
        Where the model is.
    folds : tuple of (Tensor of int64, Density)
        Numbers of rows of the table, and the reference fitted to the other ones, as
        far as its own choice of options needed that; a fitted model has none.
    """

    encoder: TableEncoder
    tie_scale: NDArray[np.float64]
    reference: Density
    unfitted_reference: Reference
    network: Any
    n_outputs: int
    critic_scale: float
    averaging: float
    seed: int
    draws_globally: bool
    device: str
    folds: Folds = field(default=(), repr=False)

    @property
    def n_features(self) -> int:
        """Number of columns."""
        return len(self.encoder.scale)

    def without_folds(self) -> Assembly:
        """Return the assembly whose folds do not stay in memory."""
        return replace(self, folds=()) if self.folds else self

    def model_of(self, network: nn.Module) -> EnergyModel:
        """Return the model of a net beside the reference."""
        return EnergyModel(network, self.reference, self.critic_scale)

    def start_run(self, network: nn.Module, objective: Objective) -> EnergyRun:
        """Return a run at its beginning; from one seed it has the same first draws."""
        model = self.model_of(network)
        model.reference = self.reference.for_training(self.seed)
        objective.check_model(model, self.n_features)
        generator = make_generator(self.seed, self.device)
        if is_boosted(network):
            return BoostingRun(model, generator)
        return GradientRun(model, objective, generator, self.averaging, current())

    def rebuild_run(self, objective: Objective) -> EnergyRun:
        """Return a run of a net built anew, to be restored to a snapshot."""
        device = torch.device(self.device)
        with isolated_rng(0, device):
            network = build_for_table(self.network, self.encoder, self.n_outputs)
            network = above_categories(
                network, self.encoder, self.reference, self.n_outputs
            )
            return self.start_run(network.to(device), objective)

    def random_layers(self, seed: int) -> AbstractContextManager[None]:
        """Return what feeds dropout and its like in a user's net, if it has any.

        Fits of other nets may then go on side by side in threads.
        """
        if self.draws_globally:
            return isolated_rng(seed, torch.device(self.device))
        return nullcontext()

    @cached_property
    def proposal(self) -> GaussianMixtureDensity:
        """The mixture whose conditionals propose what rows miss."""
        return self.reference.as_mixture() or self.fitted_proposal

    @cached_property
    def fitted_proposal(self) -> GaussianMixtureDensity:
        """A mixture fitted to draws of the reference."""
        return fitted_proposal(self.reference, self.device)


def assemble(
    task: Task,
    encoder: TableEncoder,
    rng: np.random.RandomState,
    reference: Reference | None = None,
) -> tuple[Assembly, EnergyRun]:
    """Build the net, fit the reference and start a run.

    Parameters
    ----------
    task : Task
        The training that the run is for.
    encoder : TableEncoder
        Of the table that the rows come from.
    rng : RandomState
        Source of randomness.
    reference : Reference or None
        Takes the place of the specification's.
    """
    specification, rows = task.specification, task.rows
    device = specification.torch_device
    n_outputs = specification.n_outputs
    with isolated_rng(draw_seed(rng), device):
        network = build_for_table(specification.network, encoder, n_outputs)
        is_random = draws_globally(network, n_inputs(encoder, n_outputs))
    network = network.to(device)
    unfitted = reference or specification.reference_for(encoder)
    unfitted = unfitted.in_units(encoder.location, encoder.scale)
    unfitted = unfitted.apart(*encoder.apart()).in_cells(encoder.inner_edges())
    if is_normalized(network):
        unfitted = unfitted.for_normalized()
    density = _fit_reference(unfitted, rows, rng, specification.verbose).to(device)
    folds = tuple((numbers, fold.to(device)) for numbers, fold in density.folds)
    density.folds = ()
    assembly = Assembly(
        encoder=encoder,
        tie_scale=rows.tie_scale,
        reference=density,
        unfitted_reference=specification.reference,
        network=specification.network,
        n_outputs=n_outputs,
        critic_scale=specification.critic_scale,
        averaging=specification.weight_averaging,
        seed=draw_seed(rng),
        draws_globally=is_random,
        device=specification.device,
        folds=folds,
    )
    if task.prepare is not None:
        task.prepare(network)
    network = above_categories(network, encoder, density, n_outputs).to(device)
    with isolated_rng(draw_seed(rng), device):
        return assembly, assembly.start_run(network, task.objective)


def _fit_reference(
    unfitted: Reference, rows: TrainingRows, rng: np.random.RandomState, verbose: int
) -> Density:
    """Return the reference fitted to the rows trained on, or to some of them."""
    chosen = rows.train
    if unfitted.needs_all_rows:
        chosen = torch.arange(len(rows.z))
    elif len(chosen) > MAX_REFERENCE_ROWS:
        drawn = rng.choice(len(chosen), MAX_REFERENCE_ROWS, replace=False)
        chosen = chosen[torch.from_numpy(drawn)]
    start = time.perf_counter()
    weight = None if rows.weight is None else rows.weight[chosen]
    density = _fitted_once(unfitted, rows.z[chosen], weight, draw_seed(rng))
    density.folds = tuple((chosen[fold], other) for fold, other in density.folds)
    if verbose:
        seconds = time.perf_counter() - start
        print(f"reference: {type(density).__name__}, {seconds:.1f} seconds")
    return density


def _fitted_once(
    unfitted: Reference, z: Tensor, weight: Tensor | None, seed: int
) -> Density:
    """Return the reference fitted to rows; fits that are made together share it."""

    def fitted() -> Density:
        return fit_reference(unfitted, z, weight, make_generator(seed))

    if not in_team():
        return fitted()
    arrays = z.numpy(), None if weight is None else weight.numpy()
    try:
        key = joblib.hash((unfitted, *arrays, seed))
    except Exception:  # what a user's class raises where it can't be pickled
        return fitted()
    return copy.deepcopy(shared(key, fitted))
