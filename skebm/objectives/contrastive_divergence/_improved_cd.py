"""Improved contrastive divergence: the gradient through the sampler."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from skebm.networks import EnergyModel
from skebm.networks._capabilities import as_image_network
from skebm.objectives._base import Batch, check_range
from skebm.objectives._chain import Potential
from skebm.objectives.contrastive_divergence._base import Negatives
from skebm.objectives.contrastive_divergence._pcd import PCD, PersistentState
from skebm.samplers import (
    REPLACEMENTS,
    AbstractSampler,
    Jitter,
    Langevin,
    ReplayBuffer,
    Transition,
    transform,
)
from skebm.samplers._augmented import in_units
from skebm.utils import check_choice, check_count, check_number, is_sequence

CLOSEST = 1e-6


def neighbor_entropy(x: Tensor, rows: Tensor, ignored: Tensor | None = None) -> Tensor:
    r"""Estimate the entropy of x up to a constant, differentiable in x.

    .. math:: \hat H = \frac{d}{n} \sum_i \ln \min_j |x_i - r_j|

    The constant left out is :math:`\ln m + \ln V_d + \gamma` for m rows, the volume
    :math:`V_d` of the unit ball and Euler's :math:`\gamma`.

    Parameters
    ----------
    x : Tensor of shape (n, d)
        Draws from the density whose entropy is estimated.
    rows : Tensor of shape (m, d)
        r, independent draws from the same density.
    ignored : Tensor of bool of shape (n, m) or None
        Pairs to be left out.

    References
    ----------
    Kozachenko, Leonenko. Sample estimate of the entropy of a random vector. Problems
    of Information Transmission, 1987. Du et al., ICML 2021, equation 10.
    """
    distances = torch.cdist(x.detach(), rows)
    if ignored is not None:
        distances = distances.masked_fill(ignored, torch.inf)
    nearest = rows[distances.argmin(1)]
    squares = (x - nearest).square().sum(1).clamp(min=CLOSEST**2)
    return 0.5 * x.shape[1] * squares.log().mean()


def langevin_step(
    model: EnergyModel,
    sampler: AbstractSampler,
    x: Tensor,
    step_size: Tensor,
    generator: torch.Generator,
) -> Tensor:
    r"""Return a Langevin step from x that keeps its graph in the energy's parameters.

    .. math:: \tilde x = x - \tfrac{s^2}{2} \nabla_x (E_\theta(x) - \log q_0(x))
              + \sigma \xi

    :math:`\sigma` is that of a `Langevin` sampler, else :math:`s`.
    """
    if not x.requires_grad:
        x = x.detach().requires_grad_()
    (slope,) = torch.autograd.grad(Potential(model)(x).sum(), x, create_graph=True)
    return model.reference.reflect(sampler.move(x, slope, step_size, generator))


class ImprovedCD(PCD):
    r"""Improved contrastive divergence.

    .. math::

        E_{data}[E(x)] - E_{q}[E(x)]
        + w \left( E_{q}[U_{\Theta}(\tilde x)] - \hat H(\tilde x) \right)
        + r \left( E_{data}[E(x)^2] + E_q[E(x)^2] \right),
        \qquad U = E - \log q_0, \quad \Theta = \mathrm{stopgrad}(\theta)

    The second term is the part of the gradient of
    :math:`KL(p_{data} \| p) - KL(q \| p)` that contrastive divergence leaves out: it
    goes through the chains' ends :math:`\tilde x`, which keep the graph of their last
    Langevin steps, and moves the energy so that the sampler reaches low energy and
    stays diverse. :math:`\hat H` is `neighbor_entropy` against the replay buffer. Where
    q is the model itself the term's expectation is zero. The steps with a graph are the
    sampler's own where it is `Langevin`. A Metropolis test has no gradient: for `MALA`
    they are its proposals, all accepted, for `HMC` those of one leapfrog step.

    Chains live in a replay buffer, and begin each move with a jump from the reference
    (`ChainKernel`); before it ``transitions`` may change them by augmentations, as
    published. Gradient clipping and averaged weights are options of the estimator.

    Parameters
    ----------
    sampler : {"mala", "hmc", "langevin", ...} or AbstractSampler, default="mala"
        A step size with a target acceptance follows it over the steps of training.
    n_steps : int, default=3
        Steps of a chain in a training step, those with a graph not counted; 40 as
        published.
    n_reference_tries : int, default=4
        Draws of the reference that each chain may jump to, once before its steps.
    n_chains : int or None, default=100
        Chains moved in a training step; None takes as many as rows, as published, at
        most `buffer_size`. Chains that are not moved lag behind the changing model.
    buffer_size : int, default=100
        Number of chains; 10 000 as published.
    reinit_probability : float, default=0.001
        Probability that a chain restarts from the reference.
    data_reinit_probability : float, default=0.05
        Probability that a chain restarts from a row of the batch; 0 as published.
    replacement : {"in_place", "fifo", "reservoir"}, default="in_place"
        See `skebm.samplers.ReplayBuffer`; "reservoir" as published.
    transitions : sequence of callables or None, default=None
        See `skebm.samplers.AugmentedLangevin`; one of them moves the chains before
        their steps. None for none. With a network for images they move its pixels.
    kl_weight : float, default=0.1
        w; 1 as published.
    n_kl_steps : int, default=1
        Langevin steps that keep their graph.
    n_kl_chains : int, default=20
        Chains that make these steps, at most those moved; each costs several times
        as much as a step of the sampler.
    neighbor_entropy_weight : float, default=1.0
        Factor of the entropy.
    n_neighbors : int, default=100
        Rows of the buffer among which the nearest is sought, at most `buffer_size`.
    energy_regularization : float, default=0.0
        r; 1 as published, where the energy's scale is free.

    References
    ----------
    Du, Li, Tenenbaum, Mordatch. Improved contrastive divergence training of
    energy-based models. ICML 2021.

    Examples
    --------
    >>> from skebm.objectives import ImprovedCD
    >>> ImprovedCD(kl_weight=0.3)
    ImprovedCD(kl_weight=0.3)
    """

    def __init__(
        self,
        sampler: str | AbstractSampler = "mala",
        n_steps: int = 3,
        n_reference_tries: int = 4,
        n_chains: int | None = 100,
        buffer_size: int = 100,
        reinit_probability: float = 0.001,
        data_reinit_probability: float = 0.05,
        replacement: str = "in_place",
        transitions: tuple[Transition, ...] | None = None,
        kl_weight: float = 0.1,
        n_kl_steps: int = 1,
        n_kl_chains: int = 20,
        neighbor_entropy_weight: float = 1.0,
        n_neighbors: int = 100,
        energy_regularization: float = 0.0,
    ) -> None:
        super().__init__(
            sampler,
            n_steps,
            n_reference_tries,
            n_chains,
            buffer_size,
            reinit_probability,
            data_reinit_probability,
        )
        self.replacement = replacement
        self.transitions = transitions
        self.kl_weight = kl_weight
        self.n_kl_steps = n_kl_steps
        self.n_kl_chains = n_kl_chains
        self.neighbor_entropy_weight = neighbor_entropy_weight
        self.n_neighbors = n_neighbors
        self.energy_regularization = energy_regularization

    @classmethod
    def published(
        cls, transitions: tuple[Transition, ...] | None = (Jitter(),)
    ) -> ImprovedCD:
        """Return the method of the published runs on images.

        Langevin dynamics of 40 steps with s^2 / 2 = 100 and a noise of 0.001, a
        reservoir of 10 000 rows, 0.1 % restarts. Their other settings are the
        estimator's: ``EBMDensityEstimator(ImprovedCD.published(), reference=None,
        learning_rate=2e-4, gradient_clip=0.5)``. Their steps are for pixels between 0
        and 1; columns are standardised here. On small tables they hardly move the
        density (``docs/notes/contrastive_divergence.md``): the defaults do.

        Parameters
        ----------
        transitions : sequence of callables or None
            Transitions before the steps; take those for images where rows are images.

        References
        ----------
        Du, Li, Tenenbaum, Mordatch. Improved contrastive divergence training of
        energy-based models. ICML 2021, with the authors' public code.
        """
        return cls(
            sampler=Langevin(step_size=math.sqrt(200.0), noise_scale=0.001),
            n_steps=40,
            n_reference_tries=0,
            n_chains=None,
            buffer_size=10_000,
            reinit_probability=0.001,
            data_reinit_probability=0.0,
            replacement="reservoir",
            transitions=transitions,
            kl_weight=1.0,
            energy_regularization=1.0,
        )

    def check_options(self) -> None:
        """Raise ValueError naming an option that is out of its range."""
        super().check_options()
        check_choice(self, "replacement", self.replacement, REPLACEMENTS)
        given = self.transitions is None or is_sequence(self.transitions, callable)
        expected = "None or a tuple of at least one callable (x, generator) -> x"
        check_range(self, "transitions", given, expected)
        for name in ("n_kl_steps", "n_kl_chains", "n_neighbors"):
            check_count(self, name)
        for name in ("kl_weight", "neighbor_entropy_weight", "energy_regularization"):
            check_number(self, name, 0)

    def _buffer(self, rows: Tensor) -> ReplayBuffer:
        return ReplayBuffer(
            rows,
            reinit_probability=self._restart_probability,
            replacement=self.replacement,
        )

    def negatives(
        self,
        model: EnergyModel,
        data: Batch,
        state: nn.Module,
        generator: torch.Generator,
    ) -> Negatives:
        """Move some chains; return their ends and the loss of their last steps."""
        assert isinstance(state, PersistentState)
        start, places = self.draw(model, data, state, generator)
        if self.transitions is not None:
            start = transform(start, self._transitions(model), generator)
        x, metrics = state.kernel.move(model, start, self.n_steps, generator)
        extra_loss = None
        if self.kl_weight:
            n = self.n_kl_chains
            divergence = self._divergence(
                model, x[:n], places[:n], metrics["step_size"], state, generator
            )
            metrics["kl_loss"] = divergence.detach()
            extra_loss = self.kl_weight * divergence
        state.buffer.put(x, places, generator)
        return Negatives(Batch(x), metrics, extra_loss)

    def _transitions(self, model: EnergyModel) -> Sequence[Transition]:
        """Return the transitions; where the net sees images, of its pixels."""
        assert self.transitions is not None
        images = as_image_network(model.network)
        if images is None:
            return self.transitions
        return in_units(self.transitions, images.location, images.scale)

    def _divergence(
        self,
        model: EnergyModel,
        x: Tensor,
        places: Tensor,
        step_size: Tensor,
        state: PersistentState,
        generator: torch.Generator,
    ) -> Tensor:
        """Return KL(q || p) up to a constant, differentiable through x only."""
        for _ in range(self.n_kl_steps):
            x = langevin_step(model, state.kernel.sampler, x, step_size, generator)
        end = x.detach().requires_grad_()
        energy = Potential(model)(end).mean()
        (slope,) = torch.autograd.grad(energy, end)
        # Linear in x, with the value and the gradient that U has for fixed parameters.
        energy = energy.detach() + (slope * (x - end.detach())).sum()
        order = torch.randperm(
            len(state.buffer), generator=generator, device=generator.device
        )[: self.n_neighbors]
        entropy = neighbor_entropy(
            x, state.buffer.rows[order], order == places[:, None]
        )
        return energy - self.neighbor_entropy_weight * entropy
