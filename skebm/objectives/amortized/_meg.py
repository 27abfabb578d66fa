"""Maximum entropy generators: the entropy as mutual information."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from skebm.networks import MLP, EnergyModel, GeneratorMLP
from skebm.objectives._base import Loss, ParameterGroup
from skebm.objectives.amortized._negative_phase import NegativePhase
from skebm.objectives.amortized._paired import (
    EntropyRegularized,
    PairedState,
    spread_metric,
)
from skebm.objectives.amortized._vera import VERA
from skebm.references import Density
from skebm.utils import check_choice, check_count, check_positive, check_sizes
from skebm.utils._documented import documented_like


class Discriminator(nn.Module):
    """Discriminator T(x, z) between rows with their own latents and with others."""

    def __init__(
        self, n_features: int, latent_dim: int, hidden_features: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.net = MLP(n_features + latent_dim, 1, hidden_features)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """Return T, shape (n,)."""
        return self.net(torch.cat([x, z], 1))[:, 0]


def jensen_shannon_information(joint: Tensor, product: Tensor) -> Tensor:
    r"""Return the Jensen-Shannon estimate of mutual information, at most 0.

    .. math:: \hat I = -E_{q(x, z)}[\log(1 + e^{-T})] - E_{q(x) p(z)}[\log(1 + e^{T})]

    Greatest at :math:`T = \log q(x, z) - \log q(x) p(z)`, where it is twice the
    Jensen-Shannon divergence of the two less 2 log 2.
    """
    return -softplus(-joint).mean() - softplus(product).mean()


class MEGState(PairedState):
    """State with the discriminator of latents."""

    def __init__(
        self,
        generator_net: GeneratorMLP,
        negatives: NegativePhase,
        discriminator: Discriminator,
    ) -> None:
        super().__init__(generator_net, negatives)
        self.discriminator = discriminator.to(generator_net.log_noise_scale)


@documented_like(VERA)
class MEG(EntropyRegularized):
    r"""Maximum entropy generators.

    .. math:: H(q) = I(x; z) + H(x|z) = I(x; z) + d \log s + const

    The mutual information I is read off a discriminator T(x, z) between pairs of the
    generator and pairs with a fresh latent, trained by `jensen_shannon_information`.
    The generator ascends

    - ``bound="log_ratio"``: E_q[T]. With T at its optimum, the log density ratio, that
      is I in nats, and its gradient through x is I's own.
    - ``bound="jensen_shannon"``: the discriminator's objective, as published. It is
      bounded, grows with I and isn't in nats, so that q isn't p at the optimum.

    Parameters
    ----------
    bound : {"log_ratio", "jensen_shannon"}, default="log_ratio"
        What the generator ascends.
    discriminator_rate : float, default=1.0
        Learning rate of T, as a multiple of the energy's.
    n_discriminator_steps : int, default=2
        Steps of T a step of the generator, each on fresh rows.
    n_discriminator_rows : int, default=256
        Rows of each of these steps.
    hidden_features : tuple of int, default=(128, 128)
        Width of the hidden layers of T.

    References
    ----------
    Kumar, Ozair, Goyal, Courville, Bengio. Maximum Entropy Generators for Energy-Based
    Models. 2019 (arXiv:1901.08508). Hjelm et al. Learning deep representations by
    mutual information estimation and maximization. ICLR 2019.

    Examples
    --------
    >>> from skebm.objectives import MEG
    >>> MEG(bound="jensen_shannon")
    MEG(bound='jensen_shannon')
    """

    def __init__(
        self,
        bound: str = "log_ratio",
        discriminator_rate: float = 1.0,
        n_discriminator_steps: int = 2,
        n_discriminator_rows: int = 256,
        hidden_features: tuple[int, ...] = (128, 128),
        entropy_weight: float = 1.0,
        gradient_penalty: float = 0.0,
        latent_dim: int | None = None,
        generator: Callable[[int, int], GeneratorMLP] | None = None,
        generator_rate: float = 1.0,
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
        self.bound = bound
        self.discriminator_rate = discriminator_rate
        self.n_discriminator_steps = n_discriminator_steps
        self.n_discriminator_rows = n_discriminator_rows
        self.hidden_features = hidden_features

    def check_options(self) -> None:
        """Raise ValueError naming an option that is out of its range."""
        super().check_options()
        bounds = ("log_ratio", "jensen_shannon")
        check_choice(self, "bound", self.bound, bounds)
        check_positive(self, "discriminator_rate")
        for name in ("n_discriminator_steps", "n_discriminator_rows"):
            check_count(self, name)
        check_sizes(self, "hidden_features", self.hidden_features)

    def init(
        self, model: EnergyModel, reference: Density, generator: torch.Generator
    ) -> MEGState:
        """Return the state: generator net, negative phase and discriminator."""
        del model
        generator_net, negatives = self.start(reference, generator)
        discriminator = Discriminator(
            negatives.x.shape[1], generator_net.latent_dim, self.hidden_features
        )
        return MEGState(generator_net, negatives, discriminator)

    def parameter_groups(
        self, model: EnergyModel, state: nn.Module
    ) -> dict[str, ParameterGroup]:
        """Return the parameter groups of energy, generator and discriminator."""
        assert isinstance(state, MEGState)
        parameters = list(state.discriminator.parameters())
        group = ParameterGroup(parameters, self.discriminator_rate)
        return super().parameter_groups(model, state) | {"discriminator": group}

    def generator_phase(
        self,
        state: nn.Module,
        x: Tensor,
        z: Tensor,
        slope: Tensor,
        generator: torch.Generator,
    ) -> Iterator[Loss]:
        """Yield the discriminator's losses, then the generator's."""
        assert isinstance(state, MEGState)
        for _ in range(self.n_discriminator_steps):
            with torch.no_grad():
                rows, latents, _ = state.generator_net.sample(
                    self.n_discriminator_rows, generator
                )
            information = self.information(state, rows, latents, generator)
            yield Loss("discriminator", -information)
        entropy = self.entropy(state, x, z, generator)
        value = -(slope * x).sum(1).mean() - self.entropy_weight * entropy
        yield Loss("generator", value, spread_metric(x))

    def information(
        self, state: MEGState, x: Tensor, z: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Return the estimated mutual information of rows and latents."""
        other = state.generator_net.draw_latent(len(x), generator)
        joint, product = state.discriminator(x, z), state.discriminator(x, other)
        return jensen_shannon_information(joint, product)

    def entropy(
        self, state: MEGState, x: Tensor, z: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Return the estimated entropy H(q) of the generator, up to a constant."""
        if self.bound == "log_ratio":
            information = state.discriminator(x, z).mean()
        else:
            information = self.information(state, x, z, generator)
        return information + x.shape[1] * state.generator_net.log_noise_scale
