"""Contrastive divergence: chains start at the data."""

from __future__ import annotations

import torch
from torch import nn

from skebm.networks import EnergyModel
from skebm.objectives._base import Batch
from skebm.objectives.contrastive_divergence._base import (
    AbstractContrastiveDivergence,
    ChainState,
    Negatives,
)
from skebm.samplers import AbstractSampler


class CD(AbstractContrastiveDivergence):
    r"""Contrastive divergence: k steps from the data.

    .. math:: E_{data}[\nabla_\theta E(x)] - E_{T^k p_{data}}[\nabla_\theta E(x)]

    T is a kernel that leaves the model invariant. The gradient of the chains' end in
    :math:`\theta` is left out, as published; see `ImprovedCD`. Local steps never
    compare the masses of separate modes; so by default T begins with a
    jump from the reference (`ChainKernel`); ``n_reference_tries=0`` is the published
    method.

    Parameters
    ----------
    sampler : {"mala", "hmc", "langevin", ...} or AbstractSampler, default="mala"
        A step size with a target acceptance follows it over the steps of training.
    n_steps : int, default=3
        k.
    n_reference_tries : int, default=8
        Draws of the reference that each chain may jump to, once before its steps.

    References
    ----------
    Hinton. Training products of experts by minimizing contrastive divergence. Neural
    Computation, 2002.

    Examples
    --------
    >>> from skebm.objectives import CD
    >>> CD(n_steps=1)
    CD(n_steps=1)
    """

    def __init__(
        self,
        sampler: str | AbstractSampler = "mala",
        n_steps: int = 3,
        n_reference_tries: int = 8,
    ) -> None:
        self.sampler = sampler
        self.n_steps = n_steps
        self.n_reference_tries = n_reference_tries

    def negatives(
        self,
        model: EnergyModel,
        data: Batch,
        state: nn.Module,
        generator: torch.Generator,
    ) -> Negatives:
        """Run chains from the data; return their ends, with the weights of the rows."""
        assert isinstance(state, ChainState)
        x, metrics = state.kernel.move(model, data.x, self.n_steps, generator)
        return Negatives(Batch(x, weight=data.weight), metrics)
