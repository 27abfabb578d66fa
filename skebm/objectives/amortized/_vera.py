"""VERA: a generator with an entropy bonus in the place of MCMC."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import ClassVar

import torch
from torch import Tensor, nn

from skebm.networks import EnergyModel, GeneratorMLP
from skebm.objectives._base import (
    Batch,
    Loss,
    Objective,
    ParameterGroup,
    check_range,
)
from skebm.objectives.amortized._entropy import (
    draw_posterior,
    elbo_gradient,
    importance_sampled_score,
)
from skebm.objectives.amortized._negative_phase import NegativePhase
from skebm.references import Density

N_FIRST_DRAWS = 2048
POSTERIOR_SCALE_BOUNDS = (1e-3, 1.0)


class VERAState(nn.Module):
    """Generator net, width eta of the posterior draws, and the negative phase."""

    def __init__(self, generator_net: GeneratorMLP, negatives: NegativePhase) -> None:
        super().__init__()
        self.generator_net = generator_net
        self.negatives = negatives
        initial = torch.full((generator_net.latent_dim,), math.log(0.1))
        self.log_posterior_scale = nn.Parameter(initial)

    @torch.no_grad()
    def clamp(self) -> None:
        """Bring s and eta back between their bounds."""
        self.generator_net.clamp_noise()
        low, high = POSTERIOR_SCALE_BOUNDS
        self.log_posterior_scale.clamp_(math.log(low), math.log(high))


class VERA(Objective):
    r"""Variational entropy-regularised approximate maximum likelihood.

    .. math::

        \max_c \; & E_{data}[c(x)] - E_q[c(x)]
            - \tfrac{\gamma}{2} E_{data} |\nabla_x c(x)|^2 \\
        \max_q \; & E_q[\lambda \log q_0(x) + c(x)] + \lambda H(q)

    Here q is the generator's density (`GeneratorMLP`). At the optimum q is the data's
    density and :math:`\lambda \log q_0 + c = \lambda \log p_{data} + const`, so that
    the energy is :math:`E = -c / \lambda`. The gradient of H(q) comes from
    `importance_sampled_score`, whose width eta ascends its own ELBO.

    The generator never is p exactly. So the critic's second expectation is taken over
    its draws with importance weights towards p, see `NegativePhase`;
    ``importance_weights=False`` is the published plain average.

    Parameters
    ----------
    entropy_weight : float, default=1.0
        :math:`\lambda`.
    gradient_penalty : float, default=0.0
        :math:`\gamma`; the published runs have 0 or 0.1.
    n_importance_samples : int, default=20
        Draws a row for the gradient of the entropy.
    latent_dim : int or None, default=None
        Dimension of z; None takes the number of columns, at most 32.
    generator : callable or None, default=None
        Builder ``(latent_dim, n_features) -> GeneratorMLP``; None takes
        `GeneratorMLP` itself.
    generator_rate, posterior_rate : float, default=1.0 and 10.0
        Learning rates of the generator and of eta, as multiples of the energy's.
    reference_share : float, default=0.2
        Share of the negative phase's rows drawn from the reference.
    importance_weights : bool, default=True
        Whether the negative phase is weighted towards the model; False takes the
        generator's latest draws as they are, as published.
    memory_size : int, default=512
        Earlier draws of the generator kept for the negative phase.

    References
    ----------
    Grathwohl, Kelly, Hashemi, Norouzi, Swersky, Duvenaud. No MCMC for me: Amortized
    sampling for fast and stable training of energy-based models. ICLR 2021
    (arXiv:2010.04230). The weights: ``docs/notes/vera.md``.

    Examples
    --------
    >>> from skebm.objectives import VERA
    >>> VERA(entropy_weight=0.1)
    VERA(entropy_weight=0.1)
    """

    healthy: ClassVar[dict[str, tuple[float, float]]] = {
        "energy_gap": (-100.0, 100.0),
        "log_normalizer": (-300.0, 300.0),
        "generator_spread": (0.02, 1e3),
    }

    def __init__(
        self,
        entropy_weight: float = 1.0,
        gradient_penalty: float = 0.0,
        n_importance_samples: int = 20,
        latent_dim: int | None = None,
        generator: Callable[[int, int], GeneratorMLP] | None = None,
        generator_rate: float = 1.0,
        posterior_rate: float = 10.0,
        reference_share: float = 0.2,
        importance_weights: bool = True,
        memory_size: int = 512,
    ) -> None:
        self.entropy_weight = entropy_weight
        self.gradient_penalty = gradient_penalty
        self.n_importance_samples = n_importance_samples
        self.latent_dim = latent_dim
        self.generator = generator
        self.generator_rate = generator_rate
        self.posterior_rate = posterior_rate
        self.reference_share = reference_share
        self.importance_weights = importance_weights
        self.memory_size = memory_size

    def check_options(self) -> None:
        """Raise ValueError naming an option that is out of its range."""
        for name in ("entropy_weight", "generator_rate", "posterior_rate"):
            check_range(self, name, getattr(self, name) > 0, "above 0")
        # Fewer draws leave the baseline of eta's gradient nothing to be told from.
        check_range(
            self, "n_importance_samples", self.n_importance_samples >= 3, "at least 3"
        )
        check_range(self, "memory_size", self.memory_size >= 1, "at least 1")
        latent_dim = self.latent_dim
        check_range(
            self, "latent_dim", latent_dim is None or latent_dim >= 1, "at least 1"
        )
        check_range(self, "gradient_penalty", self.gradient_penalty >= 0, "at least 0")
        check_range(self, "reference_share", 0 <= self.reference_share < 1, "in [0, 1)")

    @property
    def critic_scale(self) -> float:
        """Return lambda."""
        return self.entropy_weight

    def init(
        self, model: EnergyModel, reference: Density, generator: torch.Generator
    ) -> VERAState:
        """Build a generator net that starts at the reference's principal axes."""
        del model
        rows = reference.sample(N_FIRST_DRAWS, generator)
        n_features = rows.shape[1]
        latent_dim = self.latent_dim or min(n_features, 32)
        build = self.generator or GeneratorMLP
        generator_net = build(latent_dim, n_features).to(rows.device)
        generator_net.match(rows)
        with torch.no_grad():
            x, _, means = generator_net.sample(self.memory_size, generator)
        negatives = NegativePhase(
            x,
            means,
            generator_net.log_noise_scale.detach().exp().item(),
            reference,
            self.reference_share,
        )
        return VERAState(generator_net, negatives)

    def parameter_groups(
        self, model: EnergyModel, state: nn.Module
    ) -> dict[str, ParameterGroup]:
        """Return the groups of energy, generator and posterior width."""
        assert isinstance(state, VERAState)
        betas = (0.0, 0.9)
        return {
            "energy": ParameterGroup(list(model.network.parameters()), 1.0, betas),
            "generator": ParameterGroup(
                list(state.generator_net.parameters()), self.generator_rate, betas
            ),
            "posterior": ParameterGroup(
                [state.log_posterior_scale], self.posterior_rate, betas
            ),
        }

    def step(
        self,
        model: EnergyModel,
        batch: Batch,
        state: nn.Module,
        generator: torch.Generator,
    ) -> Iterator[Loss]:
        """Descend the critic's, the generator's and the posterior's loss in turn."""
        assert isinstance(state, VERAState)
        x_generated, z, means = state.generator_net.sample(len(batch.x), generator)
        critic_loss, slope = self._critic_loss(
            model, batch, state, x_generated.detach(), means.detach(), generator
        )
        yield critic_loss
        draws = draw_posterior(
            state.generator_net,
            x_generated.detach(),
            z,
            state.log_posterior_scale.exp(),
            self.n_importance_samples,
            generator,
        )
        # d H(q) / d x = -score: reparametrised, so a product with x carries it to g, s.
        score = importance_sampled_score(draws)
        ascent = slope - self.entropy_weight * score
        loss = -(ascent * x_generated).sum(dim=1).mean()
        spread = x_generated.detach().std(dim=0, correction=0).mean()
        yield Loss("generator", loss, {"generator_spread": spread})
        elbo = elbo_gradient(draws) @ state.log_posterior_scale
        yield Loss("posterior", -elbo)
        state.clamp()

    def _critic_loss(
        self,
        model: EnergyModel,
        batch: Batch,
        state: VERAState,
        x_generated: Tensor,
        means: Tensor,
        generator: torch.Generator,
    ) -> tuple[Loss, Tensor]:
        """Return the loss, and the slope of lambda log q0 + c at the generated rows."""
        scale = state.generator_net.log_noise_scale.detach().exp()
        x_leaf = x_generated.clone().requires_grad_()
        log_reference = model.reference.extended_log_prob(x_leaf)
        (reference_slope,) = torch.autograd.grad(log_reference.sum(), x_leaf)
        log_reference = log_reference.detach()
        if model.reference.has_walls:
            log_reference = model.reference.log_prob(x_generated)
        negatives = state.negatives
        rows, log_ratio = x_generated.clone(), None
        if self.importance_weights:
            negatives.remember(x_generated, means, scale, log_reference)
            rows, log_ratio = negatives.draw(
                x_generated, means, scale, log_reference, model.reference, generator
            )
        x_data = batch.dequantized(generator)
        if self.gradient_penalty:
            x_data = x_data.detach().requires_grad_()
        rows.requires_grad_()
        critic = model.critic(torch.cat([x_data, rows]))
        critic_data, critic_rows = critic.split([len(x_data), len(rows)])
        (slope,) = torch.autograd.grad(critic_rows.sum(), rows, retain_graph=True)
        weights = torch.full_like(critic_rows.detach(), 1 / len(rows))
        if log_ratio is not None:
            energy = -critic_rows.detach() / self.entropy_weight
            weights = negatives.weights(log_ratio, energy)
        gap = batch.mean(critic_data) - weights @ critic_rows
        loss = -gap
        if self.gradient_penalty:
            (data_slope,) = torch.autograd.grad(
                critic_data.sum(), x_data, create_graph=True
            )
            penalty = batch.mean(data_slope.square().sum(dim=1))
            loss = loss + 0.5 * self.gradient_penalty * penalty
        slope = slope[: len(x_generated)] + self.entropy_weight * reference_slope
        figures = {
            "energy_gap": gap.detach(),
            "log_normalizer": self.entropy_weight * negatives.log_normalizer,
        }
        return Loss("energy", loss, figures), slope
