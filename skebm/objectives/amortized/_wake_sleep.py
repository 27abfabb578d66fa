"""Wake-sleep: the generator learns from its own draws, moved by the model's chains."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from skebm.networks import EnergyModel, GeneratorMLP
from skebm.objectives._base import Batch, Loss
from skebm.objectives._chain import (
    AdaptiveStep,
    ChainKernel,
    check_explores,
    check_sampler,
)
from skebm.objectives.amortized._negative_phase import NegativePhase
from skebm.objectives.amortized._paired import (
    GeneratorPaired,
    PairedState,
    spread_metric,
)
from skebm.objectives.amortized._posterior import posterior_draws
from skebm.objectives.amortized._vera import VERA
from skebm.references import Density
from skebm.references._kernels import RoundMixture
from skebm.samplers import HMC, AbstractSampler, make_sampler
from skebm.utils import check_count
from skebm.utils._documented import documented_like

FIRST_STEP_SIZE = 0.1
N_LEAPFROG_STEPS = 3  # each is an evaluation, and picked latents are near already


class WakeSleepState(PairedState):
    """State with the kernels of the chains on the model and on the latents."""

    def __init__(
        self, generator_net: GeneratorMLP, negatives: NegativePhase, kernel: ChainKernel
    ) -> None:
        super().__init__(generator_net, negatives)
        like = generator_net.log_noise_scale
        self.kernel = kernel.to(like)
        self.posterior_step = AdaptiveStep(FIRST_STEP_SIZE).to(like)


@documented_like(VERA)
class WakeSleep(GeneratorPaired):
    r"""Energy and generator, each trained on draws of the other.

    .. math::

        \max_c \; & E_{data}[c(x)] - E_{\tilde p}[c(x)] \\
        \max_q \; & E_{\tilde p(x) \, q(z|x)}[\log q(x, z)]

    :math:`\tilde p` are the generator's draws after some moves of a chain on the model.
    The second line is the inclusive divergence KL(p|q), so that the generator covers
    the model and needs no entropy bonus. Latents of moved rows are picked from the
    batch's by their posterior and then moved on q(z|x) themselves.

    The chains are short. So their starts carry importance weights towards the model,
    see `NegativePhase`; moves that leave the model invariant leave the weights right.
    ``importance_weights=False`` moves the latest draws and weighs all the same, as
    published.

    Parameters
    ----------
    sampler : str or AbstractSampler, default="mala"
        Sampler of the chains on the model. A step size with a target acceptance adapts.
    n_steps : int, default=1
        Moves on the model.
    n_posterior_steps : int, default=1
        HMC moves of the latents, of three leapfrog steps each.

    References
    ----------
    Hinton, Dayan, Frey, Neal. The wake-sleep algorithm for unsupervised neural
    networks. Science 1995. Song, Ou. Learning neural random fields with inclusive
    auxiliary generators. 2018 (arXiv:1806.00271). The weights: Bornschein, Bengio.
    Reweighted wake-sleep. ICLR 2015.

    Examples
    --------
    >>> from skebm.objectives import WakeSleep
    >>> WakeSleep(n_steps=10)
    WakeSleep(n_steps=10)
    """

    def __init__(
        self,
        sampler: str | AbstractSampler = "mala",
        n_steps: int = 1,
        n_posterior_steps: int = 1,
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
        self.sampler = sampler
        self.n_steps = n_steps
        self.n_posterior_steps = n_posterior_steps

    def check_options(self) -> None:
        """Raise ValueError naming an option that is out of its range."""
        super().check_options()
        check_sampler(self, self.sampler)
        check_count(self, "n_steps")
        check_count(self, "n_posterior_steps", 0)

    def check_model(self, model: EnergyModel, n_features: int) -> None:
        """Raise ValueError naming both where the sampler can't explore the model."""
        super().check_model(model, n_features)
        check_explores(self, self.sampler, model)

    def init(
        self, model: EnergyModel, reference: Density, generator: torch.Generator
    ) -> WakeSleepState:
        """Return the state: generator net, negative phase and kernel."""
        del model
        kernel = ChainKernel(make_sampler(self.sampler), 0)
        return WakeSleepState(*self.start(reference, generator), kernel)

    def step(
        self,
        model: EnergyModel,
        batch: Batch,
        state: nn.Module,
        generator: torch.Generator,
    ) -> Iterator[Loss]:
        """Yield the critic's loss, then the generator's, on the same moved rows."""
        assert isinstance(state, WakeSleepState)
        net = state.generator_net
        with torch.no_grad():
            x, z, means = state.draw(len(batch.x), generator)
        x_data = self.data_rows(batch, generator)
        rows, weights, metrics = self.model_rows(
            model, state, x, means, self.local_kernels(x_data, batch), generator
        )
        critic = model.critic(torch.cat([x_data, rows]))
        critic_data, critic_rows = critic.split([len(x_data), len(rows)])
        expectation = weights @ critic_rows
        yield self.critic_loss(batch, state, x_data, critic_data, expectation)
        latents = self.posterior_latents(state, rows, z, generator)
        loss = inclusive_loss(net, rows, latents, weights)
        yield Loss("generator", loss, spread_metric(x) | metrics)
        net.clamp_noise()

    def model_rows(
        self,
        model: EnergyModel,
        state: WakeSleepState,
        x: Tensor,
        means: Tensor,
        local: RoundMixture,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return rows moved by the chains, importance weights, and metrics."""
        with torch.no_grad():
            log_reference = model.reference.log_prob(x)
        rows, log_ratio = self.negative_rows(
            model.reference, state, x, means, log_reference, local, generator
        )
        moved, metrics = state.kernel.move(model, rows, self.n_steps, generator)
        weights = torch.full_like(rows[:, 0], 1 / len(rows))
        if log_ratio is not None:
            with torch.no_grad():
                weights = state.negatives.weights(log_ratio, model.energy(rows))
        return moved, weights, metrics

    def posterior_latents(
        self, state: WakeSleepState, x: Tensor, z: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Return a latent for each x: picked from z by q(z|x), then moved by chains."""
        net = state.generator_net
        with torch.no_grad():
            components = RoundMixture.about(net.mean(z), net.log_noise_scale.exp())
            picked = components.pick(x, generator)
        draws, _ = posterior_draws(
            net,
            state.posterior_step,
            x,
            z[picked],
            HMC(n_leapfrog_steps=N_LEAPFROG_STEPS),
            self.n_posterior_steps,
            generator,
        )
        return draws[-1]


def inclusive_loss(
    generator_net: GeneratorMLP, x: Tensor, z: Tensor, weights: Tensor
) -> Tensor:
    r"""Return minus the weighted sum of log q(x | z), up to a constant.

    .. math:: -\sum_i w_i \log q(x_i, z_i) = \sum_i w_i \left(
              \frac{|x_i - g(z_i)|^2}{2 s^2} + d \log s \right) + const
    """
    log_scale = generator_net.log_noise_scale
    squares = (x - generator_net.mean(z)).square().sum(1)
    terms = 0.5 * torch.exp(-2 * log_scale) * squares + x.shape[1] * log_scale
    return weights @ terms
