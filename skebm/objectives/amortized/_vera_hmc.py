"""VERA with its entropy's gradient by Hamiltonian Monte Carlo."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from skebm.networks import EnergyModel, GeneratorMLP
from skebm.objectives._base import Loss
from skebm.objectives._chain import AdaptiveStep
from skebm.objectives.amortized._negative_phase import NegativePhase
from skebm.objectives.amortized._paired import EntropyRegularized, PairedState
from skebm.objectives.amortized._posterior import posterior_draws
from skebm.objectives.amortized._vera import VERA
from skebm.references import Density
from skebm.samplers import HMC
from skebm.utils import check_count
from skebm.utils._documented import documented_like

TARGET_ACCEPTANCE = 0.67
FIRST_STEP_SIZE = 0.1


class VERAHMCState(PairedState):
    """State with the step size of the chains on the posterior."""

    def __init__(self, generator_net: GeneratorMLP, negatives: NegativePhase) -> None:
        super().__init__(generator_net, negatives)
        self.posterior_step = AdaptiveStep(FIRST_STEP_SIZE).to(
            generator_net.log_noise_scale
        )


@documented_like(VERA)
class VERAHMC(EntropyRegularized):
    r"""VERA with posterior draws by Hamiltonian Monte Carlo, as in PresGAN.

    .. math:: \nabla_x \log q(x) = -E_{q(z|x)}\left[\frac{x - g(z)}{s^2}\right]

    Chains on q(z|x) start at the z0 that made x, an exact draw. So the score's estimate
    is unbiased after any number of moves. But the gradient of H(q) multiplies it by
    dx at that same z0: it is unbiased once the chain has forgotten z0, and zero without
    moves. The step size follows an acceptance rate of 0.67 from step to step.

    Parameters
    ----------
    n_burn_in, n_posterior_samples : int, default=2 and 2
        HMC moves before the first draw of z that counts, and moves that count.
    n_leapfrog_steps : int, default=5
        Leapfrog steps a move.

    References
    ----------
    Dieng, Ruiz, Blei, Titsias. Prescribed Generative Adversarial Networks. 2019
    (arXiv:1910.04302). Grathwohl et al. No MCMC for me. ICLR 2021, where it is the
    baseline.

    Examples
    --------
    >>> from skebm.objectives import VERAHMC
    >>> VERAHMC(n_posterior_samples=4)
    VERAHMC(n_posterior_samples=4)
    """

    def __init__(
        self,
        n_burn_in: int = 2,
        n_posterior_samples: int = 2,
        n_leapfrog_steps: int = 5,
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
        self.n_burn_in = n_burn_in
        self.n_posterior_samples = n_posterior_samples
        self.n_leapfrog_steps = n_leapfrog_steps

    def check_options(self) -> None:
        """Raise ValueError naming an option that is out of its range."""
        super().check_options()
        check_count(self, "n_burn_in", 0)
        for name in ("n_posterior_samples", "n_leapfrog_steps"):
            check_count(self, name)

    def init(
        self, model: EnergyModel, reference: Density, generator: torch.Generator
    ) -> VERAHMCState:
        """Return the state: generator net, negative phase and step size."""
        del model
        return VERAHMCState(*self.start(reference, generator))

    def generator_phase(
        self,
        state: nn.Module,
        x: Tensor,
        z: Tensor,
        slope: Tensor,
        generator: torch.Generator,
    ) -> Iterator[Loss]:
        """Yield the generator's loss."""
        assert isinstance(state, VERAHMCState)
        score, acceptance = self.score(
            state.generator_net, state.posterior_step, x.detach(), z, generator
        )
        loss = self.generator_loss(x, slope, score)
        loss.figures["posterior_acceptance"] = acceptance
        yield loss

    @torch.no_grad()
    def score(
        self,
        generator_net: GeneratorMLP,
        step: AdaptiveStep,
        x: Tensor,
        z: Tensor,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Return the estimated score, (n, n_features), and the acceptance rate."""
        sampler = HMC(
            n_leapfrog_steps=self.n_leapfrog_steps, target_acceptance=TARGET_ACCEPTANCE
        )
        n_moves = self.n_burn_in + self.n_posterior_samples
        draws, acceptance = posterior_draws(
            generator_net, step, x, z, sampler, n_moves, generator
        )
        kept = draws[1 + self.n_burn_in :]
        mean = generator_net.mean(kept.flatten(0, 1)).unflatten(0, kept.shape[:2])
        score = (mean.mean(0) - x) * torch.exp(-2 * generator_net.log_noise_scale)
        return score, acceptance
