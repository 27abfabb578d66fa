"""Marginal densities, conditional draws and imputation of a fitted model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skebm.evaluation import IncompleteRow, annealed_samples, incomplete_rows
from skebm.evaluation.conditionals._mixed import incomplete_mixed_rows
from skebm.models._assembly import Assembly
from skebm.networks import EnergyModel
from skebm.objectives._chain import Potential, on_pixels
from skebm.references import Density
from skebm.samplers import AbstractSampler
from skebm.tables import TableEncoder

#: Draws that fewer samples are thinned from, so that the masses of modes are right.
MIN_PARTICLES = 256
#: R-hat of draws above which they can't be trusted.
MAX_R_HAT = 1.2

Array = NDArray[Any]
LogTilt = Callable[[Tensor], Tensor]
#: Takes a row and its missing columns to their values, in the units of X, and R-hat.
Values = Callable[[IncompleteRow, NDArray[np.bool_]], tuple[Tensor, float]]


@dataclass(frozen=True)
class Chains:
    """Chains of a sampler that start at draws of the reference.

    Attributes
    ----------
    sampler : AbstractSampler
        Moves them; transitions of images are those of the net's pixels.
    n_steps : int
        Steps of each.
    """

    sampler: AbstractSampler
    n_steps: int

    def run(
        self, model: EnergyModel, n_samples: int, generator: torch.Generator
    ) -> Tensor:
        """Return the standardised rows at which the chains end."""
        self.sampler.check_settings()
        x, _ = on_pixels(self.sampler, model).run(
            Potential(model),
            model.reference.sample(n_samples, generator),
            n_steps=self.n_steps,
            generator=generator,
        )
        return model.reference.reflect(x)


class TableModel(Protocol):
    """What is needed of a fitted model: `skebm.models.FittedModel` has it."""

    @property
    def assembly(self) -> Assembly:
        """The parts that its first fit chose."""

    @property
    def encoder(self) -> TableEncoder:
        """Between tables and standardised rows."""

    @property
    def energy_model(self) -> EnergyModel:
        """The net beside the reference."""

    @property
    def log_normalizer(self) -> float | None:
        """Log Z in nats; None without a normaliser."""

    @property
    def device(self) -> torch.device:
        """The device of the model."""


@dataclass(frozen=True, eq=False)
class Filled:
    """Rows whose missing entries were filled, and how far to trust that.

    Attributes
    ----------
    table : ndarray of shape (n, n_features)
        Numbers and category indices; observed entries as they were.
    r_hats : list of float
        Of the draws for each incomplete row.
    """

    table: Array
    r_hats: list[float] = field(default_factory=list)

    @property
    def n_untrusted(self) -> int:
        """Number of incomplete rows whose draws can't be trusted."""
        return sum(r_hat > MAX_R_HAT for r_hat in self.r_hats)


@dataclass(frozen=True, eq=False)
class Marginals:
    """Marginal log densities of incomplete rows.

    Attributes
    ----------
    log_prob : ndarray of shape (n,)
        In nats and the units of X.
    untrusted_errors : list of float
        Standard errors of those that can't be trusted.
    """

    log_prob: NDArray[np.float64]
    untrusted_errors: list[float] = field(default_factory=list)


def log_marginals(model: TableModel, z: Array) -> Marginals:
    """Return the marginal log densities of standardised rows with missing entries."""
    level = model.log_normalizer
    jacobian = model.encoder.log_jacobian(torch.from_numpy(z)).numpy()
    result = Marginals(np.empty(len(z)))
    for row in conditionals(model, z):
        observed = ~np.isnan(z[row.number])
        if level is not None and not observed.any():
            result.log_prob[row.number] = 0.0
            continue
        score = row.log_reference + jacobian[row.number] - (level or 0.0)
        if np.isfinite(score):
            estimate = row.log_normalizer(row.generator())
            score += estimate.log_normalizer
            if not estimate.trusted:
                result.untrusted_errors.append(estimate.standard_error)
        result.log_prob[row.number] = score
    return result


def impute(model: TableModel, X: Array, strategy: str) -> Filled:
    """Fill missing entries of X by conditional means or medians; categories by modes.

    Parameters
    ----------
    model : TableModel
        Knows the rows' density.
    X : ndarray of shape (n, n_features)
        Numbers and category indices, NaN where missing.
    strategy : {"mean", "median"}
        Summary that numbers are filled with.
    """
    by_mode = model.encoder.summarizes_by_mode

    def summary(row: IncompleteRow, missing: NDArray[np.bool_]) -> tuple[Tensor, float]:
        draws = row.draws(1, row.generator())
        draws = replace(draws, x=_in_units(model, row, missing, draws.x))
        value = draws.mean() if strategy == "mean" else draws.median()
        for k in np.flatnonzero(by_mode[missing]).tolist():
            value[k] = draws.mode(k)
        fills = model.encoder.fills(value.cpu().numpy(), missing)
        return torch.from_numpy(fills[None]), draws.r_hat

    return _fill(model, X, 1, summary)


def complete(
    model: TableModel,
    X: Array,
    n_samples: int,
    generator: torch.Generator | None = None,
    log_tilt: LogTilt | None = None,
) -> Filled:
    """Return every row ``n_samples`` times, its missing entries replaced by draws.

    Parameters
    ----------
    model : TableModel
        Knows the rows' density p.
    X : ndarray of shape (n, n_features)
        Numbers and category indices, NaN where missing.
    n_samples : int
        Draws of each row.
    generator : torch.Generator or None
        Source of randomness; None takes one seeded by each row.
    log_tilt : callable or None
        Draws follow p(x) exp(log_tilt(x)), up to scale.
    """

    def sample(row: IncompleteRow, missing: NDArray[np.bool_]) -> tuple[Tensor, float]:
        source = row.generator() if generator is None else generator
        draws = row.draws(n_samples, source)
        x = draws.sample(n_samples, source)
        return _in_units(model, row, missing, x), draws.r_hat

    return _fill(model, X, n_samples, sample, log_tilt)


def draw(
    model: TableModel,
    n_samples: int,
    generator: torch.Generator,
    log_tilt: LogTilt | None = None,
    chains: Chains | None = None,
) -> Array:
    """Return draws from p(x) exp(log_tilt(x)), up to scale, in the units of X."""
    energy_model = model.energy_model
    if chains is not None:
        z = chains.run(energy_model, n_samples, generator)
    elif energy_model.is_normalized:
        z = cast(Any, energy_model.network).sample(n_samples, generator)
    else:
        z = _draw_annealed(energy_model, n_samples, log_tilt, generator)
    return model.encoder.draws(z.cpu().numpy())


def conditionals(
    model: TableModel, z: Array, log_tilt: LogTilt | None = None
) -> Iterator[IncompleteRow]:
    """Yield standardised rows with the conditional model of what they miss."""
    reference, energy = _closed_reference(model)
    energy = _tilted(energy, log_tilt)
    rows = torch.from_numpy(z).to(model.device)
    cells = model.encoder.cells
    if cells is None:
        return incomplete_rows(rows, energy, reference)
    return incomplete_mixed_rows(cells, rows, energy, reference)


def _fill(
    model: TableModel,
    X: Array,
    n_copies: int,
    values_of: Values,
    log_tilt: LogTilt | None = None,
) -> Filled:
    """Return every row ``n_copies`` times, its missing entries filled."""
    X = model.encoder.without_codes(X)
    filled = Filled(np.repeat(X, n_copies, axis=0))
    is_missing = np.isnan(X)
    incomplete = np.flatnonzero(is_missing.any(axis=1))
    z = model.encoder.encode_incomplete(X[incomplete])
    # Where the observed entries determine the others, nothing is to be drawn.
    is_known = ~np.isnan(z).any(axis=1)
    for i, row in zip(incomplete[is_known], z[is_known], strict=True):
        copies = filled.table[i * n_copies : (i + 1) * n_copies]
        copies[:, is_missing[i]] = model.encoder.draws(row[None])[:, is_missing[i]]
    incomplete, z = incomplete[~is_known], z[~is_known]
    for row in conditionals(model, z, log_tilt):
        i = incomplete[row.number]
        values, r_hat = values_of(row, is_missing[i])
        filled.r_hats.append(r_hat)
        copies = filled.table[i * n_copies : (i + 1) * n_copies]
        copies[:, is_missing[i]] = values.cpu().numpy()
    return filled


def _in_units(
    model: TableModel, row: IncompleteRow, missing: NDArray[np.bool_], x: Tensor
) -> Tensor:
    """Return points of a row's free columns as its missing values, in units of X."""
    z = row.x.repeat(len(x), 1)
    z[:, row.x.isnan()] = x
    found = model.encoder.draws(z.cpu().numpy())[:, missing]
    return torch.from_numpy(found).to(x.device)


def _draw_annealed(
    model: EnergyModel,
    n_samples: int,
    log_tilt: LogTilt | None,
    generator: torch.Generator,
) -> Tensor:
    """Draw standardised rows, by chains in the reference's latent space."""
    latent = model.in_latent_space()

    def to_rows(z: Tensor) -> Tensor:
        return z if latent is model else model.reference.from_latent(z)

    def log_tilt_there(z: Tensor) -> Tensor:
        assert log_tilt is not None
        return log_tilt(to_rows(z))

    tilted = _tilted(latent.energy, None if log_tilt is None else log_tilt_there)
    draws = annealed_samples(
        tilted,
        latent.reference,
        n_samples,
        generator=generator,
        min_particles=MIN_PARTICLES,
        terms=() if log_tilt is not None else latent.energy_terms(),
    )
    return to_rows(draws)


def _closed_reference(
    model: TableModel,
) -> tuple[Density, Callable[[Tensor], Tensor]]:
    """Return a density of closed conditionals and the energy that tilts it to p."""
    energy_model = model.energy_model
    density = energy_model.closed_form()
    if density is not None:
        return density, lambda z: z.new_zeros(len(z))
    if energy_model.reference.has_conditionals:
        return energy_model.reference, energy_model.energy
    proposal = model.assembly.fitted_proposal

    def energy(z: Tensor) -> Tensor:
        return proposal.log_prob(z) - energy_model.log_prob_unnormalized(z)

    return proposal, energy


def _tilted(
    energy: Callable[[Tensor], Tensor], log_tilt: LogTilt | None
) -> Callable[[Tensor], Tensor]:
    """Return the energy less a log tilt, if there is one."""
    if log_tilt is None:
        return energy
    return lambda z: energy(z) - log_tilt(z)
