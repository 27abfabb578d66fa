"""VERA: a generator with an entropy bonus in the place of MCMC."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import ClassVar

import torch
from torch import Tensor, nn

from skebm.networks import EnergyModel, GeneratorMLP
from skebm.objectives._base import Batch, Loss, Objective, ParameterGroup
from skebm.objectives._entropy import importance_sampled_score, negative_elbo
from skebm.references import Density


class VERAState(nn.Module):
    """Generator net and the width eta of the importance-sampling proposal."""

    def __init__(self, generator_net: GeneratorMLP, posterior_scale: float) -> None:
        super().__init__()
        self.generator_net = generator_net
        initial = torch.full((generator_net.latent_dim,), math.log(posterior_scale))
        self.log_posterior_scale = nn.Parameter(initial)


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

    Parameters
    ----------
    entropy_weight : float, default=1.0
        :math:`\lambda`.
    gradient_penalty : float, default=0.1
        :math:`\gamma`.
    n_importance_samples : int, default=20
        Draws a row for the gradient of the entropy.
    latent_dim : int or None, default=None
        Dimension of z; None takes the number of columns, at most 32.
    generator : callable or None, default=None
        Builder ``(latent_dim, n_features) -> GeneratorMLP``; None takes
        `GeneratorMLP` itself.
    generator_rate, posterior_rate : float, default=1.0 and 20.0
        Learning rates of the generator and of eta, as multiples of the energy's.

    References
    ----------
    Grathwohl, Kelly, Hashemi, Norouzi, Swersky, Duvenaud. No MCMC for me: Amortized
    sampling for fast and stable training of energy-based models. ICLR 2021
    (arXiv:2010.04230).

    Examples
    --------
    >>> from skebm.objectives import VERA
    >>> VERA(entropy_weight=0.1)
    VERA(entropy_weight=0.1)
    """

    healthy: ClassVar[dict[str, tuple[float, float]]] = {
        "energy_gap": (-1e4, 1e4),
        "generator_spread": (0.02, 1e3),
    }

    def __init__(
        self,
        entropy_weight: float = 1.0,
        gradient_penalty: float = 0.1,
        n_importance_samples: int = 20,
        latent_dim: int | None = None,
        generator: Callable[[int, int], GeneratorMLP] | None = None,
        generator_rate: float = 1.0,
        posterior_rate: float = 20.0,
    ) -> None:
        self.entropy_weight = entropy_weight
        self.gradient_penalty = gradient_penalty
        self.n_importance_samples = n_importance_samples
        self.latent_dim = latent_dim
        self.generator = generator
        self.generator_rate = generator_rate
        self.posterior_rate = posterior_rate

    @property
    def critic_scale(self) -> float:
        """lambda."""
        return self.entropy_weight

    def init(
        self, model: EnergyModel, reference: Density, generator: torch.Generator
    ) -> VERAState:
        """Build the generator net for the reference's columns."""
        n_features = reference.sample(1, generator).shape[1]
        latent_dim = self.latent_dim or min(n_features, 32)
        build = self.generator or GeneratorMLP
        return VERAState(build(latent_dim, n_features), posterior_scale=0.1)

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
        x_generated, z = state.generator_net.sample(len(batch.x), generator)
        x_fixed = x_generated.detach()
        yield self._critic_loss(model, batch, x_fixed)
        yield self._generator_loss(model, state, x_generated, z, generator)
        state.generator_net.clamp_noise()
        elbo_loss = negative_elbo(
            state.generator_net, x_fixed, z, state.log_posterior_scale, generator
        )
        yield Loss("posterior", elbo_loss)

    def _critic_loss(self, model: EnergyModel, batch: Batch, x_fixed: Tensor) -> Loss:
        x_data = batch.x
        if self.gradient_penalty:
            x_data = x_data.detach().requires_grad_()
        critic = model.critic(torch.cat([x_data, x_fixed]))
        critic_data, critic_generated = critic.split([len(x_data), len(x_fixed)])
        gap = batch.mean(critic_data) - critic_generated.mean()
        loss = -gap
        if self.gradient_penalty:
            (slope,) = torch.autograd.grad(
                critic_data.sum(), x_data, create_graph=True
            )
            penalty = batch.mean(slope.square().sum(dim=1))
            loss = loss + 0.5 * self.gradient_penalty * penalty
        return Loss("energy", loss, {"energy_gap": gap.detach()})

    def _generator_loss(
        self,
        model: EnergyModel,
        state: VERAState,
        x_generated: Tensor,
        z: Tensor,
        generator: torch.Generator,
    ) -> Loss:
        x_fixed = x_generated.detach().requires_grad_()
        log_reference = model.reference.extended_log_prob(x_fixed)
        log_target = self.entropy_weight * log_reference + model.critic(x_fixed)
        (ascent,) = torch.autograd.grad(log_target.sum(), x_fixed)
        score = importance_sampled_score(
            state.generator_net,
            x_fixed.detach(),
            z,
            state.log_posterior_scale.exp(),
            self.n_importance_samples,
            generator,
        )
        # d H(q) / d x = -score: reparametrised, so a product with x carries it to g, s.
        ascent = ascent - self.entropy_weight * score
        loss = -(ascent * x_generated).sum(dim=1).mean()
        spread = x_generated.detach().std(dim=0).mean()
        return Loss("generator", loss, {"generator_spread": spread})
