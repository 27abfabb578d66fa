"""VERA: a generator with an entropy bonus instead of Markov chains."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from skebm.networks import EnergyModel, GeneratorMLP
from skebm.objectives._base import Loss, ParameterGroup
from skebm.objectives.amortized._entropy import (
    draw_posterior,
    elbo_gradient,
    importance_sampled_score,
)
from skebm.objectives.amortized._negative_phase import NegativePhase
from skebm.objectives.amortized._paired import BETAS, EntropyRegularized, PairedState
from skebm.references import Density
from skebm.utils import check_count, check_positive

POSTERIOR_SCALE_BOUNDS = (1e-3, 1.0)


class VERAState(PairedState):
    """State with the width eta of the posterior draws."""

    def __init__(self, generator_net: GeneratorMLP, negatives: NegativePhase) -> None:
        super().__init__(generator_net, negatives)
        scale = generator_net.log_noise_scale
        initial = scale.new_full((generator_net.latent_dim,), math.log(0.1))
        self.log_posterior_scale = nn.Parameter(initial)


class VERA(EntropyRegularized):
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
    local_share : float, default=0.1
        Share of the negative phase's rows drawn from round Gaussians about the step's
        own rows, in the place of earlier draws. Without them (0) the energy may sink at
        rows out in the tails, where neither generator nor reference draws.
    local_scale : float, default=0.1
        Standard deviation of these Gaussians, in standardised units.

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
        local_share: float = 0.1,
        local_scale: float = 0.1,
    ) -> None:
        super().__init__(
            entropy_weight,
            gradient_penalty,
            latent_dim,
            generator,
            generator_rate,
            reference_share,
            importance_weights,
            memory_size,
            local_share,
            local_scale,
        )
        self.n_importance_samples = n_importance_samples
        self.posterior_rate = posterior_rate

    def check_options(self) -> None:
        """Raise ValueError naming an option that is out of its range."""
        super().check_options()
        check_positive(self, "posterior_rate")
        # With fewer draws the baseline of eta's gradient cancels the gradient.
        check_count(self, "n_importance_samples", 3)

    def init(
        self, model: EnergyModel, reference: Density, generator: torch.Generator
    ) -> VERAState:
        """Return the state: generator net, negative phase and posterior width."""
        del model
        return VERAState(*self.start(reference, generator))

    def parameter_groups(
        self, model: EnergyModel, state: nn.Module
    ) -> dict[str, ParameterGroup]:
        """Return the parameter groups of energy, generator and posterior width."""
        assert isinstance(state, VERAState)
        width = ParameterGroup([state.log_posterior_scale], self.posterior_rate, BETAS)
        return super().parameter_groups(model, state) | {"posterior": width}

    def generator_phase(
        self,
        state: nn.Module,
        x: Tensor,
        z: Tensor,
        slope: Tensor,
        generator: torch.Generator,
    ) -> Iterator[Loss]:
        """Yield the generator's and the posterior's loss on the same draws."""
        assert isinstance(state, VERAState)
        draws = draw_posterior(
            state.generator_net,
            x.detach(),
            z,
            state.log_posterior_scale.exp(),
            self.n_importance_samples,
            generator,
        )
        yield self.generator_loss(x, slope, importance_sampled_score(draws))
        elbo = elbo_gradient(draws) @ state.log_posterior_scale
        yield Loss("posterior", -elbo)
        low, high = POSTERIOR_SCALE_BOUNDS
        with torch.no_grad():
            state.log_posterior_scale.clamp_(math.log(low), math.log(high))
