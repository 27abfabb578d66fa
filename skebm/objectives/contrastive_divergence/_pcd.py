"""Persistent contrastive divergence: chains continue from step to step."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from skebm.networks import EnergyModel
from skebm.objectives._base import Batch, check_range
from skebm.objectives._chain import ChainKernel
from skebm.objectives.contrastive_divergence._base import (
    AbstractContrastiveDivergence,
    ChainState,
    Negatives,
)
from skebm.references import Density
from skebm.samplers import AbstractSampler, Langevin, ReplayBuffer
from skebm.utils import check_count, check_number, is_count, uniform_like


class PersistentState(ChainState):
    """State with the kernel that moves the chains and the buffer that holds them."""

    def __init__(self, kernel: ChainKernel, buffer: ReplayBuffer) -> None:
        super().__init__(kernel)
        self.buffer = buffer


class PCD(AbstractContrastiveDivergence):
    r"""Persistent contrastive divergence, also with a replay buffer.

    .. math:: E_{data}[\nabla_\theta E(x)] - E_{T^k p_t}[\nabla_\theta E(x)]

    :math:`p_t` is the distribution of the chains after earlier steps, and T a kernel
    that leaves the model invariant: while the energy changes slowly, the chains stay
    close to the model, and the gradient is that of the likelihood. Chains of local
    steps alone seldom move between separate modes; by default each move begins with a
    jump from the reference (`ChainKernel`). ``n_reference_tries=0`` is the published
    method.

    Parameters
    ----------
    sampler : {"mala", "hmc", "langevin", ...} or AbstractSampler, default="mala"
        A step size with a target acceptance follows it over the steps of training.
    n_steps : int, default=3
        k, steps of a chain in a training step.
    n_reference_tries : int, default=4
        Draws of the reference that each chain may jump to, once before its steps.
    n_chains : int or None, default=100
        Chains moved in a training step; None takes as many as rows, at most
        `buffer_size`. Chains that are not moved lag behind the changing model.
    buffer_size : int, default=100
        Number of chains, which start as draws of the reference.
    reinit_probability : float, default=0.0
        Probability that a chain restarts from the reference.
    data_reinit_probability : float, default=0.05
        Probability that a chain restarts from a row of the batch. If no chain comes
        near an outlier, the energy there falls without bound.

    References
    ----------
    Tieleman. Training restricted Boltzmann machines using approximations to the
    likelihood gradient. ICML 2008. `jem`: Grathwohl et al., ICLR 2020.

    Examples
    --------
    >>> from skebm.objectives import PCD
    >>> PCD(n_steps=10)
    PCD(n_steps=10)
    >>> PCD.jem().sampler
    Langevin(noise_scale=0.01, step_size=1.4142135623730951)
    """

    def __init__(
        self,
        sampler: str | AbstractSampler = "mala",
        n_steps: int = 3,
        n_reference_tries: int = 4,
        n_chains: int | None = 100,
        buffer_size: int = 100,
        reinit_probability: float = 0.0,
        data_reinit_probability: float = 0.05,
    ) -> None:
        self.sampler = sampler
        self.n_steps = n_steps
        self.n_reference_tries = n_reference_tries
        self.n_chains = n_chains
        self.buffer_size = buffer_size
        self.reinit_probability = reinit_probability
        self.data_reinit_probability = data_reinit_probability

    @classmethod
    def jem(cls) -> PCD:
        """Return the method of the published JEM, by name ``"jem"``.

        Stochastic gradient Langevin dynamics of 20 steps with s^2 = 2 and a noise of
        0.01, a replay buffer of 10 000 rows, 5 % restarts. Steps of this length diverge
        in a narrow Gaussian, so that it is for a box:
        ``JEMClassifier("jem", reference=None)``.

        References
        ----------
        Grathwohl et al. Your classifier is secretly an energy based model and you
        should treat it like one. ICLR 2020.
        """
        return cls(
            sampler=Langevin(step_size=math.sqrt(2.0), noise_scale=0.01),
            n_steps=20,
            n_reference_tries=0,
            n_chains=None,
            buffer_size=10_000,
            reinit_probability=0.05,
            data_reinit_probability=0.0,
        )

    def check_options(self) -> None:
        """Raise ValueError naming an option that is out of its range."""
        super().check_options()
        check_count(self, "buffer_size")
        n, most = self.n_chains, self.buffer_size
        right = n is None or (is_count(n, 1) and n <= most)
        expected = f"None or an integer, at least 1 and at most buffer_size={most}"
        check_range(self, "n_chains", right, expected)
        for name in ("reinit_probability", "data_reinit_probability"):
            check_number(self, name, 0, 1)

    def init(
        self, model: EnergyModel, reference: Density, generator: torch.Generator
    ) -> PersistentState:
        """Return the state with chains that start at draws of the reference."""
        del model
        rows = reference.sample(self.buffer_size, generator)
        return PersistentState(self._kernel(), self._buffer(rows))

    def _buffer(self, rows: Tensor) -> ReplayBuffer:
        return ReplayBuffer(rows, reinit_probability=self._restart_probability)

    @property
    def _restart_probability(self) -> float:
        return min(1.0, self.reinit_probability + self.data_reinit_probability)

    def draw(
        self,
        model: EnergyModel,
        data: Batch,
        state: PersistentState,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Return the starts of the chains of a step and their indices in the buffer."""
        n = min(self.n_chains or len(data.x), self.buffer_size)
        fresh = model.reference.sample(n, generator)
        if self.data_reinit_probability:
            share = self.data_reinit_probability / self._restart_probability
            uniform = uniform_like(fresh[:, :1], generator)
            weight = data.weight
            weight = torch.ones_like(data.x[:, 0]) if weight is None else weight
            rows = torch.multinomial(weight, n, replacement=True, generator=generator)
            fresh = torch.where(uniform < share, data.x[rows], fresh)
        return state.buffer.draw(fresh, generator)

    def negatives(
        self,
        model: EnergyModel,
        data: Batch,
        state: nn.Module,
        generator: torch.Generator,
    ) -> Negatives:
        """Move some of the chains; return their ends and put them into the buffer."""
        assert isinstance(state, PersistentState)
        start, places = self.draw(model, data, state, generator)
        x, metrics = state.kernel.move(model, start, self.n_steps, generator)
        state.buffer.put(x, places, generator)
        return Negatives(Batch(x), metrics)
