"""Base of the methods that train a generator beside the energy."""

from __future__ import annotations

from abc import abstractmethod
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
from skebm.objectives.amortized._negative_phase import NegativePhase
from skebm.references import Density
from skebm.references._kernels import RoundMixture
from skebm.utils import (
    check_builder,
    check_count,
    check_flag,
    check_number,
    check_positive,
    is_count,
    is_number,
)

N_FIRST_DRAWS = 2048
#: Least draws of the generator a step: the spread of fewer varies too much to tell
#: whether it is in the stable range.
MIN_DRAWS = 32
BETAS = (0.0, 0.9)


class PairedState(nn.Module):
    """State of a generator net and a negative phase."""

    def __init__(self, generator_net: GeneratorMLP, negatives: NegativePhase) -> None:
        super().__init__()
        self.generator_net = generator_net
        self.negatives = negatives

    def draw(
        self, n_rows: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return draws x of the generator, their latents z and their means."""
        return self.generator_net.sample(max(n_rows, MIN_DRAWS), generator)


class GeneratorPaired(Objective):
    r"""An energy and a generator that learns to draw from its model.

    .. math:: \max_c \; E_{data}[c(x)] - E_p[c(x)]
              - \tfrac{\gamma}{2} E_{data} |\nabla_x c(x)|^2

    This is the critic's phase, with E_p by `NegativePhase`. Subclasses define how the
    generator is trained. The options are described in `VERA`.
    """

    healthy: ClassVar[dict[str, tuple[float, float]]] = {
        "energy_gap": (-100.0, 100.0),
        "log_normalizer": (-300.0, 300.0),
        "generator_spread": (0.02, 1e3),
    }

    def __init__(
        self,
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
        self.gradient_penalty = gradient_penalty
        self.latent_dim = latent_dim
        self.generator = generator
        self.generator_rate = generator_rate
        self.reference_share = reference_share
        self.importance_weights = importance_weights
        self.memory_size = memory_size
        self.local_share = local_share
        self.local_scale = local_scale

    def check_options(self) -> None:
        """Raise ValueError naming an option that is out of its range."""
        check_positive(self, "generator_rate")
        check_count(self, "memory_size")
        right = self.latent_dim is None or is_count(self.latent_dim, 1)
        check_range(self, "latent_dim", right, "None or an integer, at least 1")
        check_builder(self, "generator")
        check_flag(self, "importance_weights", self.importance_weights)
        check_number(self, "gradient_penalty", 0)
        right = is_number(self.reference_share, 0) and self.reference_share < 1
        check_range(self, "reference_share", right, "a number in [0, 1)")
        most = (1 - self.reference_share) / 2
        expected = f"a number in [0, (1 - reference_share) / 2 = {most:g}]"
        right = is_number(self.local_share, 0, most)
        check_range(self, "local_share", right, expected)
        check_positive(self, "local_scale")

    def init(
        self, model: EnergyModel, reference: Density, generator: torch.Generator
    ) -> PairedState:
        """Return a generator net and a negative phase that start at the reference."""
        del model
        return PairedState(*self.start(reference, generator))

    def start(
        self, reference: Density, generator: torch.Generator
    ) -> tuple[GeneratorMLP, NegativePhase]:
        """Build a generator net that starts at the reference's principal axes."""
        rows = reference.sample(N_FIRST_DRAWS, generator)
        n_features = rows.shape[1]
        latent_dim = self.latent_dim or min(n_features, 32)
        build = self.generator or GeneratorMLP
        generator_net = build(latent_dim, n_features).to(rows)
        generator_net.match(rows)
        with torch.no_grad():
            x, _, means = generator_net.sample(self.memory_size, generator)
        negatives = NegativePhase(
            x,
            means,
            generator_net.log_noise_scale.detach().exp().item(),
            reference,
            self.reference_share,
            self.local_share,
        )
        return generator_net, negatives

    def parameter_groups(
        self, model: EnergyModel, state: nn.Module
    ) -> dict[str, ParameterGroup]:
        """Return the parameter groups of energy and generator."""
        assert isinstance(state, PairedState)
        return {
            "energy": ParameterGroup(list(model.network.parameters()), 1.0, BETAS),
            "generator": ParameterGroup(
                list(state.generator_net.parameters()), self.generator_rate, BETAS
            ),
        }

    def negative_rows(
        self,
        reference: Density,
        state: PairedState,
        x: Tensor,
        means: Tensor,
        log_reference: Tensor,
        local: RoundMixture,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor | None]:
        """Return rows, x first, and log q0 - log m, or None for equal weights."""
        if not self.importance_weights:
            return x.clone(), None
        scale = state.generator_net.log_noise_scale.detach().exp()
        state.negatives.remember(x, means, scale, log_reference)
        latest = RoundMixture.about(means, scale)
        return state.negatives.draw(
            x, latest, log_reference, reference, local, generator
        )

    def local_kernels(self, x: Tensor, batch: Batch) -> RoundMixture:
        """Return Gaussian kernels around the rows x of the data."""
        return RoundMixture.about(x.detach(), self.local_scale, batch.weight)

    def data_rows(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Return the rows of the data, which require gradients for a penalty."""
        x = batch.dequantized(generator)
        return x.detach().requires_grad_() if self.gradient_penalty else x

    def critic_loss(
        self,
        batch: Batch,
        state: PairedState,
        x: Tensor,
        critic: Tensor,
        expectation: Tensor,
    ) -> Loss:
        """Return the critic's loss, given c at the rows x of the data and E_p[c]."""
        gap = batch.mean(critic) - expectation
        loss = -gap
        if self.gradient_penalty:
            (slope,) = torch.autograd.grad(critic.sum(), x, create_graph=True)
            penalty = batch.mean(slope.square().sum(dim=1))
            loss = loss + 0.5 * self.gradient_penalty * penalty
        log_normalizer = self.critic_scale * state.negatives.log_normalizer
        metrics = {"energy_gap": gap.detach(), "log_normalizer": log_normalizer}
        return Loss("energy", loss, metrics)


class EntropyRegularized(GeneratorPaired):
    r"""A generator trained by the exclusive divergence KL(q|p).

    .. math:: \max_q \; E_q[\lambda \log q_0(x) + c(x)] + \lambda H(q)

    At the optimum q is the data's density and :math:`E = -c / \lambda`. Subclasses
    differ in how they ascend H(q): `generator_phase`.
    """

    def __init__(
        self,
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
        self.entropy_weight = entropy_weight

    def check_options(self) -> None:
        """Raise ValueError naming an option that is out of its range."""
        super().check_options()
        check_positive(self, "entropy_weight")

    @property
    def critic_scale(self) -> float:
        """Return lambda."""
        return self.entropy_weight

    def step(
        self,
        model: EnergyModel,
        batch: Batch,
        state: nn.Module,
        generator: torch.Generator,
    ) -> Iterator[Loss]:
        """Yield the critic's loss, then those of the generator's phase."""
        assert isinstance(state, PairedState)
        x, z, means = state.draw(len(batch.x), generator)
        critic_loss, slope = self._critic_phase(
            model, batch, state, x.detach(), means.detach(), generator
        )
        yield critic_loss
        yield from self.generator_phase(state, x, z, slope, generator)
        state.generator_net.clamp_noise()

    @abstractmethod
    def generator_phase(
        self,
        state: nn.Module,
        x: Tensor,
        z: Tensor,
        slope: Tensor,
        generator: torch.Generator,
    ) -> Iterator[Loss]:
        """Yield the generator's loss and those of the parts that estimate its entropy.

        Parameters
        ----------
        state : nn.Module
            What `init` returned.
        x, z : Tensor of shape (n, n_features) and (n, latent_dim)
            Generated rows, with graph, and their latents.
        slope : Tensor of shape (n, n_features)
            Gradient of lambda log q0 + c at x.
        generator : torch.Generator
            Source of randomness.
        """

    def generator_loss(self, x: Tensor, slope: Tensor, score: Tensor) -> Loss:
        """Return the generator's loss, given the score of its density q."""
        # d H(q) / d x = -score: reparametrised, so a product with x carries it to g, s.
        ascent = slope - self.entropy_weight * score
        return Loss("generator", -(ascent * x).sum(1).mean(), spread_metric(x))

    def _critic_phase(
        self,
        model: EnergyModel,
        batch: Batch,
        state: PairedState,
        x: Tensor,
        means: Tensor,
        generator: torch.Generator,
    ) -> tuple[Loss, Tensor]:
        """Return the critic's loss and the gradient of lambda log q0 + c at x."""
        log_reference, reference_slope = _reference_at(model.reference, x)
        x_data = self.data_rows(batch, generator)
        rows, log_ratio = self.negative_rows(
            model.reference,
            state,
            x,
            means,
            log_reference,
            self.local_kernels(x_data, batch),
            generator,
        )
        rows.requires_grad_()
        critic = model.critic(torch.cat([x_data, rows]))
        critic_data, critic_rows = critic.split([len(x_data), len(rows)])
        (slope,) = torch.autograd.grad(critic_rows.sum(), rows, retain_graph=True)
        weights = torch.full_like(critic_rows.detach(), 1 / len(rows))
        if log_ratio is not None:
            energy = -critic_rows.detach() / self.critic_scale
            weights = state.negatives.weights(log_ratio, energy)
        loss = self.critic_loss(
            batch, state, x_data, critic_data, weights @ critic_rows
        )
        return loss, slope[: len(x)] + self.critic_scale * reference_slope


def _reference_at(reference: Density, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return log q0 and its gradient at x; outside the support it points back in."""
    leaf = x.clone().requires_grad_()
    log_prob = reference.extended_log_prob(leaf)
    (slope,) = torch.autograd.grad(log_prob.sum(), leaf)
    if reference.bounded_support:
        return reference.log_prob(x), slope
    return log_prob.detach(), slope


def spread_metric(x: Tensor) -> dict[str, Tensor]:
    """Return the metric of spread: mean standard deviation of generated columns."""
    return {"generator_spread": x.detach().std(dim=0, correction=0).mean()}
