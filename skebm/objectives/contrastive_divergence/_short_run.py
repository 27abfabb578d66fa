"""Short-run MCMC: chains start at the reference in every step."""

from __future__ import annotations

import torch
from torch import nn

from skebm.networks import EnergyModel
from skebm.objectives._base import Batch, check_range
from skebm.objectives.contrastive_divergence._base import (
    AbstractContrastiveDivergence,
    ChainState,
    Negatives,
)
from skebm.samplers import AbstractSampler
from skebm.utils import is_count


class ShortRun(AbstractContrastiveDivergence):
    r"""Non-convergent, non-persistent short-run MCMC from the reference.

    .. math:: E_{data}[\nabla_\theta E(x)] - E_{T^k q_0}[\nabla_\theta E(x)]

    T is a kernel that leaves the model invariant. If the run is too short, the trained
    sampler generates the data but the energy is no log density. So by default T begins
    with a jump to one of many reference draws (`ChainKernel`): importance resampling,
    which brings the chains near the model if the reference is near the data.
    ``n_reference_tries=0`` is the published method.

    Parameters
    ----------
    sampler : {"mala", "hmc", "langevin", ...} or AbstractSampler, default="mala"
        A step size with a target acceptance follows it over the steps of training.
    n_steps : int, default=3
        k; 100 as published.
    n_reference_tries : int, default=32
        Draws of the reference that each chain may jump to, once before its steps.
    n_chains : int or None, default=None
        Chains a step; None takes as many as rows.

    References
    ----------
    Nijkamp, Hill, Zhu, Wu. Learning non-convergent non-persistent short-run MCMC toward
    energy-based model. NeurIPS 2019.

    Examples
    --------
    >>> from skebm.objectives import ShortRun
    >>> ShortRun(n_steps=100, n_reference_tries=0)
    ShortRun(n_reference_tries=0, n_steps=100)
    """

    def __init__(
        self,
        sampler: str | AbstractSampler = "mala",
        n_steps: int = 3,
        n_reference_tries: int = 32,
        n_chains: int | None = None,
    ) -> None:
        self.sampler = sampler
        self.n_steps = n_steps
        self.n_reference_tries = n_reference_tries
        self.n_chains = n_chains

    def check_options(self) -> None:
        """Raise ValueError naming an option that is out of its range."""
        super().check_options()
        right = self.n_chains is None or is_count(self.n_chains, 1)
        check_range(self, "n_chains", right, "None or an integer, at least 1")

    def negatives(
        self,
        model: EnergyModel,
        data: Batch,
        state: nn.Module,
        generator: torch.Generator,
    ) -> Negatives:
        """Run chains from the reference and return their ends."""
        assert isinstance(state, ChainState)
        start = model.reference.sample(self.n_chains or len(data.x), generator)
        x, metrics = state.kernel.move(model, start, self.n_steps, generator)
        return Negatives(Batch(x), metrics)
