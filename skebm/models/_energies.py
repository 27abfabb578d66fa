"""Marginal energies of rows with missing entries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skebm.models._assembly import Assembly
from skebm.models._conditioning import TableModel, conditionals
from skebm.networks import EnergyModel
from skebm.tables import TableEncoder

Array = NDArray[Any]


def marginal_energies(model: TableModel, z: Array) -> NDArray[np.float64]:
    r"""Return the marginal energies of standardised rows with missing entries.

    .. math:: E(x_O) = \log q_0(x_O) - \log p(x_O) - \log Z

    so that q0 tilted by E is the marginal density, as it is of complete rows. Of a row
    without any entry it is minus log Z.
    """
    log_prob, log_reference = np.empty(len(z)), np.empty(len(z))
    for row in conditionals(model, z):
        tilt = row.log_normalizer(row.generator()).log_normalizer
        log_prob[row.number] = row.log_reference + tilt
        log_reference[row.number] = row.log_reference
    energy_model = model.energy_model
    reference = energy_model.reference
    if energy_model.closed_form() is not None or not reference.has_conditionals:
        for row in conditionals(_ReferenceAlone(model), z):
            tilt = row.log_normalizer(row.generator()).log_normalizer
            log_reference[row.number] = row.log_reference + tilt
    return log_reference - log_prob


@dataclass(frozen=True, eq=False)
class _ReferenceAlone:
    """A model's reference, as a model of energy zero."""

    model: TableModel

    @property
    def assembly(self) -> Assembly:
        """The parts that the model's first fit chose."""
        return self.model.assembly

    @property
    def encoder(self) -> TableEncoder:
        """Between tables and standardised rows."""
        return self.model.encoder

    @property
    def energy_model(self) -> EnergyModel:
        """A net that is zero, beside the reference."""
        return EnergyModel(_Zero(), self.model.energy_model.reference)

    @property
    def log_normalizer(self) -> float | None:
        """Log Z, which is zero."""
        return 0.0

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return self.model.device


class _Zero(nn.Module):
    """A net whose output is zero."""

    def forward(self, x: Tensor) -> Tensor:
        """Return zeros of shape (n, 1)."""
        return (0.0 * x).sum(1, keepdim=True)
