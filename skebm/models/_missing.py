"""Missing entries: how training and calibration complete them.

Every function leaves a complete table alone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skebm.networks import EnergyModel
from skebm.references import (
    Density,
    GaussianMixtureDensity,
    GaussianMixtureReference,
    Reference,
    TiedValues,
    fit_incomplete,
)
from skebm.training import GapFilling
from skebm.utils import make_generator

#: Steps of the chains that complete the rows kept for log Z and the threshold.
N_LAST_STEPS = 8
#: Draws that a mixture is fitted to where a reference has no closed conditionals.
N_PROPOSAL_ROWS = 4000


def fit_reference(
    unfitted: Reference, x: Tensor, weight: Tensor | None, generator: torch.Generator
) -> Density:
    """Return the reference fitted to rows; by stochastic EM if entries are missing."""
    if x.isnan().any():
        return fit_incomplete(unfitted, x, weight=weight, generator=generator)
    return unfitted.fit(x, weight=weight, generator=generator)


def fitted_proposal(reference: Density, device: str) -> GaussianMixtureDensity:
    """Return a mixture fitted to draws of a reference without closed conditionals."""
    draws = reference.sample(N_PROPOSAL_ROWS, make_generator(0, device))
    unfitted = GaussianMixtureReference(n_components=(16,), n_repeats=1)
    mixture = unfitted.fit(
        draws.detach().float().cpu(), weight=None, generator=make_generator(0)
    )
    return mixture.to(device)


def completion(
    z: Tensor,
    proposal: GaussianMixtureDensity,
    model: Callable[[], EnergyModel],
    tie_scale: NDArray[np.float64],
    seed: int,
) -> GapFilling:
    """Return the chains that complete rows with missing entries.

    Parameters
    ----------
    z : Tensor of shape (n, n_features)
        Standardised rows, NaN where missing.
    proposal : GaussianMixtureDensity
        Proposes what is missing.
    model : callable
        Returns the present model.
    tie_scale : ndarray of shape (n_features,)
        Above zero in columns with tied values: completions take these values.
    seed : int
        Of the first completions.
    """
    device = next(iter(proposal.arrays().values())).device
    tied = TiedValues(z, torch.from_numpy(tie_scale > 0))
    generator = make_generator(seed, device)
    return GapFilling(z.to(device), proposal, model, tied, generator)


def complete(
    z: NDArray[np.float32],
    proposal: GaussianMixtureDensity,
    model: EnergyModel,
    tie_scale: NDArray[np.float64],
    seed: int,
) -> NDArray[np.float32]:
    """Return rows whose missing entries are draws from the model, by chains."""
    chains = completion(torch.from_numpy(z), proposal, lambda: model, tie_scale, seed)
    device = chains.x.device
    rows, generator = torch.arange(len(z), device=device), make_generator(seed, device)
    for _ in range(N_LAST_STEPS):
        completed = chains.renew(rows, generator)
    return completed.cpu().numpy()
